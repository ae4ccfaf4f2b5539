//! The pictures of a run: reconstructions of fixed images under fixed masks, and the loss curve.

use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::Device;
use mae_data::{Batch, Image};
use mae_masking::MaskBatch;
use mae_model::{Mae, MaeConfig};
use mae_vit::Normalize;

use crate::atomic::make_folder;
use crate::canvas::save_png;
use crate::curve::draw_loss_curve;
use crate::evaluate::FIXED_MASKS;
use crate::pictures::{Reconstruction, draw_reconstructions, with_note};
use crate::records::read_records;
use crate::{Run, TrainerError};

/// What a picture of normalised pixels borrows.
pub(crate) const BORROWED: &str =
    "each predicted patch is drawn with the mean and deviation of the original one";

/// Draws what a model makes of the run's picture images, on the main rank; returns where.
///
/// # Errors
/// If images cannot be read or the picture cannot be written.
pub fn draw_pictures(run: &Run, model: &Mae, step: u64, device: &Device) -> Result<PathBuf, TrainerError> {
    let folder = run.path("pictures");
    let path = folder.join(format!("step-{step:09}.png"));
    if !run.ranks().is_main() {
        return Ok(path);
    }
    let set = run.data.picture_set(run.recipe.eval.pictures);
    let loader = set.loader(&run.recipe, set.indices.len())?;
    let model = model.valid();
    let mut samples = Vec::new();
    for batch in loader.epoch(run.recipe.seed, FIXED_MASKS, set.indices, 0)? {
        let batch = batch?;
        let masks = run.masks(&batch)?;
        samples.extend(reconstruct(&model, &run.recipe.data.normalize, batch, &masks, device)?);
    }
    let sheet = draw_sheet(&samples, &run.plan.config)?;
    make_folder(&folder)?;
    save_png(&sheet, &path)?;
    Ok(path)
}

/// What a model makes of a batch of masked images.
///
/// # Errors
/// Of what cannot be an image.
pub fn reconstruct(
    model: &Mae,
    normalize: &Normalize,
    batch: Batch,
    masks: &MaskBatch,
    device: &Device,
) -> Result<Vec<Reconstruction>, TrainerError> {
    let shape = batch.shape;
    let originals = images_of(&batch.images, shape)?;
    let images = normalize.images(batch.images, shape, device);
    let predicted = images_of(&normalize.bytes(model.reconstruct(images, masks).images), shape)?;
    let masks = masks.mask().chunks(masks.num_patches());
    let samples = originals.into_iter().zip(predicted).zip(masks).map(|((original, predicted), mask)| {
        Reconstruction { original, predicted, mask: mask.iter().map(|m| *m == 1.0).collect() }
    });
    Ok(samples.collect())
}

/// [`draw_reconstructions`] of a model, which says below what a prediction of normalised pixels borrows.
///
/// # Errors
/// As [`draw_reconstructions`].
pub fn draw_sheet(samples: &[Reconstruction], config: &MaeConfig) -> Result<Image, TrainerError> {
    let patch = config.geometry.patch_size();
    let sheet = draw_reconstructions(samples, (patch, patch))?;
    if config.norm_pix_loss { with_note(sheet, BORROWED) } else { Ok(sheet) }
}

/// Draws the loss curve from the run's records; returns where.
///
/// # Errors
/// If the records cannot be read or the picture cannot be written.
pub fn draw_curve(run: &Run, zero_loss: f64) -> Result<PathBuf, TrainerError> {
    let records = read_records(&run.path("metrics.jsonl"))?;
    let title = format!("{} · reconstruction loss on masked patches", run.recipe.model.preset);
    let path = run.path("loss.png");
    save_png(&draw_loss_curve(&title, &records, Some(zero_loss))?, &path)?;
    Ok(path)
}

/// The images of a batch.
///
/// # Shapes
/// Bytes `[B, C, H, W]` → `[H, W, C]` each
///
/// # Errors
/// Of what cannot be an image.
pub fn images_of(bytes: &[u8], [_, channels, height, width]: [usize; 4]) -> Result<Vec<Image>, TrainerError> {
    let plane = height * width;
    bytes
        .chunks(channels * plane)
        .map(|image| {
            let pixel = |i: usize| (0..channels).map(move |c| image[c * plane + i]);
            Ok(Image::new(height, width, channels, (0..plane).flat_map(pixel).collect())?)
        })
        .collect()
}
