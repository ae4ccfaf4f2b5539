//! `cargo xtask bench ranks`: what several processes gain, and what adding up their gradients costs in time and memory.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::median::median;
use crate::distributed::mpirun;
use crate::programs::{build, run, target};

#[derive(Deserialize)]
struct Sums {
    numbers: usize,
    seconds: Vec<f64>,
}

/// One and two processes of one thread in turns, on ViT-Ti with 32 images each; then the sum of as many gradients as
/// ViT-B has parameters, beside a step of it.
pub fn ranks(data: &Path, rounds: usize, steps: usize) -> Result<()> {
    ensure!(rounds >= 1 && steps >= 3, "--rounds must be at least 1 and --steps at least 3");
    build(&["--package=distributed", "--features=mpi", "--bins", "--examples"])?;
    let mut rates = [Vec::new(), Vec::new()];
    for round in 1..=rounds {
        for (ranks, rates) in [1, 2].into_iter().zip(&mut rates) {
            let rate = median(&mut rates_of(here(ranks), data, &cropped("tiny"), 32, steps)?);
            println!("round {round}  {ranks} x 1 thread  {rate:.2} images/s");
            rates.push(rate);
        }
    }
    let [one, two] = rates.map(|mut rates| median(&mut rates));
    println!("ViT-Ti, 32 images a rank: 1 rank {one:.2}, 2 ranks {two:.2} images/s: {:.2} times", two / one);

    let program = target().join("release/examples/all_reduce");
    let mut sums: Sums = run(mpirun(2, 1).arg(program).args(["--preset", "base", "--repeats", "7"]))?;
    let sum_s = median(&mut sums.seconds);
    let batch = 8;
    let rate = median(&mut rates_of(here(2), data, &cropped("base"), batch, 4)?);
    let step_s = 2.0 * batch as f64 / rate;
    let megabytes = sums.numbers as f64 * 4.0 / 1e6;
    println!(
        "ViT-B, {:.1} M parameters: the sum over 2 ranks takes {sum_s:.3} s ({:.2} GB/s each way), {:.1}% of a step of \
         {batch} images a rank ({step_s:.2} s)",
        sums.numbers as f64 / 1e6,
        megabytes / 1e3 / sum_s,
        100.0 * sum_s / step_s
    );

    let [one, two] = [peak_mb(data, 1)?, peak_mb(data, 2)?];
    println!(
        "memory of a rank, ViT-B: {one:.0} MB alone, {two:.0} MB of 2: {:.0} MB more; the gradients are {megabytes:.0} MB",
        two - one
    );
    Ok(())
}

/// The most memory that the main of so many ranks holds in a few updates of ViT-B, in MB.
fn peak_mb(data: &Path, ranks: usize) -> Result<f64> {
    let mut command = here(ranks);
    command.args(["--dry-run", "--preset", "base", "--batch-size", "4", "--data"]).arg(data);
    let output = command.output().context("cannot start mpirun")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let line =
        text.lines().rev().find_map(|line| line.strip_prefix("memory")).context("it says no memory")?;
    let number = line.split_whitespace().next().context("it says no memory")?;
    number.parse().with_context(|| format!("no number of MB: {number}"))
}

/// The program on so many ranks of this machine.
fn here(ranks: usize) -> Command {
    let mut command = mpirun(ranks, 1);
    command.arg(target().join("release/distributed"));
    command
}

/// Options for a model of a preset, on four crops of each image: small folders will do.
pub fn cropped(preset: &str) -> [&str; 4] {
    ["--repeats", "4", "--preset", preset]
}

/// The rates, in images per second, of the updates after the second of a run with so many images a rank. The command
/// starts the program.
pub fn rates_of(
    mut command: Command,
    data: &Path,
    options: &[&str],
    batch: usize,
    steps: usize,
) -> Result<Vec<f64>> {
    let folder = target().join(format!("bench-{}-ranks", std::process::id()));
    let output = command
        .args(["--quiet", "--epochs", "1000", "--stop-after", &steps.to_string()])
        .args(["--batch-size", &batch.to_string()])
        .args(options)
        .arg("--data")
        .arg(data)
        .arg("--out")
        .arg(&folder)
        .output()
        .with_context(|| format!("cannot start {:?}", command.get_program()))?;
    let metrics = fs::read_to_string(folder.join("metrics.jsonl"));
    let _ = fs::remove_dir_all(&folder);
    let stopped = matches!(output.status.code(), Some(0 | 130));
    ensure!(stopped, "{}", String::from_utf8_lossy(&output.stderr));
    let metrics = metrics.context("the run has no records")?;
    let rate = |line: &str| {
        let record: serde_json::Value = serde_json::from_str(line)?;
        record["images_per_s"].as_f64().context("a record has no rate")
    };
    let rates = metrics.lines().skip(2).map(rate).collect::<Result<Vec<_>>>()?;
    ensure!(!rates.is_empty(), "the run has too few records");
    Ok(rates)
}
