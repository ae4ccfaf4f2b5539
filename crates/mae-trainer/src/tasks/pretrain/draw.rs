//! The pictures of a run: reconstructions of fixed images under fixed masks.

use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::Device;
use mae_data::{Batch, Image};
use mae_masking::MaskBatch;
use mae_model::{Mae, MaeConfig};

use super::features::FIXED_MASKS;
use super::masked::Pretrain;
use crate::context::Context;
use crate::{Shown, TrainerError};
use mae_report::make_folder;
use mae_report::save_png;
use mae_report::{ReconstructionRow, draw_reconstructions, with_note};

/// The note below pictures of a model that predicts normalised pixels.
pub(super) const BORROWED: &str = "predicted patches borrow the mean and deviation of the original ones";

/// Draws a model's reconstructions of the run's picture images, on the main rank. Returns the path of the picture.
///
/// # Errors
/// If images cannot be read or the picture cannot be written.
pub fn draw_pictures(
    task: &Pretrain,
    context: &Context,
    model: &Mae,
    step: u64,
    device: &Device,
) -> Result<PathBuf, TrainerError> {
    let folder = context.path("pictures");
    let path = folder.join(format!("step-{step:09}.png"));
    if !context.ranks().is_main() {
        return Ok(path);
    }
    let set = context.data.picture_set(context.common.eval.pictures);
    let loader = context.evaluation_loader(&set, set.indices.len())?;
    let model = model.valid();
    let mut samples = Vec::new();
    for batch in loader.batches(FIXED_MASKS, set.indices, 0)? {
        let batch = batch?;
        let masks = task.masks(&batch)?;
        samples.extend(reconstruct(&model, &context.shown, batch, &masks, device)?);
    }
    let sheet = draw_sheet(&samples, &task.config)?;
    make_folder(&folder)?;
    save_png(&sheet, &path)?;
    Ok(path)
}

/// Reconstructs a batch of masked images.
///
/// # Errors
/// If pixels do not form an image.
pub fn reconstruct(
    model: &Mae,
    shown: &Shown,
    batch: Batch,
    masks: &MaskBatch,
    device: &Device,
) -> Result<Vec<ReconstructionRow>, TrainerError> {
    let shape = batch.shape;
    let originals = shown.images(&batch.images, shape)?;
    let images = shown.normalize().images(batch.images.clone(), shape, device);
    let predicted = shown.made_of(&batch.images, model.reconstruct(images, masks).images)?;
    let masks = masks.mask().chunks(masks.num_patches());
    let samples = originals.into_iter().zip(predicted).zip(masks).map(|((original, predicted), mask)| {
        ReconstructionRow { original, predicted, mask: mask.iter().map(|m| *m == 1.0).collect() }
    });
    Ok(samples.collect())
}

/// [`draw_reconstructions`] for a model. If it predicts normalised pixels, a note below says what the picture borrows.
///
/// # Errors
/// As [`draw_reconstructions`].
pub fn draw_sheet(samples: &[ReconstructionRow], config: &MaeConfig) -> Result<Image, TrainerError> {
    let patch = config.geometry.patch_size();
    let sheet = draw_reconstructions(samples, (patch, patch))?;
    Ok(if config.norm_pix_loss { with_note(sheet, BORROWED)? } else { sheet })
}
