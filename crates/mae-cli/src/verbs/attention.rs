//! Draws where an encoder looks.

use std::path::PathBuf;

use anyhow::Result;
use burn::tensor::Tensor;
use clap::ValueEnum;
use mae_report::{Heatmap, draw_heatmaps};

use crate::images::ImageArgs;
use crate::pictures::PictureArgs;

pub const EXAMPLES: &str = "\
Examples:
  mae attention mae_pretrain_vit_base.pth photo.jpg pictures
  mae attention runs/images-tiny-1 photos pictures --mode last

Each picture shows the image as the model sees it and, beside it, the maps in colour over the image in grey. A map goes from
dark at the least attended patch to bright at the most attended one. Its title gives both as shares of the class token's
attention.";

#[derive(clap::Args)]
pub struct Args {
    /// Weights with an encoder: a file, a run's folder, or a folder of transformers.
    weights: PathBuf,
    #[command(flatten)]
    pictures: PictureArgs,
    /// Attention maps to draw.
    #[arg(long, value_enum, default_value = "rollout")]
    mode: Mode,
    #[command(flatten)]
    images_as: ImageArgs,
    #[command(flatten)]
    described: crate::weights::Described,
}

/// Maps of the class token's attention to the patches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// One map through all blocks: attention rollout (Abnar and Zuidema 2020).
    Rollout,
    /// One map for each head of the last block.
    Last,
}

pub fn run(args: &Args) -> Result<()> {
    let device = args.images_as.device.open()?;
    let file = args.described.open(&args.weights)?;
    let (encoder, _) = file.features(None, &args.described.hints(), &device)?;
    let encoder = encoder.with_compute(args.images_as.compute(&device)?);
    let geometry = encoder.config().geometry;
    let preparation = args.images_as.preparation(&file, &geometry)?;
    args.pictures.draw(&args.images_as, &preparation, |batch, shown| {
        let originals = shown.images(&batch.images, batch.shape)?;
        let images = preparation.normalize.images(batch.images, batch.shape, &device);
        let maps: Tensor<3> = match args.mode {
            Mode::Rollout => encoder.rollout(images).unsqueeze_dim(1), // [B, 1, L]
            Mode::Last => encoder.class_attention(images),             // [B, N, L]
        };
        let [_, count, len] = maps.dims();
        let maps: Vec<f32> = maps.into_data().convert::<f32>().try_to_vec().expect("converted to f32");
        let sheet = |(original, maps): (_, &[f32])| {
            let maps: Vec<_> =
                maps.chunks(len).enumerate().map(|(i, map)| titled(args.mode, i, map)).collect();
            Ok(draw_heatmaps(&original, &maps, geometry.grid(), ["least attended", "most"])?)
        };
        originals.into_iter().zip(maps.chunks(count * len)).map(sheet).collect()
    })
}

/// A map whose title states its name and the ends of its scale.
fn titled(mode: Mode, index: usize, map: &[f32]) -> Heatmap {
    let least = 100.0 * map.iter().copied().fold(f32::INFINITY, f32::min);
    let most = 100.0 * map.iter().copied().fold(0.0, f32::max);
    let name = match mode {
        Mode::Rollout => "rollout".to_owned(),
        Mode::Last => format!("head {}", index + 1),
    };
    Heatmap { title: format!("{name}: {least:.2} to {most:.2}%"), values: map.to_vec() }
}
