//! `cargo xtask bench step`: training steps beside PyTorch's, in turns on the same machine.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Deserialize;

use super::median::median;
use crate::programs::{build_bench_step, build_bench_step_on_libtorch, python, run, target};

/// How far apart the first losses of the same weights, images and masks may be, in f32 and in bf16.
const LOSS_TOLERANCE: (f64, f64) = (1e-4, 2e-2);
/// Losses compared: after a few updates rounding shows.
const LOSSES: usize = 3;
/// Our build with libtorch.
const ON_LIBTORCH: &str = "ours, libtorch";
/// Behind the name of a peer under torch.compile.
const COMPILED: &str = ", compiled";

/// A row of the table.
struct Work {
    name: &'static str,
    shape: &'static str,
    batch: usize,
    work: &'static str,
    mask_ratio: &'static str,
    peers: &'static [&'static str],
}

const WORKS: [Work; 7] = [
    train("ViT-B/16, decoder 512 × 8", "base", 8, &["timm", "transformers"]),
    train("lightly's example, ViT-B/32", "lightly", 32, &["timm", "transformers", "lightly"]),
    train("ViT-Ti/16, decoder 128 × 4", "tiny", 16, &["timm", "transformers"]),
    train("8 px digits, 96 × 4, decoder 48 × 2", "digits", 128, &["timm", "transformers"]),
    Work { mask_ratio: "0.5", ..train("the digits recipe: batch 32, half masked", "digits", 32, &["timm"]) },
    train("UPerNet 128 on ViT-Ti/16 at 128 px", "segment", 8, &["timm-uper"]),
    Work { work: "encode", ..train("encoding, ViT-B/16, no mask", "base", 8, &["timm", "transformers"]) },
];

impl Work {
    /// Some seconds' worth: as many images whatever the batch.
    fn steps(&self) -> usize {
        if self.shape == "digits" { 7680 / self.batch } else { 6 }
    }
}

const fn train(
    name: &'static str,
    shape: &'static str,
    batch: usize,
    peers: &'static [&'static str],
) -> Work {
    Work { name, shape, batch, work: "train", mask_ratio: "0.75", peers }
}

/// What a program prints.
#[derive(Deserialize)]
pub struct Report {
    seconds: Vec<f64>,
    /// Of each step.
    pub losses: Vec<f64>,
    peak_mib: f64,
}

impl Report {
    /// The median of the last half.
    pub fn step_s(&self) -> f64 {
        let mut tail = self.seconds[self.seconds.len() / 2..].to_vec();
        median(&mut tail)
    }
}

/// All rounds of one program.
struct Column {
    name: String,
    step_s: Vec<f64>,
    peak_mib: f64,
}

