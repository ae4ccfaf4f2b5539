//! Masked pre-training in many processes, each with its part of the data.
#![warn(clippy::print_stderr)]

use clap::Parser;
use mae_trainer::cli::{PretrainArgs, TrainArgs};
use mae_trainer::{launched_ranks, output};
use std::process::ExitCode;

/// Pre-trains a masked autoencoder in all processes of an MPI job and draws what it has learnt.
///
/// Without options, on built-in shapes: a few minutes on two cores. With --data DIR, on a folder of images.
/// --batch-size is each rank's; the learning rate follows from the images of all.
#[derive(Parser)]
#[command(name = "distributed", version, after_help = mae_trainer::cli::EXAMPLES)]
struct Cli {
    #[command(flatten)]
    train: TrainArgs<PretrainArgs>,
}

// The step allocates and frees large buffers all the time; the system's allocator gives their pages back each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = mae_trainer::cli::parse::<Cli>().train;
    let ranks = match launched_ranks() {
        Ok(ranks) => ranks,
        Err(error) => return output::fail(&error),
    };
    match args.train_and_tell(&ranks) {
        Ok(status) => status,
        Err(error) => {
            let error = mae_trainer::chain(&error);
            output::warn(format_args!("error: rank {}: {error}\n", ranks.rank()));
            // The others would wait for this one.
            ranks.abort()
        }
    }
}
