//! `cargo xtask bench gpu`: everything that is to be known of a graphics card, beside PyTorch on the same one.

mod rates;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use serde::Deserialize;

use super::step::Report;
use crate::programs::{Gpu, python, run};

/// Bounds of the losses' distance from those of PyTorch in f32, relative.
const F32_TOLERANCE: f64 = 1e-3;
const BF16_TOLERANCE: f64 = 2e-2;

/// Options of the benchmark.
#[derive(Args)]
pub struct Options {
    /// Devices to measure this project on.
    #[arg(long, value_name = "DEVICE", value_delimiter = ',', default_value = "tch:cuda:0,vulkan:0")]
    devices: Vec<String>,
    /// PyTorch's device.
    #[arg(long, default_value = "cuda")]
    peer_device: String,
    /// Folder of programs from `--pack`: nothing is built, and no Rust is needed.
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Build the programs into this folder, to copy elsewhere with this program; do not measure.
    #[arg(long, value_name = "DIR", conflicts_with = "programs")]
    pack: Option<PathBuf>,
    /// Backends to build: tch (against torch of --python), vulkan, wgpu, cuda.
    #[arg(long, value_delimiter = ',', default_value = "tch,vulkan")]
    features: Vec<String>,
    /// Models for throughput and memory: base, large, huge, tiny, digits.
    #[arg(long = "shape", value_name = "SHAPE", value_delimiter = ',', default_value = "base,large")]
    shapes: Vec<String>,
    /// Images per batch.
    #[arg(long, default_value_t = 256)]
    batch: usize,
    /// Model and batch that must fit into memory and train, as SHAPE:BATCH.
    #[arg(long, value_name = "SHAPE:BATCH", default_value = "huge:64")]
    fits: String,
    /// Updates per measurement; the first half is warm-up.
    #[arg(long, default_value_t = 40)]
    steps: usize,
    /// Runs of each, interleaved.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Updates of the f32 and the bf16 run whose final losses are compared.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(10..))]
    updates: u64,
    /// Folder of JPEG files, to compare training with and without loading.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Parts to measure.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Part::ALL)]
    parts: Vec<Part>,
    /// Leave out torch.compile, which takes a minute per model and round.
    #[arg(long)]
    eager_only: bool,
    /// Leave out memory, which takes another run of each program.
    #[arg(long)]
    without_memory: bool,
    /// Decoding threads for --data.
    #[arg(long, default_value_t = 16)]
    workers: usize,
    /// Python with PyTorch, timm and safetensors [default: a virtual environment is made]
    #[arg(long)]
    python: Option<PathBuf>,
    /// Also write the output to this file.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

/// A section of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The golden tests, and the losses of three updates next to PyTorch's.
    Parity,
    /// Images per second of whole training steps, next to PyTorch's.
    Rates,
    /// Whether a large model trains.
    Fits,
    /// The encoder on visible patches, next to one on all tokens.
    Visible,
    /// Training from JPEG files.
    Loading,
    /// A longer run in bf16, next to the same run in f32.
    LongRuns,
}

impl Part {
    const ALL: [Self; 6] =
        [Self::Parity, Self::Rates, Self::Fits, Self::Visible, Self::Loading, Self::LongRuns];
}

/// Measures all of it, or packs the programs.
pub fn gpu(options: &Options) -> Result<()> {
    ensure!(options.rounds >= 1 && options.steps >= 4, "--rounds must be at least 1 and --steps at least 4");
    let python = python(options.python.as_deref())?;
    if let Some(folder) = &options.pack {
        Gpu::build(&options.features, &python, folder)?;
        println!("the programs are in {}; measure with --programs", folder.display());
        return Ok(());
    }
    let programs = match &options.programs {
        Some(folder) => Gpu::open(folder, &python)?,
        None => Gpu::build(&options.features, &python, &crate::programs::target().join("bench-gpu"))?,
    };
    let mut bench = Bench { options, programs, python, text: String::new(), failures: Vec::new() };
    bench.all()?;
    let Bench { text, failures, .. } = bench;
    if let Some(path) = &options.write {
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    ensure!(failures.is_empty(), "failed checks:\n{}", failures.join("\n"));
    Ok(())
}

struct Bench<'a> {
    options: &'a Options,
    programs: Gpu,
    python: PathBuf,
    text: String,
    /// Bounds that do not hold, and what did not run.
    failures: Vec<String>,
}

