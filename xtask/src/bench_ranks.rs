//! `cargo xtask bench ranks`: what several processes gain, and what adding up their gradients costs.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::distributed::mpirun;
use crate::median;
use crate::programs::{build, run, target};

#[derive(Deserialize)]
struct Sums {
    numbers: usize,
    seconds: Vec<f64>,
}

/// One and two processes of one thread in turns, on ViT-Ti with 32 images each; then the sum of as many gradients as
/// ViT-B has parameters, beside a step of it.
pub fn ranks(data: &Path, rounds: usize, steps: usize) -> Result<()> {
    ensure!(rounds >= 1 && steps >= 3, "rounds are at least 1, steps at least 3");
    build(&["--package=distributed", "--features=mpi", "--bins", "--examples"])?;
    let mut rates = [Vec::new(), Vec::new()];
    for round in 1..=rounds {
        for (ranks, rates) in [1, 2].into_iter().zip(&mut rates) {
            let rate = rate(data, ranks, &["--preset", "tiny", "--batch-size", "32"], steps)?;
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
    let step_s =
        2.0 * f64::from(batch) / rate(data, 2, &["--preset", "base", "--batch-size", &batch.to_string()], 4)?;
    let megabytes = sums.numbers as f64 * 4.0 / 1e6;
    println!(
        "ViT-B, {:.1} M parameters: the sum over 2 ranks takes {sum_s:.3} s ({:.2} GB/s each way), {:.1}% of a step of \
         {batch} images a rank ({step_s:.2} s)",
        sums.numbers as f64 / 1e6,
        megabytes / 1e3 / sum_s,
        100.0 * sum_s / step_s
    );
    Ok(())
}

/// The median rate of a run's updates after the second.
fn rate(data: &Path, ranks: usize, model: &[&str], steps: usize) -> Result<f64> {
    let folder = target().join(format!("bench-{}-ranks", std::process::id()));
    let output = mpirun(ranks, 1)
        .arg(target().join("release/distributed"))
        // Four crops of each image: small folders will do.
        .args(["--quiet", "--repeats", "4", "--epochs", "1000", "--stop-after", &steps.to_string(), "--data"])
        .arg(data)
        .args(model)
        .arg("--out")
        .arg(&folder)
        .output()
        .context("cannot start mpirun")?;
    let metrics = fs::read_to_string(folder.join("metrics.jsonl"));
    let _ = fs::remove_dir_all(&folder);
    let stopped = matches!(output.status.code(), Some(0 | 130));
    ensure!(stopped, "{ranks} ranks: {}", String::from_utf8_lossy(&output.stderr));
    let metrics = metrics.context("the run has no records")?;
    let rate = |line: &str| {
        let record: serde_json::Value = serde_json::from_str(line)?;
        record["images_per_s"].as_f64().context("a record has no rate")
    };
    let mut rates = metrics.lines().skip(2).map(rate).collect::<Result<Vec<_>>>()?;
    ensure!(!rates.is_empty(), "the run has too few records");
    Ok(median(&mut rates))
}
