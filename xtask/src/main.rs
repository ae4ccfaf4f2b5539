//! Development commands of the workspace.

// These replace the standard macros, which panic if the reader of the output has stopped.
macro_rules! println {
    ($($text:tt)*) => { $crate::signals::print(format_args!("{}\n", format_args!($($text)*))) };
}
macro_rules! print {
    ($($text:tt)*) => { $crate::signals::print(format_args!($($text)*)) };
}

mod bench;
mod check;
mod circles;
mod dist;
mod distributed;
mod docs;
#[cfg(test)]
mod documented;
mod fuzz;
mod programs;
mod signals;
mod soak;

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};

use bench::Bench;
use programs::cargo;

/// Development commands of the workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build a training program in release and run it; everything after `--` is passed on.
    ///
    /// Without arguments it trains on built-in shapes for a few minutes on two cores.
    #[command(after_help = "\
Examples:
  cargo xtask train
  cargo xtask train plain
  cargo xtask train distributed --ranks 2
  cargo xtask train -- --data ~/photos --preset tiny
  cargo xtask train -- --help
  cargo xtask train --features vulkan -- --device vulkan")]
    Train {
        /// Program that runs the training loop.
        #[arg(value_enum, default_value_t = Program::Managed)]
        program: Program,
        /// Backends to compile in besides flex: tch, wgpu, vulkan, cuda, metal, rocm.
        #[arg(long, value_name = "FEATURES", default_value = "")]
        features: String,
        /// Processes of the distributed program on this machine.
        #[arg(long, value_name = "N", default_value_t = 2)]
        ranks: usize,
        /// Options of the training program.
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Pack a folder of images, each resized once, into tar files that load faster.
    #[command(after_help = "\
Examples:
  cargo xtask pack -- ~/photos packed
  cargo xtask pack -- ~/photos packed --short-side 256 --store ppm
  cargo xtask pack -- --help
  cargo xtask train -- --data packed")]
    Pack {
        /// Options of the packing program.
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Run a benchmark: measure in interleaved rounds on one machine, and print medians and ratios.
    #[command(subcommand)]
    Bench(Bench),
    /// Fuzz every file parser, starting from the kept corpus, and print a table.
    #[command(after_help = "\
Examples:
  cargo xtask fuzz
  cargo xtask fuzz --seconds 5 --without-models
  cargo xtask fuzz --runs 1000000 jpeg tar")]
    Fuzz(fuzz::Options),
    /// Disturb training, embedding and packing at random moments; each result must equal an undisturbed run's bit for
    /// bit.
    #[command(after_help = "\
Examples:
  cargo xtask soak --minutes 60
  cargo xtask soak --minutes 5 --seed 7 --programs target/debug")]
    Soak(soak::Options),
    /// Package the command `mae` for Linux x86-64: a tar file, a Debian package and a wheel.
    #[command(after_help = "\
Examples:
  cargo xtask dist
  cargo xtask dist --profile quick")]
    Dist(dist::Options),
    /// Build the documentation: the book with mdBook (installed if missing) and the API with rustdoc.
    Docs {
        /// Build only the book.
        #[arg(long)]
        book: bool,
    },
    /// Format, lint, document, audit and test, and check the house rules.
    Check {
        /// Check only the house rules, which takes a second.
        #[arg(long)]
        rules: bool,
        /// Run everything but the tests.
        #[arg(long)]
        without_tests: bool,
    },
}

/// The programs in examples/ that train.
#[derive(Clone, Copy, ValueEnum)]
enum Program {
    /// The loop of burn-train.
    Managed,
    /// An explicit loop.
    Plain,
    /// Several processes, with MPI.
    Distributed,
}

impl Program {
    /// The name of the package.
    fn name(self) -> &'static str {
        match self {
            Self::Managed => "managed",
            Self::Plain => "plain",
            Self::Distributed => "distributed",
        }
    }
}

fn main() -> Result<ExitCode> {
    match Cli::parse().task {
        Task::Train { program: Program::Distributed, features, ranks, args } => {
            distributed::train(ranks, &features, &args)
        }
        Task::Train { program, features, args, .. } => {
            let signals = signals::Signals::listen()?;
            let child = cargo()
                .args([
                    "run",
                    "--quiet",
                    "--release",
                    "--package",
                    program.name(),
                    "--features",
                    &features,
                    "--",
                ])
                .args(args)
                .spawn()
                .context("cannot start cargo")?;
            signals.pass_on(child)
        }
        Task::Pack { args } => {
            let program = programs::build_example_of_data("pack")?;
            let status =
                Command::new(program).args(args).status().context("cannot start the packing program")?;
            Ok(signals::exit_code(status))
        }
        Task::Bench(bench) => bench.run().map(|()| ExitCode::SUCCESS),
        Task::Fuzz(options) => fuzz::fuzz(&options).map(|()| ExitCode::SUCCESS),
        Task::Soak(options) => soak::soak(&options).map(|()| ExitCode::SUCCESS),
        Task::Dist(options) => dist::dist(&options).map(|()| ExitCode::SUCCESS),
        Task::Docs { book } => docs::docs(book).map(|()| ExitCode::SUCCESS),
        Task::Check { rules, without_tests } => check::check(rules, !without_tests),
    }
}
