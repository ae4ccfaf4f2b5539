//! Development commands of the workspace.
#![allow(clippy::print_stdout, reason = "a command line talks to people")]

mod check;

use std::env;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

/// Development commands of the workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the training program in release and run it; everything after `--` is passed on.
    ///
    /// Without arguments it trains on built-in shapes for a few minutes on two cores.
    #[command(after_help = "\
Examples:
  cargo xtask train
  cargo xtask train -- --data ~/photos --preset tiny
  cargo xtask train -- --help
  cargo xtask train --features vulkan -- --device vulkan")]
    Train {
        /// Backends to compile in beside flex: tch, wgpu, vulkan, cuda, metal, rocm.
        #[arg(long, value_name = "FEATURES", default_value = "")]
        features: String,
        /// Options of the training program.
        #[arg(last = true)]
        args: Vec<String>,
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

fn main() -> Result<ExitCode> {
    match Cli::parse().task {
        Task::Train { features, args } => {
            let status = cargo()
                .args(["run", "--quiet", "--release", "--package", "plain", "--features", &features, "--"])
                .args(args)
                .status()
                .context("cannot start cargo")?;
            Ok(exit_code(status))
        }
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
