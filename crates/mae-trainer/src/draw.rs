//! The pictures of a run: reconstructions of fixed images under fixed masks, and the loss curve.

use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::Device;
use mae_data::Image;
use mae_model::Mae;

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
    let (geometry, normalize) = (run.plan.config.geometry, &run.recipe.data.normalize);
    let mut samples = Vec::new();
    for batch in loader.epoch(run.recipe.seed, FIXED_MASKS, set.indices, 0)? {
        let batch = batch?;
        let originals = images_of(&batch.images, batch.shape)?;
        let shape = batch.shape;
        let (images, masks) = run.inputs(batch, device)?;
        let reconstruction = model.valid().reconstruct(images, &masks);
        let predicted = images_of(&normalize.bytes(reconstruction.images), shape)?;
        let masks = masks.mask().chunks(geometry.num_patches());
        for ((original, predicted), mask) in originals.into_iter().zip(predicted).zip(masks) {
            let mask = mask.iter().map(|m| *m == 1.0).collect();
            samples.push(Reconstruction { original, predicted, mask });
        }
    }
    let patch = geometry.patch_size();
    let mut sheet = draw_reconstructions(&samples, (patch, patch))?;
    if run.plan.config.norm_pix_loss {
        sheet = with_note(sheet, BORROWED)?;
    }
    make_folder(&folder)?;
    save_png(&sheet, &path)?;
    Ok(path)
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

/// Planar bytes `[B, C, H, W]` as images `[H, W, C]`.
fn images_of(bytes: &[u8], [_, channels, height, width]: [usize; 4]) -> Result<Vec<Image>, TrainerError> {
    let plane = height * width;
    bytes
        .chunks(channels * plane)
        .map(|image| {
            let pixel = |i: usize| (0..channels).map(move |c| image[c * plane + i]);
            Ok(Image::new(height, width, channels, (0..plane).flat_map(pixel).collect())?)
        })
        .collect()
}
