//! Pre-training, as `cargo xtask train` does it.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use mae_trainer::Collective;
use mae_trainer::cli::{PretrainArgs, TrainArgs};

pub const EXAMPLES: &str = "\
Examples:
  mae pretrain
  mae pretrain --data photos --preset tiny --epochs 200
  mae pretrain --recipe digits --data digits/train --val digits/test
  mae pretrain --resume runs/photos-tiny-1

Without options: on built-in shapes, for a few minutes on two cores.";

pub fn run(args: &TrainArgs<PretrainArgs>, ranks: &Arc<dyn Collective>) -> Result<ExitCode> {
    Ok(args.train_and_tell(ranks)?)
}
