//! `cargo xtask bench encoder|epoch|sizes|operations`: measurements of ours alone.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::median::median;
use super::step::Report;
use crate::programs::cargo;
use crate::programs::{build_bench_step, run, target};

/// Images of an epoch, at least: fewer are repeated. So many that the first steps, which make their buffers, weigh little.
const EPOCH_IMAGES: usize = 960;
/// Steps on a batch in memory that an epoch is compared with: they take about as long.
const EPOCH_STEPS: usize = 40;
const EPOCH_BATCH: usize = 16;

/// The encoder on visible patches beside one that sees every token: ViT-B and ViT-L, 8 decoder blocks and 1.
pub fn encoder(rounds: usize, batch: usize) -> Result<()> {
    let program = build_bench_step()?;
    let mut table = String::from(
        "| model | decoder blocks | all tokens, images/s | visible patches, images/s | ratio |\n|---|---|---|---|---|\n",
    );
    for (name, shape) in [("ViT-B/16", "base"), ("ViT-L/16", "large")] {
        for depth in [8, 1] {
            let mut seconds = [Vec::new(), Vec::new()];
            for _ in 0..rounds {
                for (work, seconds) in ["all-tokens", "train"].into_iter().zip(&mut seconds) {
                    let mut command = bench_step(&program, shape, batch, 4, work);
                    command.args(["--decoder-depth", &depth.to_string()]);
                    seconds.push(run::<Report>(&mut command)?.step_s());
                }
            }
            let [all, visible] = seconds.map(|mut seconds| median(&mut seconds));
            let rate = |seconds: f64| batch as f64 / seconds;
            table += &format!(
                "| {name} | {depth} | {:.2} | {:.2} | {:.2} |\n",
                rate(all),
                rate(visible),
                all / visible
            );
        }
    }
    println!("training steps, batch {batch}, medians of {rounds} rounds in turns\n\n{table}");
    Ok(())
}

/// An epoch over a folder of images beside the step's own rate on a batch in memory: ViT-Ti/16.
pub fn epoch(data: &Path, rounds: usize) -> Result<()> {
    let program = build_bench_step()?;
    let folder = target().join(format!("bench-epoch-{}", std::process::id()));
    let images = repeat(data, &folder.join("images"))?;
    let (mut step, mut whole, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        let report: Report = run(&mut bench_step(&program, "tiny", EPOCH_BATCH, EPOCH_STEPS, "train"))?;
        step.push(EPOCH_BATCH as f64 / report.step_s());
        let (rate, waited) = train(&folder, images)?;
        println!(
            "round {round}  step {:.2} images/s, epoch {rate:.2} images/s, waiting {:.1}%",
            step[round - 1],
            100.0 * waited
        );
        whole.push(rate);
        waiting.push(waited);
    }
    fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    let [step, whole, waiting] = [step, whole, waiting].map(|mut values| median(&mut values));
    println!(
        "medians of {rounds} rounds: {step:.2} images/s in memory, {whole:.2} images/s over an epoch of {images} files"
    );
    println!("epoch / step {:.3}, waiting for data {:.1}%", whole / step, 100.0 * waiting);
    Ok(())
}

/// What a token costs, by the number of tokens and the width.
pub fn sizes() -> Result<()> {
    let example = ["run", "--quiet", "--release", "--package=mae-kernels", "--example=sizes"];
    ensure!(cargo().args(example).status()?.success(), "the benchmark failed");
    Ok(())
}

/// A step by operation.
pub fn operations(shape: &str, batch: usize, steps: usize) -> Result<()> {
    let mut command = bench_step(&build_bench_step()?, shape, batch, steps, "train");
    ensure!(command.arg("--breakdown").status()?.success(), "the benchmark failed");
    Ok(())
}

fn bench_step(program: &Path, shape: &str, batch: usize, steps: usize, work: &str) -> Command {
    let mut command = Command::new(program);
    command.arg(shape).args(["--batch", &batch.to_string(), "--steps", &steps.to_string(), "--work", work]);
    command
}

/// Copies the files of a folder into another, as often as it takes, and says how many there are then.
fn repeat(from: &Path, to: &Path) -> Result<usize> {
    let mut files = Vec::new();
    let mut folders = vec![from.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    ensure!(!files.is_empty(), "there are no files in {}", from.display());
    files.sort();
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    let times = EPOCH_IMAGES.div_ceil(files.len());
    for copy in 0..times {
        for (i, file) in files.iter().enumerate() {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let to = to.join(format!("{copy:03}-{i:06}-{name}"));
            fs::copy(file, &to).with_context(|| format!("cannot write {}", to.display()))?;
        }
    }
    Ok(times * files.len())
}

/// What a run records of its last update.
#[derive(Deserialize)]
struct Record {
    waiting_share: f64,
    elapsed_s: f64,
}

/// Trains an epoch; returns its images/s and the share of its time spent waiting for images.
fn train(folder: &Path, images: usize) -> Result<(f64, f64)> {
    let out = folder.join("run");
    let status = Command::new(target().join("release/plain"))
        .args(["--quiet", "--preset", "tiny", "--epochs", "1", "--batch-size", &EPOCH_BATCH.to_string()])
        .arg("--data")
        .arg(folder.join("images"))
        .arg("--out")
        .arg(&out)
        .stdout(Stdio::null())
        .status()
        .context("cannot start the training program")?;
    ensure!(status.success(), "the training program failed");
    let path = out.join("metrics.jsonl");
    let records = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let last: Record = serde_json::from_str(records.lines().last().context("the run has no records")?)?;
    fs::remove_dir_all(&out).with_context(|| format!("cannot remove {}", out.display()))?;
    let delivered = images / EPOCH_BATCH * EPOCH_BATCH;
    Ok((delivered as f64 / last.elapsed_s, last.waiting_share))
}
