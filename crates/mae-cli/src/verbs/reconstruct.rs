//! Draws a model's reconstructions of hidden patches.

use std::path::{Path, PathBuf};

use anyhow::Result;
use mae_data::{DecodeLimits, decode_file};
use mae_masking::{MaskBatch, MaskKey, Masker, Strategy};
use mae_trainer::{draw_sheet, reconstruct};

use crate::images::ImageArgs;
use crate::painted::painted;
use crate::pictures::PictureArgs;

pub const EXAMPLES: &str = "\
Examples:
  mae reconstruct runs/images-tiny-1 photo.jpg pictures
  mae reconstruct mae_visualize_vit_large.pth photos pictures --norm-pix-loss false --seed 3
  mae reconstruct runs/images-tiny-1 photo.jpg pictures --strategy block --mask-ratio 0.5
  mae reconstruct runs/images-tiny-1 photo.jpg pictures --mask painted.png

Each picture shows the original, the masked image, the reconstruction, and the reconstruction with the visible patches.";

#[derive(clap::Args)]
pub struct Args {
    /// Weights with a decoder: a file, a run's folder, or a folder of transformers.
    weights: PathBuf,
    #[command(flatten)]
    pictures: PictureArgs,
    /// Share of the patches that is masked.
    #[arg(long, default_value_t = 0.75, conflicts_with = "mask")]
    mask_ratio: f64,
    /// Masking strategy: random, block or grid.
    #[arg(long, default_value_t, conflicts_with = "mask")]
    strategy: Strategy,
    /// Seed of the random mask.
    #[arg(long, default_value_t = 0, conflicts_with = "mask")]
    seed: u64,
    /// Painted mask: an image of any size; it masks the patches that are more white than black.
    #[arg(long, value_name = "FILE")]
    mask: Option<PathBuf>,
    #[command(flatten)]
    images_as: ImageArgs,
    #[command(flatten)]
    described: crate::weights::Described,
}

pub fn run(args: &Args) -> Result<()> {
    let device = args.images_as.device.open()?;
    let file = args.described.open(&args.weights)?;
    let (model, _) = file.mae(&args.described.hints(), &device)?;
    let model = model.with_compute(args.images_as.compute(&device)?);
    let config = *model.config();
    let geometry = config.geometry;
    let preparation = args.images_as.preparation(&file, &geometry)?;
    let masker = Masker::new(args.strategy, geometry.grid(), args.mask_ratio)?;
    let read = |mask: &Path| painted(&decode_file(mask, &DecodeLimits::default())?, geometry.grid(), mask);
    let painted = args.mask.as_deref().map(read).transpose()?;
    args.pictures.draw(&args.images_as, &preparation, |batch, shown| {
        let masking = |index: &usize| match &painted {
            Some(masking) => masking.clone(),
            None => masker.draw(MaskKey { seed: args.seed, pass: 0, sample: *index }),
        };
        let masks = MaskBatch::new(&batch.indices.iter().map(masking).collect::<Vec<_>>())?;
        let samples = reconstruct(&model, shown, batch, &masks, &device)?;
        samples.into_iter().map(|sample| Ok(draw_sheet(&[sample], &config)?)).collect()
    })
}
