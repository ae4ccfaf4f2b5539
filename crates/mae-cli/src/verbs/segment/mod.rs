//! Semantic segmentation: training, and prediction of label maps.

mod predict;
mod train;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use clap::Subcommand;
use mae_trainer::Collective;
use mae_trainer::cli::TrainArgs;

pub const EXAMPLES: &str = "\
Examples:
  mae segment runs/photos-tiny-1 street
  mae segment runs/photos-tiny-1 images masks --val-share 0.2 --head linear
  mae segment mae_pretrain_vit_base.pth ADEChallengeData2016 --recipe uper-base
  mae segment --resume runs/street-segment-1 --epochs 200
  mae segment predict runs/street-segment-1 photos predicted

A label map is a PNG or TIFF file with the name of its image. Its pixels are classes: grey levels, palette indices, or colours
that --classes names. Without --classes, the values that occur are the classes, and 255 is ignored.
`mae doctor IMAGES --masks MASKS` examines both folders.";

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    train: TrainArgs<train::SegmentArgs>,
}

#[derive(Subcommand)]
enum Verb {
    /// Predict label maps of images of any size with a trained model, and draw overlays.
    #[command(after_help = predict::EXAMPLES)]
    Predict(predict::Args),
}

impl Args {
    /// Whether the command trains, in which case it may be one of several ranks.
    pub fn trains(&self) -> bool {
        self.verb.is_none()
    }
}

/// Predicts label maps.
pub fn predict(args: &Args) -> Result<ExitCode> {
    match &args.verb {
        Some(Verb::Predict(args)) => predict::run(args),
        None => anyhow::bail!("mae segment trains unless `predict` follows"),
    }
}

/// Trains a segmenter.
pub fn train(args: &Args, ranks: &Arc<dyn Collective>) -> Result<ExitCode> {
    train::run(&args.train, ranks)
}
