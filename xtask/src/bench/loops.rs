//! `cargo xtask bench loops`: what the managed loop costs beside the explicit one.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::median::median;
use crate::programs::{build, target};

/// Trains the default recipe with both programs in turns; prints the median seconds of each and their ratio.
pub fn loops(rounds: usize, steps: u64) -> Result<()> {
    ensure!(rounds >= 1 && steps >= 1, "--rounds and --steps must be at least 1");
    build(&["--package=plain", "--package=managed"])?;
    let target = target();
    let programs = ["plain", "managed"];
    let mut seconds = [Vec::new(), Vec::new()];
    for round in 1..=rounds {
        for (program, seconds) in programs.iter().zip(&mut seconds) {
            let folder = target.join(format!("bench-{}-{program}", std::process::id()));
            let took = train(&target.join("release").join(program), &folder, steps);
            fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
            let took = took?;
            println!("round {round}  {program:<8} {took:.2} s");
            seconds.push(took);
        }
    }
    let [plain, managed] = seconds.map(|mut seconds| median(&mut seconds));
    println!("median of {rounds} runs of {steps} updates: plain {plain:.2} s, managed {managed:.2} s");
    println!("managed / plain {:.3}", managed / plain);
    Ok(())
}

/// Seconds of training, as the run itself records them.
fn train(program: &Path, folder: &Path, steps: u64) -> Result<f64> {
    // Started in turns, both meet the same noise; stopped with a checkpoint, which is not in the recorded time.
    let status = Command::new(program)
        .args(["--quiet", "--stop-after", &steps.to_string(), "--out"])
        .arg(folder)
        .stdout(std::process::Stdio::null())
        .status()
        .with_context(|| format!("cannot start {}", program.display()))?;
    ensure!(matches!(status.code(), Some(0 | 130)), "{} failed", program.display());
    let metrics = fs::read_to_string(folder.join("metrics.jsonl")).context("the run has no records")?;
    let last = metrics.lines().last().and_then(|line| line.split("\"elapsed_s\":").nth(1));
    let last = last.and_then(|rest| rest.trim_end_matches('}').parse().ok());
    last.context("the last record has no time")
}
