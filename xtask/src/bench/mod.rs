//! `cargo xtask bench`: measurements, in turns on the same machine.

mod gpu;
mod load;
mod loops;
mod median;
mod ours;
mod overlap;
mod ranks;
mod scaling;
mod step;
mod transfer;

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;
use transfer::{digits, segment};

/// Benchmarks.
#[derive(Subcommand)]
pub enum Bench {
    /// Measure the gain from pre-training on the digits: kNN, a probe, full and partial fine-tuning, and training from
    /// scratch.
    #[command(after_help = "\
Example:
  python scripts/make_data.py --out data
  cargo xtask bench digits data/digits")]
    Digits(digits::Options),
    /// Measure the gain from pre-training for segmentation: a linear head and UPerNet on 16, 64 and all labelled
    /// images, and UPerNet from scratch.
    #[command(after_help = "\
Example:
  python scripts/make_data.py --out data
  cargo xtask bench segment data/digits-on-photos")]
    Segment(segment::Options),
    /// Measure everything on a GPU, next to PyTorch on the same GPU: parity, throughput, memory, loading.
    #[command(after_help = "\
Examples:
  cargo xtask bench gpu --data photos --write docs/gpu-table.md
  cargo xtask bench gpu --pack carried
  xtask bench gpu --programs carried --python python3 --data photos")]
    Gpu(Box<gpu::Options>),
    /// Measure image loading on one core, next to torchvision and DALI.
    #[command(after_help = "\
Examples:
  cargo xtask bench load
  cargo xtask bench load path/to/jpegs --rounds 7
  cargo xtask bench load --dali --write docs/bench-load.md")]
    Load(load::Options),
    /// Measure the speed-up of encoding only visible patches over encoding all tokens, as the paper claims it.
    Encoder {
        /// Runs of each.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Images per batch.
        #[arg(long, default_value_t = 4)]
        batch: usize,
    },
    /// Measure the throughput of an epoch over a folder of images, next to that of the step alone.
    Epoch {
        /// Folder of images; if there are few, they are repeated.
        data: PathBuf,
        /// Runs of each.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
    },
    /// Measure the operations of a step, in GFLOP/s and GB/s.
    Operations {
        /// Model: base, lightly, tiny, large, digits
        #[arg(default_value = "tiny")]
        shape: String,
        /// Images per batch.
        #[arg(long, default_value_t = 16)]
        batch: usize,
        /// Timings of each operation.
        #[arg(long, default_value_t = 10)]
        steps: usize,
    },
    /// Measure the cost of a token, for 49 to 1024 tokens and ViT-Ti to ViT-L.
    Sizes,
    /// Measure the managed training loop, next to the explicit one.
    Loops {
        /// Runs of each.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Updates per run.
        #[arg(long, default_value_t = 200)]
        steps: u64,
    },
    /// Measure two processes, next to one, and the cost of summing their gradients.
    Ranks {
        /// Folder of images.
        data: PathBuf,
        /// Runs of each.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Updates per run; the first two are warm-up.
        #[arg(long, default_value_t = 8)]
        steps: usize,
    },
    /// Measure how much of the gradients' all-reduce overlaps with the backward pass over slow links (needs root).
    Overlap {
        /// Folder of images.
        data: PathBuf,
        /// Runs of each, interleaved.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
    },
    /// Fit a model of step time against ranks to all-reduces between network namespaces (needs root), and predict
    /// larger numbers of ranks.
    Scaling(scaling::Options),
    /// Measure training steps on the CPU, next to PyTorch's: timm, transformers, lightly.
    #[command(after_help = "\
Examples:
  cargo xtask bench step
  cargo xtask bench step --shape tiny --shape lightly --rounds 7
  cargo xtask bench step --compile --write docs/bench-step.md")]
    Step(step::Options),
}

impl Bench {
    /// Measures, and prints.
    pub fn run(self) -> Result<()> {
        match self {
            Self::Digits(options) => digits::digits(&options),
            Self::Segment(options) => segment::segment(&options),
            Self::Gpu(options) => gpu::gpu(&options),
            Self::Load(options) => load::load(&options),
            Self::Encoder { rounds, batch } => ours::encoder(rounds, batch),
            Self::Epoch { data, rounds } => ours::epoch(&data, rounds),
            Self::Operations { shape, batch, steps } => ours::operations(&shape, batch, steps),
            Self::Sizes => ours::sizes(),
            Self::Loops { rounds, steps } => loops::loops(rounds, steps),
            Self::Ranks { data, rounds, steps } => ranks::ranks(&data, rounds, steps),
            Self::Overlap { data, rounds } => overlap::overlap(&data, rounds),
            Self::Scaling(options) => scaling::scaling(&options),
            Self::Step(options) => step::step(&options),
        }
    }
}