/// What a program measured, with the card's memory at its peak.
struct Measured {
    report: Report,
    /// MiB above what was taken before; none where no driver tells.
    card_mib: Option<u64>,
}

#[derive(Deserialize)]
struct Product {
    flops: f64,
    device: String,
    torch: String,
}

/// A line of a run's `metrics.jsonl`.
#[derive(Deserialize)]
struct Line {
    step: u64,
    loss: f64,
    images_per_s: f64,
    waiting_share: f64,
}

impl Bench<'_> {
    /// A row of a table; what could not be measured is said in it, and in the end.
    fn row(&mut self, name: &str, numbers: Result<String>) {
        let text = numbers.unwrap_or_else(|error| {
            let error = format!("{error:#}");
            let said =
                error.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no reason").trim().to_owned();
            self.failures.push(format!("{name}: {error}"));
            format!("did not run: {said} |")
        });
        self.say(&format!("| {name} | {text}"));
    }

    fn say(&mut self, line: &str) {
        println!("{line}");
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn all(&mut self) -> Result<()> {
        let mut product = Command::new(&self.python);
        product.args(["scripts/bench_gemm.py", "--precision", "bf16", "--device", &self.options.peer_device]);
        if self.options.peer_device == "cpu" {
            product.args(["--size", "1024"]);
        }
        let product: Product = run(&mut product)?;
        self.say(&format!(
            "{}, PyTorch {}; {:.1} TFLOP/s for large products of bf16 matrices in PyTorch\n",
            product.device,
            product.torch,
            product.flops / 1e12
        ));
        for part in self.options.parts.clone() {
            let measured = match part {
                Part::Parity => self.parity(),
                Part::Rates => self.rates(product.flops),
                Part::Fits => self.fits(),
                Part::Visible => self.visible(),
                Part::Loading => self.loading(),
                Part::LongRuns => self.long_runs(),
            };
            // A card may be rented by the minute: one part's failure must not end the others.
            if let Err(error) = measured {
                self.say(&format!("{part:?} did not run: {error:#}\n"));
                self.failures.push(format!("{part:?}: {error:#}"));
            }
        }
        Ok(())
    }

    /// Ours: `bench_step` on a device.
    fn ours(&self, device: &str, shape: &str, batch: usize, precision: &str, extra: &[&str]) -> Command {
        let mut command = self.programs.command("bench_step");
        command.args([shape, "--device", device, "--batch", &batch.to_string(), "--precision", precision]);
        command.args(extra);
        command
    }

    fn theirs(&self, export: &Path, precision: &str, extra: &[&str]) -> Command {
        let mut command = Command::new(&self.python);
        command.args(["scripts/bench_peers.py", "timm"]).arg(export);
        command.args(["--device", &self.options.peer_device, "--precision", precision]).args(extra);
        command
    }

    /// Weights, images and masks that both sides start from.
    fn export(&self, shape: &str, batch: usize) -> Result<PathBuf> {
        let folder = std::env::temp_dir().join(format!("mae-bench-gpu-{}-{shape}", std::process::id()));
        let path = folder.to_str().context("a temporary folder whose name is not text")?;
        let status = self.ours("flex", shape, batch, "f32", &["--steps", "2", "--export", path]).status()?;
        ensure!(status.success(), "the weights could not be exported");
        Ok(folder)
    }

    /// The golden tests on each device; the losses of three updates beside PyTorch's.
    fn parity(&mut self) -> Result<()> {
        self.say("| device | golden tests | f32 losses off by | bf16 losses off by |\n|---|---|---|---|");
        let (shape, batch) = (self.options.shapes[0].clone(), self.options.batch.min(8));
        let export = self.export(&shape, batch)?;
        let steps = ["--steps", "3"];
        let reference = run::<Report>(&mut self.theirs(&export, "f32", &steps))?.losses;
        for device in &self.options.devices.clone() {
            let mut tests = vec![("golden tests", self.programs.golden(device))];
            if device.starts_with("tch:cuda") {
                tests.push(("tests of kernels", self.programs.kernels()));
            }
            let mut pass = true;
            for (name, mut command) in tests {
                let tests = command.output().with_context(|| format!("cannot start the {name}"))?;
                if !tests.status.success() {
                    pass = false;
                    let [out, err] = [&tests.stdout, &tests.stderr].map(|text| String::from_utf8_lossy(text));
                    self.failures.push(format!("{name} on {device}: {out}{err}"));
                }
            }
            let mut text = if pass { "pass" } else { "FAIL" }.to_owned();
            for (precision, tolerance) in [("f32", F32_TOLERANCE), ("bf16", BF16_TOLERANCE)] {
                let report = run::<Report>(&mut self.ours(device, &shape, batch, precision, &steps));
                let off = report.map(|report| {
                    let off = report.losses.iter().zip(&reference).map(|(a, b)| (a - b).abs() / b.abs());
                    off.fold(0.0, |worst: f64, off| if off.is_nan() { off } else { worst.max(off) })
                });
                match off {
                    Ok(off) if off <= tolerance => text += &format!(" | {off:.1e}"),
                    Ok(off) => {
                        self.failures
                            .push(format!("{device}: losses in {precision} are {off:.1e} off PyTorch's"));
                        text += &format!(" | {off:.1e}, too far");
                    }
                    Err(error) => {
                        self.failures.push(format!("{device} in {precision}: {error:#}"));
                        text += " | did not run";
                    }
                }
            }
            self.say(&format!("| {device} | {text} |"));
        }
        fs::remove_dir_all(&export).with_context(|| format!("cannot remove {}", export.display()))?;
        self.say(&format!("\n{shape}, batch {batch}: the losses of three updates beside timm's in f32.\n"));
        Ok(())
    }

    /// Two runs that differ in precision alone, by the mean loss of their last tenth.
    fn long_runs(&mut self) -> Result<()> {
        self.say(&format!(
            "| device | loss after {} updates in f32 | in bf16 | ratio |\n|---|---|---|---|",
            self.options.updates
        ));
        for device in &self.options.devices.clone() {
            let row =
                self.long_run(device, "f32").and_then(|whole| Ok((whole, self.long_run(device, "bf16")?)));
            if let Ok((whole, rounded)) = &row
                && ((rounded / whole - 1.0).abs() > BF16_TOLERANCE || (rounded / whole).is_nan())
            {
                self.failures.push(format!("{device}: bf16 does not train as f32 does"));
            }
            let row =
                row.map(|(whole, rounded)| format!("{whole:.4} | {rounded:.4} | {:.4} |", rounded / whole));
            self.row(device, row);
        }
        self.say("\nThe built-in shapes, one seed, the mean of the last tenth.\n");
        Ok(())
    }

    /// The mean loss of a run's last tenth.
    fn long_run(&self, device: &str, precision: &str) -> Result<f64> {
        let lines =
            self.train(device, &["--precision", precision, "--metric-steps", "1"], self.options.updates)?;
        let last = &lines[lines.len() - lines.len() / 10..];
        Ok(last.iter().map(|line| line.loss).sum::<f64>() / last.len() as f64)
    }

    /// The records of a run of so many updates.
    fn train(&self, device: &str, args: &[&str], steps: u64) -> Result<Vec<Line>> {
        let folder = std::env::temp_dir().join(format!("mae-bench-gpu-{}-run", std::process::id()));
        let mut command = self.programs.command("plain");
        command.args([
            "--device",
            device,
            "--quiet",
            "--epochs",
            "100000",
            "--stop-after",
            &steps.to_string(),
        ]);
        let output = command.args(args).arg("--out").arg(&folder).output().context("cannot start plain")?;
        // It has been stopped, with a checkpoint.
        if output.status.code() != Some(130) {
            bail!("{}", String::from_utf8_lossy(&output.stderr));
        }
        let text = fs::read_to_string(folder.join("metrics.jsonl")).context("the run has no records")?;
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        let lines: Vec<Line> = text
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()
            .context("a record of the run")?;
        ensure!(
            lines.last().is_some_and(|line| line.step == steps),
            "the run made fewer than {steps} updates"
        );
        Ok(lines)
    }
}

/// Runs a program while the card's memory is watched.
fn watched(command: &mut Command) -> Result<Measured> {
    let before = card_mib();
    let (done, peak) = (AtomicBool::new(false), AtomicU64::new(0));
    let report = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                peak.fetch_max(card_mib().unwrap_or(0), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(200));
            }
        });
        let report = run(command);
        done.store(true, Ordering::Relaxed);
        report
    })?;
    let peak = peak.into_inner();
    Ok(Measured { report, card_mib: before.map(|before| peak.saturating_sub(before)) })
}

/// What is taken of the first card's memory, in MiB.
fn card_mib() -> Option<u64> {
    let query = ["--query-gpu=memory.used", "--format=csv,noheader,nounits", "-i", "0"];
    let output = Command::new("nvidia-smi").args(query).output().ok()?;
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}
