//! `mae`: masked autoencoders from a shell.
#![warn(clippy::print_stderr)]

mod attention;
mod classify;
mod convert;
mod doctor;
mod embed;
mod encode;
mod images;
mod inspect;
mod knn;
mod painted;
mod parquet_file;
mod pictures;
mod pretrain;
mod reconstruct;
mod table;
mod weights;

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use mae_trainer::output;

/// Masked autoencoders: pre-training, probes and fine-tuning, features and pictures of images, weights to and from Python.
///
/// Exit status: 0 where all went well or the reader of the output has stopped, 1 for an error, 2 for a command line that
/// cannot be understood, 130 for an interrupted job that can be continued.
#[derive(Parser)]
#[command(name = "mae", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Pre-trains a masked autoencoder on a folder of images.
    #[command(after_help = pretrain::EXAMPLES)]
    Pretrain(mae_trainer::cli::TrainArgs),
    /// Trains an encoder further to tell classes apart: all of it, or its last blocks.
    #[command(after_help = classify::FINETUNE_EXAMPLES)]
    Finetune(classify::FinetuneArgs),
    /// Measures an encoder by a linear classifier that is trained on its features.
    #[command(after_help = classify::PROBE_EXAMPLES)]
    Probe(classify::ProbeArgs),
    /// Says what a file of weights is: a run's, an official checkpoint, timm's, transformers'.
    #[command(after_help = inspect::EXAMPLES)]
    Inspect(inspect::Args),
    /// Writes weights in another scheme, for the official code, timm or transformers, or for this program.
    #[command(after_help = convert::EXAMPLES)]
    Convert(convert::Args),
    /// Writes the features of images into a .npy, .safetensors or .parquet file.
    #[command(after_help = embed::EXAMPLES)]
    Embed(embed::Args),
    /// Measures an encoder by the nearest neighbours of its features.
    #[command(after_help = knn::EXAMPLES)]
    Knn(knn::Args),
    /// Draws what a model predicts of the hidden parts of images.
    #[command(after_help = reconstruct::EXAMPLES)]
    Reconstruct(reconstruct::Args),
    /// Draws where an encoder looks: attention rollout, or the heads of its last block.
    #[command(after_help = attention::EXAMPLES)]
    Attention(attention::Args),
    /// Examines a folder of images: classes, sizes, duplicates, unreadable files.
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(doctor::Args),
    /// Prints a script that lets a shell complete this command's options.
    #[command(after_help = "Example:\n  mae completions bash > /etc/bash_completion.d/mae")]
    Completions {
        /// The shell.
        shell: Shell,
    },
}

// As in the programs that train: the system's allocator gives large buffers back each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(mae_trainer::cli::parse::<Cli>().verb) {
        Ok(status) => status,
        Err(error) => output::fail(error.as_ref()),
    }
}

fn run(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Pretrain(args) => return pretrain::run(&args),
        Verb::Finetune(args) => return classify::finetune(&args),
        Verb::Probe(args) => return classify::probe(&args),
        Verb::Inspect(args) => inspect::run(&args)?,
        Verb::Convert(args) => convert::run(&args)?,
        Verb::Embed(args) => return embed::run(&args),
        Verb::Knn(args) => return knn::run(&args),
        Verb::Doctor(args) => doctor::run(&args)?,
        Verb::Reconstruct(args) => reconstruct::run(&args)?,
        Verb::Attention(args) => attention::run(&args)?,
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "mae", &mut script);
            output::print(String::from_utf8_lossy(&script))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
