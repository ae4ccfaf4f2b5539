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

/// What can be measured.
#[derive(Subcommand)]
pub enum Bench {
    /// What pre-training is worth on the digits: neighbours, a probe, fine-tuning of all or some blocks, from scratch.
    #[command(after_help = "\
Example:
  python scripts/make_data.py --out data
  cargo xtask bench digits data/digits")]
    Digits(digits::Options),
    /// What pre-training is worth for segmentation: 16, 64 and all labelled images, with a linear head and UPerNet, from scratch.
    #[command(after_help = "\
Example:
  python scripts/make_data.py --out data
  cargo xtask bench segment data/digits-on-photos")]
    Segment(segment::Options),
    /// Everything that is to be known of a graphics card, beside PyTorch on the same one: parity, rates, memory, loading.
    #[command(after_help = "\
Examples:
  cargo xtask bench gpu --data photos --write docs/gpu-table.md
  cargo xtask bench gpu --pack carried
  xtask bench gpu --programs carried --python python3 --data photos")]
    Gpu(Box<gpu::Options>),
    /// Loading images on one core beside torchvision's and DALI's.
    #[command(after_help = "\
Examples:
  cargo xtask bench load
  cargo xtask bench load path/to/jpegs --rounds 7
  cargo xtask bench load --dali --write docs/bench-load.md")]
    Load(load::Options),
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
    Scaling(scaling::Options),
    /// Training steps on the CPU beside PyTorch's: timm, transformers, lightly.
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
