//! Development commands of the workspace.

// In place of the standard ones, which panic where nobody reads on.
macro_rules! println {
    ($($text:tt)*) => { $crate::signals::print(format_args!("{}\n", format_args!($($text)*))) };
}
macro_rules! print {
    ($($text:tt)*) => { $crate::signals::print(format_args!($($text)*)) };
}

mod bench_digits;
mod bench_gpu;
mod bench_load;
mod bench_loops;
mod bench_ours;
mod bench_overlap;
mod bench_ranks;
mod bench_scaling;
mod bench_step;
mod check;
mod circles;
mod distributed;
mod fuzz;
mod programs;
mod signals;
mod soak;

use std::env;
use std::path::PathBuf;
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
  cargo xtask train distributed --ranks 2
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
        /// Processes on this machine, of the distributed program.
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
    /// Measure, in turns on the same machine, and print medians and ratios.
    #[command(subcommand)]
    Bench(Bench),
    /// Run each fuzz target of everything that parses files, from the kept corpus on; print a table.
    #[command(after_help = "\
Examples:
  cargo xtask fuzz
  cargo xtask fuzz --seconds 5 --without-models
  cargo xtask fuzz --runs 1000000 jpeg tar")]
    Fuzz(fuzz::Options),
    /// Disturb training, embedding and packing at random moments; each must end in the bits of an undisturbed run.
    #[command(after_help = "\
Examples:
  cargo xtask soak --minutes 60
  cargo xtask soak --minutes 5 --seed 7 --programs target/debug")]
    Soak(soak::Options),
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

#[derive(Subcommand)]
enum Bench {
    /// What pre-training is worth on the digits: neighbours, a probe, fine-tuning of all or some blocks, from scratch.
    #[command(after_help = "\
Example:
  python scripts/make_data.py --out data
  cargo xtask bench digits data/digits")]
    Digits(bench_digits::Options),
    /// Everything that is to be known of a graphics card, beside PyTorch on the same one: parity, rates, memory, loading.
    #[command(after_help = "\
Examples:
  cargo xtask bench gpu --data photos --write docs/gpu-table.md
  cargo xtask bench gpu --pack carried
  xtask bench gpu --programs carried --python python3 --data photos")]
    Gpu(Box<bench_gpu::Options>),
    /// Loading images on one core beside torchvision's and DALI's.
    #[command(after_help = "\
Examples:
  cargo xtask bench load
  cargo xtask bench load path/to/jpegs --rounds 7
  cargo xtask bench load --dali --write docs/bench-load.md")]
    Load(bench_load::Options),
    /// The encoder on visible patches beside one that sees every token: the paper's own claim.
    Encoder {
        /// Runs of each.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Images in a batch.
        #[arg(long, default_value_t = 4)]
        batch: usize,
    },
    /// An epoch over a folder of images beside the step's own rate.
    Epoch {
        /// The folder; a few images are repeated.
        data: PathBuf,
        /// Runs of each.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
    },
    /// A step by operation, with GFLOP/s and GB/s.
    Operations {
        /// The model: base, lightly, tiny, large, digits
        #[arg(default_value = "tiny")]
        shape: String,
        /// Images in a batch.
        #[arg(long, default_value_t = 16)]
        batch: usize,
        /// How often each operation is timed.
        #[arg(long, default_value_t = 10)]
        steps: usize,
    },
    /// What a token costs, from 49 to 1024 of them and from ViT-Ti to ViT-L.
    Sizes,
    /// The managed loop beside the explicit one.
    Loops {
        /// Runs of each.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Updates of a run.
        #[arg(long, default_value_t = 200)]
        steps: u64,
    },
    /// Two processes beside one, and what adding up their gradients costs.
    Ranks {
        /// The folder of images.
        data: PathBuf,
        /// Runs of each.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Updates of a run; the first two are warm-up.
        #[arg(long, default_value_t = 8)]
        steps: usize,
    },
    /// How much of the all-reduce of gradients overlaps with the backward pass over slow links (needs root).
    Overlap {
        /// Folder of images.
        data: PathBuf,
        /// Runs of each, in turns.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
    },
    /// A model of step time against ranks, fitted to sums over links between network namespaces (needs root), and what it
    /// predicts for more.
    Scaling(bench_scaling::Options),
    /// Training steps on the CPU beside PyTorch's: timm, transformers, lightly.
    #[command(after_help = "\
Examples:
  cargo xtask bench step
  cargo xtask bench step --shape tiny --shape lightly --rounds 7
  cargo xtask bench step --compile --write docs/bench-step.md")]
    Step(bench_step::Options),
}

/// The programs in examples/ that train.
#[derive(Clone, Copy, ValueEnum)]
enum Program {
    /// burn-train.
    Managed,
    /// An explicit loop.
    Plain,
    /// burn-train in several processes, by MPI.
    Distributed,
}

impl Program {
    /// The package.
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
            let run = ["run", "--quiet", "--release", "--package=mae-data", "--example=pack", "--"];
            let status = cargo().args(run).args(args).status().context("cannot start cargo")?;
            Ok(signals::exit_code(status))
        }
        Task::Bench(Bench::Digits(options)) => bench_digits::digits(&options).map(|()| ExitCode::SUCCESS),
        Task::Bench(Bench::Gpu(options)) => bench_gpu::gpu(&options).map(|()| ExitCode::SUCCESS),
        Task::Bench(Bench::Load(options)) => bench_load::load(&options).map(|()| ExitCode::SUCCESS),
        Task::Bench(Bench::Loops { rounds, steps }) => {
            bench_loops::loops(rounds, steps).map(|()| ExitCode::SUCCESS)
        }
        Task::Bench(Bench::Encoder { rounds, batch }) => {
            bench_ours::encoder(rounds, batch).map(|()| ExitCode::SUCCESS)
        }
        Task::Bench(Bench::Epoch { data, rounds }) => {
            bench_ours::epoch(&data, rounds).map(|()| ExitCode::SUCCESS)
        }
        Task::Bench(Bench::Operations { shape, batch, steps }) => {
            bench_ours::operations(&shape, batch, steps).map(|()| ExitCode::SUCCESS)
        }
        Task::Bench(Bench::Ranks { data, rounds, steps }) => {
            bench_ranks::ranks(&data, rounds, steps).map(|()| ExitCode::SUCCESS)
        }
        Task::Bench(Bench::Overlap { data, rounds }) => {
            bench_overlap::overlap(&data, rounds).map(|()| ExitCode::SUCCESS)
        }
        Task::Bench(Bench::Scaling(options)) => bench_scaling::scaling(&options).map(|()| ExitCode::SUCCESS),
        Task::Bench(Bench::Sizes) => bench_ours::sizes().map(|()| ExitCode::SUCCESS),
        Task::Bench(Bench::Step(options)) => bench_step::step(&options).map(|()| ExitCode::SUCCESS),
        Task::Fuzz(options) => fuzz::fuzz(&options).map(|()| ExitCode::SUCCESS),
        Task::Soak(options) => soak::soak(&options).map(|()| ExitCode::SUCCESS),
        Task::Check { rules, without_tests } => check::check(rules, !without_tests),
    }
}

/// The cargo that runs this program.
fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The middle of the values, which are sorted on the way.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    }
}
