//! Development commands of the workspace.
#![allow(clippy::print_stdout, reason = "a command line talks to people")]

mod bench;
mod check;

use std::env;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};

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
  cargo xtask train -- --data ~/photos --preset tiny
  cargo xtask train -- --help
  cargo xtask train --features vulkan -- --device vulkan")]
    Train {
        /// Who runs the loop.
        #[arg(value_enum, default_value_t = Program::Managed)]
        program: Program,
        /// Backends to compile in beside flex: tch, wgpu, vulkan, cuda, metal, rocm.
        #[arg(long, value_name = "FEATURES", default_value = "")]
        features: String,
        /// Options of the training program.
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Measure the managed loop against the explicit one, in turns, and print medians and their ratio.
    Bench {
        /// Runs of each.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Updates of a run.
        #[arg(long, default_value_t = 200)]
        steps: u64,
    },
    /// Format, lint, document, audit and test, and check the house rules.
    Check {
        /// The house rules alone, which takes a second.
        #[arg(long)]
        rules: bool,
        /// Everything but the tests.
        #[arg(long)]
        without_tests: bool,
    },
}

/// The programs in examples/ that train.
#[derive(Clone, Copy, ValueEnum)]
enum Program {
    /// burn-train.
    Managed,
    /// An explicit loop.
    Plain,
}

impl Program {
    /// The package.
    fn name(self) -> &'static str {
        match self {
            Self::Managed => "managed",
            Self::Plain => "plain",
        }
    }
}

fn main() -> Result<ExitCode> {
    match Cli::parse().task {
        Task::Train { program, features, args } => {
            let status = cargo()
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
                .status()
                .context("cannot start cargo")?;
            Ok(exit_code(status))
        }
        Task::Bench { rounds, steps } => bench::loops(rounds, steps).map(|()| ExitCode::SUCCESS),
        Task::Check { rules, without_tests } => check::check(rules, !without_tests),
    }
}

/// The cargo that runs this program.
fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn exit_code(status: std::process::ExitStatus) -> ExitCode {
    ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
