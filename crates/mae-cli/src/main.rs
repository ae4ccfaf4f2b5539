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

/// Masked autoencoders: pre-training, fine-tuning, probes, segmentation, features, pictures, and weights to and from
/// Python.
///
/// Exit status: 0 success, also if the reader of the output has stopped; 1 error; 2 wrong options; 130 interrupted, and
/// the job can be continued.
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
    /// Pre-train a masked autoencoder on images.
    #[command(visible_alias = "train", after_help = pretrain::EXAMPLES)]
    Pretrain(TrainArgs<PretrainArgs>),
    /// Fine-tune an encoder to classify images: all of it, or its last blocks.
    #[command(after_help = classify::FINETUNE_EXAMPLES)]
    Finetune(TrainArgs<classify::FinetuneArgs>),
    /// Fine-tune an encoder to segment images, or predict label maps.
    #[command(after_help = segment::EXAMPLES)]
    Segment(Box<segment::Args>),
    /// Train a linear probe: a linear classifier on an encoder's frozen features.
    #[command(after_help = classify::PROBE_EXAMPLES)]
    Probe(TrainArgs<classify::ProbeArgs>),
    /// Describe a weight file: a run's, an official checkpoint, timm's or transformers'.
    #[command(after_help = inspect::EXAMPLES)]
    Inspect(inspect::Args),
    /// Convert weights to the names and files of the official code, timm or transformers, or back.
    #[command(after_help = convert::EXAMPLES)]
    Convert(convert::Args),
    /// Write the features of images to a .npy, .safetensors or .parquet file.
    #[command(after_help = embed::EXAMPLES)]
    Embed(embed::Args),
    /// Evaluate an encoder by kNN classification on its features.
    #[command(after_help = knn::EXAMPLES)]
    Knn(knn::Args),
    /// Predict the classes of images, with probabilities, to a .csv, .jsonl or .parquet file or line by line.
    #[command(after_help = predict::EXAMPLES)]
    Predict(predict::Args),
    /// Draw a model's reconstructions of masked images.
    #[command(after_help = reconstruct::EXAMPLES)]
    Reconstruct(reconstruct::Args),
    /// Draw an encoder's attention maps: attention rollout, or the heads of its last block.
    #[command(after_help = attention::EXAMPLES)]
    Attention(attention::Args),
    /// Examine a data set: classes, sizes, duplicates, unreadable files.
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(doctor::Args),
    /// List runs with their images, progress, loss and accuracies.
    #[command(after_help = runs::list::EXAMPLES)]
    Runs(runs::list::Args),
    /// Draw the curves of several runs on one page, with their results and the settings in which they differ.
    #[command(after_help = runs::compare::EXAMPLES)]
    Compare(runs::compare::Args),
    /// Print a shell's completion script for this command.
    #[command(after_help = "Example:\n  mae completions bash > /etc/bash_completion.d/mae")]
    Completions {
        /// Shell to print it for.
        shell: Shell,
    },
    /// Write manual pages for this command and its verbs.
    #[command(after_help = "Example:\n  mae man ~/.local/share/man/man1")]
    Man {
        /// Folder for mae.1, mae-pretrain.1 and so on.
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
