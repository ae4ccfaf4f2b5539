//! What a model draws of what it does not see.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use mae_data::{DecodeLimits, Image, decode_file};
use mae_masking::{MaskBatch, MaskKey, Masker, Masking, Strategy};
use mae_trainer::{draw_sheet, reconstruct};
use mae_vit::Geometry;

use crate::images::ImageArgs;

pub const EXAMPLES: &str = "\
Examples:
  mae reconstruct runs/images-tiny-1 photo.jpg pictures
  mae reconstruct mae_visualize_vit_large.pth photos pictures --norm-pix-loss false --seed 3
  mae reconstruct runs/images-tiny-1 photo.jpg pictures --strategy block --mask-ratio 0.5
  mae reconstruct runs/images-tiny-1 photo.jpg pictures --mask painted.png";

#[derive(clap::Args)]
pub struct Args {
    /// Weights with a decoder: a file, or a folder of a run or of transformers.
    weights: PathBuf,
    /// An image, or a folder of images.
    images: PathBuf,
    /// Folder of the pictures, one an image: original, masked, reconstruction, reconstruction with the visible patches.
    out: PathBuf,
    /// The share of patches that is hidden.
    #[arg(long, default_value_t = 0.75, conflicts_with = "mask")]
    mask_ratio: f64,
    /// How the visible patches are chosen: random, block or grid.
    #[arg(long, default_value_t, conflicts_with = "mask")]
    strategy: Strategy,
    /// Another number hides other patches.
    #[arg(long, default_value_t = 0, conflicts_with = "mask")]
    seed: u64,
    /// A painted mask: an image of any size, whose patches are hidden where it is more white than black.
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
    let config = *model.config();
    let geometry = config.geometry;
    let preparation = args.images_as.preparation(&file, &geometry)?;
    let masker = Masker::new(args.strategy, geometry.grid(), args.mask_ratio)?;
    let painted = args.mask.as_deref().map(|mask| painted(mask, &geometry)).transpose()?;
    args.images_as.pictures(&args.images, &preparation, &args.out, |batch| {
        let masking = |index: &usize| match &painted {
            Some(masking) => masking.clone(),
            None => masker.draw(MaskKey { seed: args.seed, epoch: 0, sample: *index as u64 }),
        };
        let masks = MaskBatch::new(&batch.indices.iter().map(masking).collect::<Vec<_>>())?;
        let samples = reconstruct(&model, &preparation.normalize, batch, &masks, &device)?;
        samples.into_iter().map(|sample| Ok(draw_sheet(&[sample], &config)?)).collect()
    })
}

/// Which patches a painted image hides.
fn painted(path: &Path, geometry: &Geometry) -> Result<Masking> {
    let image = decode_file(path, &DecodeLimits::default())?;
    let (rows, columns) = geometry.grid();
    let (height, width) = (image.height(), image.width());
    ensure!(
        height >= rows && width >= columns,
        "{} is {height} x {width} px, but each of {rows} x {columns} patches needs one",
        path.display()
    );
    let hidden: Vec<bool> = (0..rows * columns)
        .map(|patch| brightness(&image, (patch / columns, rows), (patch % columns, columns)) > 0.5)
        .collect();
    let count = hidden.iter().filter(|hidden| **hidden).count();
    ensure!(
        count > 0 && count < hidden.len(),
        "{} hides {count} of {} patches: some have to be hidden, and some to be seen",
        path.display(),
        hidden.len()
    );
    Ok(Masking::from_mask(&hidden)?)
}

/// The mean of a part of an image, 0 to 1: the n-th of so many equal stretches of rows and of columns.
fn brightness(image: &Image, (row, rows): (usize, usize), (column, columns): (usize, usize)) -> f64 {
    let stretch = |n: usize, of: usize, side: usize| n * side / of..(n + 1) * side / of;
    let (down, across) = (stretch(row, rows, image.height()), stretch(column, columns, image.width()));
    let channels = image.channels();
    let bytes = down.clone().flat_map(|y| {
        let first = y * image.width();
        &image.data()[(first + across.start) * channels..(first + across.end) * channels]
    });
    let sum: u64 = bytes.map(|byte| u64::from(*byte)).sum();
    sum as f64 / (255 * down.len() * across.len() * channels) as f64
}
