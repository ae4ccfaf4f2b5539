//! `mae`: masked autoencoders from a shell.
#![warn(clippy::print_stderr)]

#[cfg(test)]
mod documented;
mod encode;
mod images;
mod manual;
mod painted;
mod pass;
mod pictures;
mod progress;
mod table;
mod verbs;
mod weights;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use mae_trainer::cli::{PretrainArgs, TrainArgs, output, with_ranks};

use verbs::{
    attention, classify, convert, doctor, embed, inspect, knn, predict, pretrain, reconstruct, runs, segment,
};

/// Masked autoencoders: pre-training, probes and fine-tuning, features and pictures of images, weights to and from Python.
///
/// Exit status: 0 where all went well or the reader of the output has stopped, 1 for an error, 2 for a command line that
/// cannot be understood, 130 for an interrupted job that can be continued.
#[derive(Parser)]
#[command(name = "mae", version, max_term_width = 100)]
struct Cli {
    /// Print no progress lines.
    #[arg(long, short, global = true)]
    quiet: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Pre-trains a masked autoencoder on a folder of images.
    #[command(visible_alias = "train", after_help = pretrain::EXAMPLES)]
    Pretrain(TrainArgs<PretrainArgs>),
    /// Trains an encoder further to tell classes apart: all of it, or its last blocks.
    #[command(after_help = classify::FINETUNE_EXAMPLES)]
    Finetune(TrainArgs<classify::FinetuneArgs>),
    /// Trains an encoder further to segment images into classes, or predicts label maps.
    #[command(after_help = segment::EXAMPLES)]
    Segment(Box<segment::Args>),
    /// Measures an encoder by a linear classifier that is trained on its features.
    #[command(after_help = classify::PROBE_EXAMPLES)]
    Probe(TrainArgs<classify::ProbeArgs>),
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
    /// Predicts the classes of images and their probabilities, into a .csv, .jsonl or .parquet file or line by line.
    #[command(after_help = predict::EXAMPLES)]
    Predict(predict::Args),
    /// Draws what a model predicts of the hidden parts of images.
    #[command(after_help = reconstruct::EXAMPLES)]
    Reconstruct(reconstruct::Args),
    /// Draws where an encoder looks: attention rollout, or the heads of its last block.
    #[command(after_help = attention::EXAMPLES)]
    Attention(attention::Args),
    /// Examines a folder of images: classes, sizes, duplicates, unreadable files.
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(doctor::Args),
    /// Lists runs with their images, progress, loss and accuracies.
    #[command(after_help = runs::list::EXAMPLES)]
    Runs(runs::list::Args),
    /// Draws the curves of several runs on one page, with their results and the settings in which they differ.
    #[command(after_help = runs::compare::EXAMPLES)]
    Compare(runs::compare::Args),
    /// Prints a script that lets a shell complete this command's options.
    #[command(after_help = "Example:\n  mae completions bash > /etc/bash_completion.d/mae")]
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Writes manual pages of this command and its verbs.
    #[command(after_help = "Example:\n  mae man ~/.local/share/man/man1")]
    Man {
        /// The folder for mae.1, mae-pretrain.1 and so on.
        folder: PathBuf,
    },
}

// As in the training programs: the system's allocator returns large buffers to the system each time they are freed.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let Cli { quiet, verb } = mae_trainer::cli::parse();
    if quiet {
        progress::be_quiet();
    }
    match verb {
        // A process that trains may be one of several ranks.
        Verb::Pretrain(args) => with_ranks(|ranks| pretrain::run(&args, ranks)),
        Verb::Finetune(args) => with_ranks(|ranks| classify::finetune(&args, ranks)),
        Verb::Probe(args) => with_ranks(|ranks| classify::probe(&args, ranks)),
        Verb::Segment(args) if args.trains() => with_ranks(|ranks| segment::train(&args, ranks)),
        Verb::Segment(args) => ended(segment::predict(&args)),
        Verb::Inspect(args) => done(inspect::run(&args)),
        Verb::Convert(args) => done(convert::run(&args)),
        Verb::Embed(args) => ended(embed::run(&args)),
        Verb::Knn(args) => ended(knn::run(&args)),
        Verb::Predict(args) => ended(predict::run(&args)),
        Verb::Runs(args) => ended(runs::list::run(&args)),
        Verb::Compare(args) => done(runs::compare::run(&args)),
        Verb::Doctor(args) => done(doctor::run(&args)),
        Verb::Reconstruct(args) => done(reconstruct::run(&args)),
        Verb::Attention(args) => done(attention::run(&args)),
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "mae", &mut script);
            done(output::print(String::from_utf8_lossy(&script)).map_err(Into::into))
        }
        Verb::Man { folder } => done(manual::write(Cli::command(), &folder)),
    }
}

fn ended(result: Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| output::fail(error.as_ref()))
}

fn done(result: Result<()>) -> ExitCode {
    ended(result.map(|()| ExitCode::SUCCESS))
}
