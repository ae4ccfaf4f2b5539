//! Times what ranks do together in a step: adding up gradients.
#![allow(clippy::print_stdout, reason = "a command line talks to people")]

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use burn::tensor::Tensor;
use clap::Parser;
use mae_model::Preset;
use mae_trainer::{DeviceName, Recipe, bucket_bytes, launched_ranks, ranks_on};
use serde_json::json;

/// Prints, as one line of JSON from the main rank, the seconds of each sum.
#[derive(Parser)]
struct Cli {
    /// How many numbers: as many as this model has parameters.
    #[arg(long, default_value = "base")]
    preset: Preset,
    /// With patches of this side instead of its own.
    #[arg(long)]
    patch_size: Option<usize>,
    /// How many numbers instead.
    #[arg(long)]
    numbers: Option<usize>,
    /// Where they are.
    #[arg(long, default_value = "flex")]
    device: DeviceName,
    /// Sums to time.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
}

fn main() -> Result<()> {
    let Cli { preset, patch_size, numbers, device, repeats } = Cli::parse();
    let mut recipe = Recipe::default();
    recipe.model.preset = preset;
    recipe.model.patch_size = patch_size;
    let numbers = numbers.map_or_else(|| recipe.mae_config().map(|config| config.num_params()), Ok)?;
    let ranks = launched_ranks()?;
    let device = device.of_local_rank(ranks.local_rank()).open()?;
    let ranks = ranks_on(&ranks, &device)?;
    let bucket = bucket_bytes(ranks.size()) / size_of::<f32>();
    let mut seconds = Vec::new();
    for _ in 0..repeats {
        let buckets: Vec<_> = (0..numbers)
            .step_by(bucket)
            .map(|first| Tensor::<1>::ones([bucket.min(numbers - first)], &device))
            .collect();
        ranks.barrier()?;
        let began = Instant::now();
        let sent = buckets.into_iter().map(|bucket| ranks.mean(vec![bucket]));
        let sent = sent.collect::<Result<Vec<_>, _>>()?;
        let means = sent.into_iter().map(|pending| pending()).collect::<Result<Vec<_>, _>>()?;
        device.sync()?;
        ranks.barrier()?;
        seconds.push(began.elapsed().as_secs_f64());
        let last = means.into_iter().flatten().last().context("there are no numbers")?;
        ensure!(last.max().into_scalar::<f32>() == 1.0, "the mean of ones is another number");
    }
    if ranks.is_main() {
        println!("{}", json!({ "ranks": ranks.size(), "numbers": numbers, "seconds": seconds }));
    }
    Ok(())
}
