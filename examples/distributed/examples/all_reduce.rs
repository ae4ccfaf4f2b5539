//! Times what ranks do together in a step: adding up gradients.
#![allow(clippy::print_stdout, reason = "a command line talks to people")]

use std::time::Instant;

use anyhow::Result;
use clap::Parser;
use mae_model::Preset;
use mae_trainer::{Recipe, launched_ranks};
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
    /// Sums to time.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
}

fn main() -> Result<()> {
    let Cli { preset, patch_size, numbers, repeats } = Cli::parse();
    let mut recipe = Recipe::default();
    recipe.model.preset = preset;
    recipe.model.patch_size = patch_size;
    let numbers = numbers.map_or_else(|| recipe.mae_config().map(|config| config.num_params()), Ok)?;
    let ranks = launched_ranks()?;
    let mut values = vec![1.0; numbers];
    let mut seconds = Vec::new();
    for _ in 0..repeats {
        ranks.barrier();
        let began = Instant::now();
        ranks.sum(&mut values);
        ranks.barrier();
        seconds.push(began.elapsed().as_secs_f64());
    }
    if ranks.is_main() {
        println!("{}", json!({ "ranks": ranks.size(), "numbers": numbers, "seconds": seconds }));
    }
    Ok(())
}
