//! Times training steps on one batch of random images, for `cargo xtask bench step` to compare with other programs.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line talks to people")]

mod breakdown;
mod segment;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData};
use clap::{Parser, ValueEnum};
use mae_masking::{MaskBatch, Masker, Strategy};
use mae_model::{Mae, MaeConfig, NORM_EPS, Preset};
use mae_trainer::{AdamW, DeviceName};
use mae_vit::{Compute, Geometry, InitRng, Normalize, Precision, StackConfig, ops, patchify};
use safetensors::tensor::{Dtype, TensorView};
use serde::Serialize;

// As in the training programs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Time training steps; print the seconds and the loss of each step as one line of JSON.
#[derive(Parser)]
struct Cli {
    /// Model.
    shape: Shape,
    /// Work to time.
    #[arg(long, value_enum, default_value_t = Work::Train)]
    work: Work,
    /// Images per batch.
    #[arg(long)]
    batch: usize,
    /// Steps to time; those before the last half are warm-up.
    #[arg(long)]
    steps: usize,
    /// Share of the patches that is masked.
    #[arg(long, default_value_t = 0.75)]
    mask_ratio: f64,
    /// Blocks of the decoder, instead of the model's own.
    #[arg(long)]
    decoder_depth: Option<usize>,
    /// Device to compute on.
    #[arg(long, default_value = "flex")]
    device: DeviceName,
    /// Precision of matrix products, f32 or bf16.
    #[arg(long, default_value_t = Precision::F32)]
    precision: Precision,
    /// Recompute activations in the backward pass.
    #[arg(long)]
    grad_checkpointing: bool,
    /// Steps between reads of losses and time: until a read, a GPU works ahead.
    #[arg(long, default_value_t = 1)]
    read_every: usize,
    /// Print a table of the step's operations instead.
    #[arg(long)]
    breakdown: bool,
    /// Write the initial weights and the batch to this folder; do not compute.
    #[arg(long, value_name = "DIR")]
    export: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Work {
    /// Forward, backward, optimizer.
    Train,
    /// The same, with an encoder that sees every patch, as with mask tokens in the encoder.
    AllTokens,
    /// Encoding of whole images.
    Encode,
    /// No timing: print the floating-point operations of a training step for one image.
    Flops,
}

/// A published size, or the model of the digits recipe.
#[derive(Clone, Copy, ValueEnum)]
enum Shape {
    Base,
    Tiny,
    Lightly,
    Large,
    Huge,
    Digits,
    /// A segmenter, by its own training step.
    Segment,
}

impl Shape {
    fn config(self) -> Result<MaeConfig> {
        let preset = match self {
            Self::Base => Preset::Base,
            Self::Tiny => Preset::Tiny,
            Self::Lightly => Preset::Lightly,
            Self::Large => Preset::Large,
            Self::Huge => Preset::Huge,
            Self::Segment => anyhow::bail!("segment is not a masked autoencoder"),
            Self::Digits => {
                return Ok(MaeConfig {
                    geometry: Geometry::new((8, 8), 2, 3)?,
                    encoder: StackConfig::new(96, 4, 4),
                    decoder: StackConfig::new(48, 2, 4),
                    norm_eps: NORM_EPS,
                    norm_pix_loss: true,
                });
            }
        };
        Ok(preset.config(Geometry::new(preset.image_size(), preset.patch_size(), 3)?))
    }
}

#[derive(Serialize)]
struct Report {
    seconds: Vec<f64>,
    losses: Vec<f64>,
    /// The peak memory of the process, minus what it held before the model was made.
    peak_mib: f64,
}

impl Report {
    /// The median step time of the last half.
    fn step_s(&self) -> f64 {
        let mut tail = self.seconds[self.seconds.len() / 2..].to_vec();
        tail.sort_by(f64::total_cmp);
        tail[tail.len() / 2]
    }
}

fn main() -> ExitCode {
    match bench(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", mae_trainer::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn bench(cli: &Cli) -> Result<()> {
    ensure!(cli.batch >= 1 && cli.steps >= 2, "--batch must be at least 1 and --steps at least 2");
    ensure!(cli.read_every >= 1, "--read-every must be at least 1");
    if let Shape::Segment = cli.shape {
        return bench_segment(cli);
    }
    let mut config = cli.shape.config()?;
    config.decoder.depth = cli.decoder_depth.unwrap_or(config.decoder.depth);
    if let Work::Flops = cli.work {
        let kept = mae_masking::num_keep(config.geometry.num_patches(), cli.mask_ratio)?;
        println!("{}", 3.0 * config.flops(kept));
        return Ok(());
    }
    let device = cli.device.open()?;
    let before = memory_mib("VmRSS")?;
    ensure!(cli.precision.is_supported_by(&device), "{} has no {}", cli.device, cli.precision);
    let compute = Compute { precision: cli.precision, grad_checkpointing: cli.grad_checkpointing };
    let model = config.init(0, &device)?.with_compute(compute);
    let batch = RandomBatch::new(&config, cli.batch, cli.mask_ratio)?;
    if let Some(folder) = &cli.export {
        return batch.export(&model, folder);
    }
    if cli.breakdown {
        let kept = batch.masks.num_keep();
        let step_s = train(model.clone(), &batch, (cli.steps, 1), &device, Mae::forward).step_s();
        print!("{}", breakdown::table(&model, cli.batch, kept, step_s, cli.steps));
        return Ok(());
    }
    let mut report = match cli.work {
        Work::Train => train(model, &batch, (cli.steps, cli.read_every), &device, Mae::forward),
        Work::AllTokens => train(model, &batch, (cli.steps, cli.read_every), &device, all_tokens_loss),
        Work::Flops => unreachable!("printed above"),
        Work::Encode => encode(&model, &batch, cli.steps, &device),
    };
    report.peak_mib = memory_mib("VmHWM")? - before;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

/// Runs the benchmark for a segmenter.
fn bench_segment(cli: &Cli) -> Result<()> {
    ensure!(
        matches!(cli.work, Work::Train | Work::Flops) && !cli.breakdown,
        "of a segmenter, steps are timed"
    );
    let config = segment::config()?;
    if let Work::Flops = cli.work {
        println!("{}", 3.0 * config.flops());
        return Ok(());
    }
    let device = cli.device.open()?;
    let before = memory_mib("VmRSS")?;
    ensure!(cli.precision.is_supported_by(&device), "{} has no {}", cli.device, cli.precision);
    let batch = segment::Batch::new(&config, cli.batch);
    if let Some(folder) = &cli.export {
        return batch.export(&config.init(0, &device)?, folder);
    }
    let compute = Compute { precision: cli.precision, grad_checkpointing: cli.grad_checkpointing };
    let mut report = segment::train(&config, &batch, cli.steps, compute, &device)?;
    report.peak_mib = memory_mib("VmHWM")? - before;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

/// Reads a memory figure of this process, such as `VmHWM`, from `/proc/self/status`.
fn memory_mib(name: &str) -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")
        .context("this system does not tell a process's memory")?;
    let line = status.lines().find(|line| line.starts_with(name)).context("no such line")?;
    let kib: f64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
    Ok(kib / 1024.0)
}

/// A loss of normalised images `[B, C, H, W]` and their masks, `[1]`.
type Loss = fn(&Mae, Tensor<4>, &MaskBatch) -> Tensor<1>;

/// Trains for `steps` steps, and reads the losses and the time after every `read_every` of them.
fn train(
    model: Mae,
    batch: &RandomBatch,
    (steps, read_every): (usize, usize),
    device: &Device,
    loss: Loss,
) -> Report {
    let mut model = model.train();
    let mut optimizer = AdamW::default().init(&model);
    let mut report = Report { seconds: Vec::new(), losses: Vec::new(), peak_mib: 0.0 };
    // The next batch is made while the model trains on the current one, as by a run's loader.
    let (made, batches) = sync_channel(1);
    thread::scope(|scope| {
        scope.spawn(move || (0..steps).try_for_each(|_| made.send(batch.images.clone())));
        let (mut began, mut losses) = (Instant::now(), Vec::new());
        for (step, images) in (1..=steps).zip(batches) {
            let images = Normalize::imagenet().images(images, batch.shape, device);
            let loss = loss(&model, images, &batch.masks);
            let gradients = GradientsParams::from_grads(loss.clone().backward(), &model);
            losses.push(loss.inner());
            model = ops::together(|| optimizer.step(1.5e-4, model, gradients));
            if step.is_multiple_of(read_every) || step == steps {
                let count = losses.len();
                let read = Tensor::cat(std::mem::take(&mut losses), 0).into_data().convert::<f64>();
                report.losses.extend(read.as_slice::<f64>().expect("converted above"));
                report.seconds.extend(vec![began.elapsed().as_secs_f64() / count as f64; count]);
                began = Instant::now();
            }
        }
    });
    report
}

/// The loss of a model whose encoder sees all tokens, against which MAE's asymmetric design is measured. Whether mask
/// tokens or patches are at the masked positions makes no difference to the time.
///
/// # Source
/// MAE section 3 "MAE encoder", table 1c.
fn all_tokens_loss(model: &Mae, images: Tensor<4>, masks: &MaskBatch) -> Tensor<1> {
    let device = images.device();
    let batch = masks.batch_size();
    let ids = |ids: &[i32]| -> Tensor<2, Int> {
        Tensor::from_data(TensorData::new(ids.to_vec(), [batch, ids.len() / batch]), &device)
    };
    let (masked, order) = (ids(masks.ids_masked()), ids(masks.ids_restore()));
    let patches = patchify(images.clone(), &model.config().geometry); // [B, L, P·P·C]
    let latent = model.encoder.forward(images); // [B, 1 + L, D]
    let pred = model.decoder.forward(latent, order.clone(), order); // [B, L, P·P·C]
    let (pred, target) = (ops::take_rows(pred, masked.clone()), ops::take_rows(patches, masked));
    ops::reconstruction_loss(pred, target, Some(1e-6))
}

fn encode(model: &Mae, batch: &RandomBatch, steps: usize, device: &Device) -> Report {
    let mut report = Report { seconds: Vec::new(), losses: Vec::new(), peak_mib: 0.0 };
    for _ in 0..steps {
        let began = Instant::now();
        let images = Normalize::imagenet().images(batch.images.clone(), batch.shape, device);
        let tokens = model.encode(images);
        // Reading the result waits until an asynchronous device has finished.
        let mean = tokens.abs().mean().into_scalar::<f32>();
        report.seconds.push(began.elapsed().as_secs_f64());
        report.losses.push(f64::from(mean));
    }
    report
}

/// Images of noise, and their masks.
struct RandomBatch {
    images: Vec<u8>,
    shape: [usize; 4],
    masks: MaskBatch,
}

impl RandomBatch {
    fn new(config: &MaeConfig, batch: usize, mask_ratio: f64) -> Result<Self> {
        let (height, width) = config.geometry.image_size();
        let shape = [batch, config.geometry.in_chans(), height, width];
        let noise = InitRng::new(1).uniform(shape.iter().product(), 128.0);
        let images = noise.into_iter().map(|value| (value + 128.0) as u8).collect();
        let masker = Masker::new(Strategy::Random, config.geometry.grid(), mask_ratio)?;
        let masks = masker.draw_batch(0, (0..batch).map(|sample| (0, sample)))?;
        Ok(Self { images, shape, masks })
    }

    fn export(&self, model: &Mae, folder: &std::path::Path) -> Result<()> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        mae_model::save(model, &Normalize::imagenet(), &BTreeMap::new(), folder.join("initial.safetensors"))?;
        let mask: Vec<u8> = self.masks.mask().iter().map(|masked| *masked as u8).collect();
        let mask_shape = vec![self.shape[0], mask.len() / self.shape[0]];
        let tensors = [
            ("images", TensorView::new(Dtype::U8, self.shape.to_vec(), &self.images)?),
            ("mask", TensorView::new(Dtype::U8, mask_shape, &mask)?),
        ];
        let path = folder.join("batch.safetensors");
        safetensors::serialize_to_file(tensors, None, &path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        let path = folder.join("model.json");
        std::fs::write(&path, serde_json::to_string(model.config())?)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}
