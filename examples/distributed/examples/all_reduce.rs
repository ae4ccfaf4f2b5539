//! Times the all-reduce that averages gradients over ranks in a step, and checks the mean.
#![allow(clippy::print_stdout, reason = "a command line talks to people")]

use std::time::Instant;

use anyhow::{Result, ensure};
use burn::tensor::{Int, Tensor};
use clap::Parser;
use mae_model::Preset;
use mae_ranks::{bucket_bytes, launched_ranks, ranks_on};
use mae_trainer::DeviceName;
use mae_vit::Geometry;
use serde_json::json;

/// Time all-reduces; the main rank prints the seconds of each sum as one line of JSON.
#[derive(Parser)]
struct Cli {
    /// Model whose number of parameters is the number of values to sum.
    #[arg(long, default_value = "base")]
    preset: Preset,
    /// Patch size of that model [default: its own].
    #[arg(long)]
    patch_size: Option<usize>,
    /// Number of values to sum, instead of a model's.
    #[arg(long)]
    numbers: Option<usize>,
    /// Device of the values.
    #[arg(long, default_value = "flex")]
    device: DeviceName,
    /// Sums to time.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
}

fn main() -> Result<()> {
    let Cli { preset, patch_size, numbers, device, repeats } = Cli::parse();
    let of_model = || -> Result<usize> {
        let patch_size = patch_size.unwrap_or(preset.patch_size());
        Ok(preset.config(Geometry::new(preset.image_size(), patch_size, 3)?).num_params())
    };
    let numbers = numbers.map_or_else(of_model, Ok)?;
    let ranks = launched_ranks()?;
    let device = device.of_local_rank(ranks.local_rank()).open()?;
    let ranks = ranks_on(&ranks, &device)?;
    let bucket = bucket_bytes(ranks.size()) / size_of::<f32>();
    let mut seconds = Vec::new();
    for _ in 0..repeats {
        // The same values on every rank, so that their mean is known.
        let values = |first: usize| {
            let numbers = first as i64..(first + bucket).min(numbers) as i64;
            Tensor::<1, Int>::arange(numbers, &device).float().mul_scalar(0.37).sin()
        };
        let firsts = (0..numbers).step_by(bucket);
        let buckets: Vec<_> = firsts.clone().map(values).collect();
        ranks.barrier()?;
        let began = Instant::now();
        let sent = buckets.into_iter().map(|bucket| ranks.mean(vec![bucket]));
        let sent = sent.collect::<Result<Vec<_>, _>>()?;
        let means = sent.into_iter().map(|pending| pending()).collect::<Result<Vec<_>, _>>()?;
        device.sync()?;
        ranks.barrier()?;
        seconds.push(began.elapsed().as_secs_f64());
        for (mean, first) in means.into_iter().flatten().zip(firsts) {
            let off = (mean - values(first)).abs().max().into_scalar::<f32>();
            // Dividing by a power of two is exact, by other numbers not.
            let bound = if ranks.size().is_power_of_two() { 0.0 } else { 1e-6 };
            ensure!(off <= bound, "the mean of {} equal numbers is {off} off", ranks.size());
        }
    }
    if ranks.is_main() {
        println!("{}", json!({ "ranks": ranks.size(), "numbers": numbers, "seconds": seconds }));
    }
    Ok(())
}
