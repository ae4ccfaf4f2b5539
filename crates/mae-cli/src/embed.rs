//! Features of images, row by row into one file.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use burn::tensor::{Device, Tensor};
use clap::ValueEnum;
use mae_data::{BadFilePolicy, ImageSource};
use mae_model::WeightFile;
use mae_trainer::{INTERRUPTED, StopFlag, duration};
use mae_vit::{Pooling, VisionTransformer};
use serde_json::json;

use crate::images::{self, ImageArgs};
use crate::table::{Table, Writer};

pub const EXAMPLES: &str = "\
Examples:
  mae embed runs/images-tiny-1 photos features.npy
  mae embed mae_pretrain_vit_base.pth photos features.safetensors --tokens mean
  mae embed vit.safetensors photos tokens.npy --tokens all --block 9

Beside the features there is OUT.txt, the images' names in the order of the rows. The row of an image that cannot be
read is NaN; it is named. Interrupted with Ctrl-C, the same command goes on where it stopped.

In Python:
  numpy.load('features.npy', mmap_mode='r')
  safetensors.numpy.load_file('features.safetensors')['features']

Exit status: 0 when done, 1 after an error, 2 for wrong options, 130 when interrupted.";

/// What becomes of an image's tokens.
#[derive(Clone, Copy, ValueEnum)]
enum Tokens {
    /// The class token.
    Class,
    /// The mean of the patches' tokens.
    Mean,
    /// All of them, the class token first.
    All,
}

#[derive(clap::Args)]
pub struct Args {
    /// Weights of an encoder: a file, or a folder of a run or of transformers.
    weights: PathBuf,
    /// An image, a folder of images, or packed images.
    images: PathBuf,
    /// A new .npy or .safetensors file.
    out: PathBuf,
    /// What is taken of an image.
    #[arg(long, value_enum, default_value = "class")]
    tokens: Tokens,
    /// The tokens behind this block, counted from 1, without the final norm; otherwise behind all and the norm.
    #[arg(long, value_name = "N")]
    block: Option<usize>,
    /// Print no progress lines.
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    images_as: ImageArgs,
    #[command(flatten)]
    described: crate::weights::Described,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let device = args.images_as.device.open()?;
    let file = WeightFile::open(&args.weights)?;
    let (encoder, used) = file.encoder(&args.described.hints(), &device)?;
    let config = *encoder.config();
    let (blocks, dim) = (config.stack.depth, config.stack.embed_dim);
    if let Some(block) = args.block {
        ensure!(
            (1..=blocks).contains(&block),
            "--block is {block}, but the encoder has blocks 1 to {blocks}"
        );
    }
    let normalize = args.images_as.normalize(&file, config.geometry.in_chans())?;
    let source = images::open(&args.images)?;
    let len = source.len();
    let row = match args.tokens {
        Tokens::All => vec![1 + config.geometry.num_patches(), dim],
        Tokens::Class | Tokens::Mean => vec![dim],
    };
    // What a part of a file has to agree in, for the rest to belong to it.
    let about = json!({
        "weights": file.path(),
        "bytes": file.path().metadata()?.len(),
        "tokens": args.tokens.to_possible_value().map(|value| value.get_name().to_owned()),
        "block": args.block,
        "normalize": normalize,
        "options": format!("{} {:?}", args.images_as.seen(), args.described.hints()),
    });
    let table = Table { path: &args.out, row: &row, source: source.as_ref(), about };
    let (mut writer, done) = table.begin()?;
    let say = |text: String| {
        if !args.quiet {
            eprintln!("{text}");
        }
    };
    let all = used.used.len() + used.unused.len();
    say(format!("the encoder is {} of the {all} tensors in {}", used.used.len(), file.path().display()));
    if done > 0 {
        say(format!("continuing after {done} of {len} images"));
    }
    let embedder = Embedder { args, encoder, normalize, device };
    let stopped = embedder.write(&source, &mut writer, done, say)?;
    if stopped {
        writer.pause()?;
        eprintln!("stopped; the same command continues");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    writer.finish()?;
    println!(
        "written         {len} rows of {row:?} in {}, names in {}",
        args.out.display(),
        table.list().display()
    );
    Ok(ExitCode::SUCCESS)
}

struct Embedder<'a> {
    args: &'a Args,
    encoder: VisionTransformer,
    normalize: mae_vit::Normalize,
    device: Device,
}

impl Embedder<'_> {
    /// The rows of the images from `first` on; whether it was asked to stop.
    fn write(
        &self,
        source: &Arc<dyn ImageSource>,
        writer: &mut Writer,
        first: usize,
        say: impl Fn(String),
    ) -> Result<bool> {
        let len = source.len();
        if first == len {
            return Ok(false);
        }
        let stop = StopFlag::listen()?;
        let skip = BadFilePolicy::Skip { max_share: 1.0 };
        let loader = self.args.images_as.loader(source, &self.encoder.config().geometry, skip)?;
        let (began, mut told) = (Instant::now(), Instant::now());
        let mut batches = loader.epoch(0, 0, (first as u32..len as u32).collect(), 0)?;
        let mut next = first;
        while let Some(batch) = batches.next() {
            let batch = batch?;
            let mut rows = self.rows(batch.images, batch.shape);
            let size = rows.len() / batch.indices.len();
            for (row, index) in rows.chunks_mut(size).zip(&batch.indices) {
                // Something else stands in for what cannot be read.
                if *index != next {
                    row.fill(f32::NAN);
                }
                next += 1;
            }
            writer.write(&rows)?;
            if stop.raised() && next < len {
                return Ok(true);
            }
            if told.elapsed() > Duration::from_secs(5) {
                told = Instant::now();
                let rate = (next - first) as f64 / began.elapsed().as_secs_f64();
                let left = duration((len - next) as f64 / rate);
                let waiting = 100.0 * batches.waiting_share();
                say(format!(
                    "{next} of {len} images, {rate:.1} images/s, {left} left, waiting {waiting:.0}%"
                ));
            }
        }
        for file in loader.bad_files() {
            eprintln!("not read, its row is NaN: {}", file.reason);
        }
        let elapsed = began.elapsed().as_secs_f64();
        let rate = (next - first) as f64 / elapsed;
        say(format!(
            "{} images in {}, {rate:.1} images/s, waiting {:.0}%",
            next - first,
            duration(elapsed),
            100.0 * batches.waiting_share()
        ));
        Ok(false)
    }

    fn rows(&self, bytes: Vec<u8>, shape: [usize; 4]) -> Vec<f32> {
        let images = self.normalize.images(bytes, shape, &self.device);
        let tokens: Tensor<3> = match self.args.block {
            Some(block) => self.encoder.forward_to(images, block),
            None => self.encoder.forward(images),
        };
        let data = match self.args.tokens {
            Tokens::Class => VisionTransformer::pool(tokens, Pooling::ClassToken).into_data(),
            Tokens::Mean => VisionTransformer::pool(tokens, Pooling::MeanPatch).into_data(),
            Tokens::All => tokens.into_data(),
        };
        data.convert::<f32>().try_to_vec::<f32>().expect("converted to f32")
    }
}

/// A name beside another file's.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Says which file an operation failed on.
pub fn on<T>(path: &Path, result: std::io::Result<T>) -> Result<T> {
    result.with_context(|| format!("cannot write {}", path.display()))
}
