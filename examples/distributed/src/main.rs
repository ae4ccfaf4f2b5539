//! Masked pre-training in many processes, each on its part of the data.
#![warn(clippy::print_stderr)]

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use mae_trainer::cli::{PretrainArgs, TrainArgs, with_ranks};

/// Pre-train a masked autoencoder in all processes of an MPI job and draw its reconstructions.
///
/// Without options: on built-in shapes, for a few minutes on two cores. With --data DIR: on a folder of images.
/// --batch-size is per rank; the learning rate is scaled by the images of all ranks.
#[derive(Parser)]
#[command(name = "distributed", version, after_help = mae_trainer::cli::EXAMPLES)]
struct Cli {
    #[command(flatten)]
    train: TrainArgs<PretrainArgs>,
}

// Each step allocates and frees large buffers; the system's allocator would return their pages to the OS each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = mae_trainer::cli::parse::<Cli>().train;
    // Runs with the launcher's ranks; an error in one rank ends all.
    with_ranks(|ranks| args.train_and_tell(ranks).map_err(Box::<dyn Error>::from))
}
