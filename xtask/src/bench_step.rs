//! `cargo xtask bench step`: training steps beside PyTorch's, in turns on the same machine.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Deserialize;

use crate::median;
use crate::programs::{build_bench_step, python, run, target};

/// How far apart the first losses of the same weights, images and masks may be.
const LOSS_TOLERANCE: f64 = 1e-4;
/// Losses compared: after a few updates rounding shows.
const LOSSES: usize = 3;

/// A row of the table.
struct Work {
    name: &'static str,
    shape: &'static str,
    batch: usize,
    work: &'static str,
    mask_ratio: &'static str,
    peers: &'static [&'static str],
}

const WORKS: [Work; 6] = [
    train("ViT-B/16, decoder 512 × 8", "base", 8, &["timm", "transformers"]),
    train("lightly's example, ViT-B/32", "lightly", 32, &["timm", "transformers", "lightly"]),
    train("ViT-Ti/16, decoder 128 × 4", "tiny", 16, &["timm", "transformers"]),
    train("8 px digits, 96 × 4, decoder 48 × 2", "digits", 128, &["timm", "transformers"]),
    Work { mask_ratio: "0.5", ..train("the digits recipe: batch 32, half masked", "digits", 32, &["timm"]) },
    Work { work: "encode", ..train("encoding, ViT-B/16, no mask", "base", 8, &["timm", "transformers"]) },
];

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
    losses: Vec<f64>,
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
    /// Runs of each program, in turns.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Threads of each.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Rows to measure: base, lightly, tiny, digits [default: all]
    #[arg(long = "shape", value_name = "SHAPE")]
    shapes: Vec<String>,
    /// Measure the peers under torch.compile too.
    #[arg(long)]
    compile: bool,
    /// A Python with scripts/requirements-bench.txt [default: a virtual environment is made]
    #[arg(long)]
    python: Option<PathBuf>,
    /// Also write the table to this file.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

/// Measures, prints, and writes the table if asked to.
pub fn step(options: &Options) -> Result<()> {
    ensure!(options.rounds >= 1 && options.threads >= 1, "rounds and threads are at least 1");
    let (target, ours) = (target(), build_bench_step()?);
    let python = python(options.python.as_deref())?;
    let known: Vec<&str> = WORKS.iter().map(|work| work.shape).collect();
    if let Some(unknown) = options.shapes.iter().find(|shape| !known.contains(&shape.as_str())) {
        anyhow::bail!("there is no shape '{unknown}'; there are {}", known.join(", "));
    }
    let chosen = |work: &&Work| options.shapes.is_empty() || options.shapes.iter().any(|s| s == work.shape);
    let mut table = String::from(
        "| work | program | images/s | spread | ours / it | peak MiB |\n|---|---|---|---|---|---|\n",
    );
    for work in WORKS.iter().filter(chosen) {
        let columns = measure(work, options, &ours, &python, &target)?;
        let rows = rows(work, &columns)?;
        print!("{rows}");
        table.push_str(&rows);
    }
    let caption = format!(
        "{} threads, f32; medians of {} interleaved rounds, spread from the slowest to the fastest.\n",
        options.threads, options.rounds
    );
    println!("\n{caption}\n{table}");
    if let Some(path) = &options.write {
        fs::write(path, format!("{caption}\n{table}"))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Runs ours and each peer in turns.
fn measure(work: &Work, options: &Options, ours: &Path, python: &Path, target: &Path) -> Result<Vec<Column>> {
    let export = target.join(format!("bench-step-{}", work.shape));
    let steps = if work.shape == "digits" { 60 } else { 8 };
    let common = |command: &mut Command| {
        command
            .args(["--steps", &steps.to_string(), "--work", work.work])
            .env("RAYON_NUM_THREADS", options.threads.to_string());
    };
    let ours = |extra: &[&str]| {
        let mut command = Command::new(ours);
        command.arg(work.shape).args(["--batch", &work.batch.to_string(), "--mask-ratio", work.mask_ratio]);
        command.args(extra);
        common(&mut command);
        command
    };
    let export_arg = export.display().to_string();
    ensure!(ours(&["--export", &export_arg]).status()?.success(), "the weights could not be exported");
    let mut programs: Vec<(String, Box<dyn Fn() -> Command + '_>)> =
        vec![("ours".into(), Box::new(|| ours(&[])))];
    for peer in work.peers {
        for compile in [false, true].into_iter().take(1 + usize::from(options.compile)) {
            let export = &export;
            let command = move || {
                let mut command = Command::new(python);
                command.arg("scripts/bench_peers.py").arg(peer).arg(export);
                command.args(["--threads", &options.threads.to_string()]);
                if compile {
                    command.arg("--compile");
                }
                common(&mut command);
                command
            };
            let name = if compile { format!("{peer}, compiled") } else { (*peer).to_owned() };
            programs.push((name, Box::new(command)));
        }
    }
    let mut columns: Vec<Column> = programs
        .iter()
        .map(|(name, _)| Column { name: name.clone(), step_s: Vec::new(), peak_mib: 0.0 })
        .collect();
    for round in 1..=options.rounds {
        let mut first: Option<Vec<f64>> = None;
        for ((name, command), column) in programs.iter().zip(&mut columns) {
            let report: Report = run(&mut command()).with_context(|| format!("{name} on {}", work.name))?;
            println!(
                "{} round {round}: {name} {:.2} images/s",
                work.name,
                work.batch as f64 / report.step_s()
            );
            match (&first, name.starts_with("timm")) {
                (None, _) => first = Some(report.losses[..LOSSES].to_vec()),
                (Some(ours), true) => agree(ours, &report.losses)?,
                _ => {}
            }
            column.step_s.push(report.step_s());
            column.peak_mib = column.peak_mib.max(report.peak_mib);
        }
    }
    fs::remove_dir_all(&export).with_context(|| format!("cannot remove {}", export.display()))?;
    Ok(columns)
}

/// The same weights on the same images and masks give the same losses, or something else is measured.
fn agree(ours: &[f64], theirs: &[f64]) -> Result<()> {
    for (ours, theirs) in ours.iter().zip(theirs) {
        let off = (ours - theirs).abs() / theirs.abs();
        ensure!(off <= LOSS_TOLERANCE, "the losses {ours} and {theirs} are {off:.1e} apart");
    }
    Ok(())
}

/// Lines of the table.
fn rows(work: &Work, columns: &[Column]) -> Result<String> {
    let mut text = String::new();
    let ours = median(&mut columns[0].step_s.clone());
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
            middle / ours,
            column.peak_mib
        )?;
    }
    Ok(text)
}