/// Options of the benchmark.
#[derive(Args)]
pub struct Options {
    /// Runs of each program, interleaved.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Threads of each program.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Rows to measure: base, lightly, tiny, digits, segment [default: all]
    #[arg(long = "shape", value_name = "SHAPE")]
    shapes: Vec<String>,
    /// Precision of matrix products: f32, or bf16 (the peers then run under autocast).
    #[arg(long, default_value = "f32", value_parser = ["f32", "bf16"])]
    precision: String,
    /// Also measure this project on libtorch.
    #[arg(long)]
    libtorch: bool,
    /// Also measure the peers under torch.compile.
    #[arg(long)]
    compile: bool,
    /// Python with scripts/requirements-bench.txt [default: a virtual environment is made]
    #[arg(long)]
    python: Option<PathBuf>,
    /// Also write the table to this file.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

/// Measures, prints, and writes the table if asked to.
pub fn step(options: &Options) -> Result<()> {
    ensure!(options.rounds >= 1 && options.threads >= 1, "--rounds and --threads must be at least 1");
    let known: Vec<&str> = WORKS.iter().map(|work| work.shape).collect();
    if let Some(unknown) = options.shapes.iter().find(|shape| !known.contains(&shape.as_str())) {
        anyhow::bail!("unknown shape '{unknown}': expected one of {}", known.join(", "));
    }
    let python = python(options.python.as_deref())?;
    let libtorch = options.libtorch.then(|| build_bench_step_on_libtorch(&python)).transpose()?;
    let programs = Programs { ours: build_bench_step()?, libtorch, python };
    let chosen = |work: &&Work| options.shapes.is_empty() || options.shapes.iter().any(|s| s == work.shape);
    let mut table = String::from(
        "| work | program | images/s | spread | of the fastest peer | peak MiB |\n|---|---|---|---|---|---|\n",
    );
    for work in WORKS.iter().filter(chosen) {
        let columns = measure(work, options, &programs)?;
        let rows = rows(work, &columns)?;
        print!("{rows}");
        table.push_str(&rows);
    }
    let caption = format!(
        "{} threads, {}; medians of {} interleaved rounds, spread from the slowest to the fastest, and the ratio to \
         the fastest of the peers in eager mode.\n",
        options.threads, options.precision, options.rounds
    );
    println!("\n{caption}\n{table}");
    if let Some(path) = &options.write {
        fs::write(path, format!("{caption}\n{table}"))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// What is compared.
struct Programs {
    ours: PathBuf,
    /// Ours on libtorch, and the folders of its libraries.
    libtorch: Option<(PathBuf, String)>,
    /// For the peers.
    python: PathBuf,
}

/// A program and how it is started.
type Contender<'a> = (String, Box<dyn Fn() -> Command + 'a>);

/// Runs ours and each peer in turns.
fn measure(work: &Work, options: &Options, programs: &Programs) -> Result<Vec<Column>> {
    let export = target().join(format!("bench-step-{}", work.shape));
    let folder = export.display().to_string();
    let exported = ours(work, options, &programs.ours, &["--export", &folder]).status()?;
    ensure!(exported.success(), "the weights could not be exported");
    let mut contenders: Vec<Contender<'_>> =
        vec![("ours".into(), Box::new(|| ours(work, options, &programs.ours, &[])))];
    if let Some((program, libraries)) = &programs.libtorch {
        let start = move || {
            let mut command = ours(work, options, program, &["--device", "tch"]);
            command.env("LD_LIBRARY_PATH", libraries);
            command
        };
        contenders.push((ON_LIBTORCH.into(), Box::new(start)));
    }
    for peer in work.peers {
        let export = &export;
        let start = |extra| move || theirs(work, options, &programs.python, peer, extra, export);
        contenders.push(((*peer).into(), Box::new(start(None))));
        if options.compile {
            contenders.push((format!("{peer}{COMPILED}"), Box::new(start(Some("--compile")))));
        }
    }
    let mut columns: Vec<Column> = contenders
        .iter()
        .map(|(name, _)| Column { name: name.clone(), step_s: Vec::new(), peak_mib: 0.0 })
        .collect();
    for round in 1..=options.rounds {
        let mut first: Option<Vec<f64>> = None;
        for ((name, start), column) in contenders.iter().zip(&mut columns) {
            let report: Report = run(&mut start()).with_context(|| format!("{name} on {}", work.name))?;
            let rate = work.batch as f64 / report.step_s();
            println!("{} round {round}: {name} {rate:.2} images/s", work.name);
            match &first {
                None => first = Some(report.losses[..LOSSES].to_vec()),
                Some(ours) if name == ON_LIBTORCH || name.starts_with("timm") => {
                    let (f32, bf16) = LOSS_TOLERANCE;
                    agree(ours, &report.losses, if options.precision == "bf16" { bf16 } else { f32 })?;
                }
                Some(_) => {}
            }
            column.step_s.push(report.step_s());
            column.peak_mib = column.peak_mib.max(report.peak_mib);
        }
    }
    fs::remove_dir_all(&export).with_context(|| format!("cannot remove {folder}"))?;
    Ok(columns)
}

/// Ours, in one of its builds.
fn ours(work: &Work, options: &Options, program: &Path, extra: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.arg(work.shape).args(["--batch", &work.batch.to_string(), "--mask-ratio", work.mask_ratio]);
    common(&mut command, work, options);
    command.args(extra);
    command
}

/// A peer's.
fn theirs(
    work: &Work,
    options: &Options,
    python: &Path,
    peer: &str,
    extra: Option<&str>,
    export: &Path,
) -> Command {
    let mut command = Command::new(python);
    command.arg("scripts/bench_peers.py").arg(peer).arg(export);
    command.args(["--threads", &options.threads.to_string()]).args(extra);
    common(&mut command, work, options);
    command
}

/// What all are told.
fn common(command: &mut Command, work: &Work, options: &Options) {
    let threads = options.threads.to_string();
    command.args(["--steps", &work.steps().to_string(), "--work", work.work]);
    command.args(["--precision", &options.precision]);
    command.env("RAYON_NUM_THREADS", &threads).env("OMP_NUM_THREADS", &threads);
}

/// The same weights on the same images and masks give the same losses, or something else is measured.
fn agree(ours: &[f64], theirs: &[f64], tolerance: f64) -> Result<()> {
    for (ours, theirs) in ours.iter().zip(theirs) {
        let off = (ours - theirs).abs() / theirs.abs();
        ensure!(off <= tolerance, "the losses {ours} and {theirs} are {off:.1e} apart");
    }
    Ok(())
}

/// Lines of the table.
fn rows(work: &Work, columns: &[Column]) -> Result<String> {
    let mut text = String::new();
    let step_s = |column: &Column| median(&mut column.step_s.clone());
    let eager = |column: &&Column| !column.name.starts_with("ours") && !column.name.ends_with(COMPILED);
    let best_s = columns.iter().filter(eager).map(step_s).fold(f64::INFINITY, f64::min);
    for column in columns {
        let mut step_s = column.step_s.clone();
        let middle = median(&mut step_s);
        let rate = |seconds: f64| work.batch as f64 / seconds;
        writeln!(
            text,
            "| {} | {} | {:.2} | {:.2}–{:.2} | {:.2} | {:.0} |",
            work.name,
            column.name,
            rate(middle),
            rate(step_s[step_s.len() - 1]),
            rate(step_s[0]),
            best_s / middle,
            column.peak_mib
        )?;
    }
    Ok(text)
}
