//! Images of pre-training and their masks.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use mae_data::Batch;
use mae_masking::{MaskBatch, Masker};
use mae_model::{Mae, MaeConfig};

use super::recipe::PretrainSettings;
use crate::context::Context;
use crate::{Settings, TrainerError};

/// Pre-training: the loss is the error of the masked patches' pixels.
pub struct Pretrain {
    /// The model.
    pub config: MaeConfig,
    /// The number of visible patches.
    pub num_keep: usize,
    pub(super) settings: Settings<PretrainSettings>,
    masker: Masker,
}

/// Images on the device.
pub struct Inputs {
    /// Normalised, `[B, C, H, W]`, 0 where a pixel is missing.
    pub images: Tensor<4>,
    /// 1 for each pixel that is present, `[B, C, H, W]`; `None` if all are.
    pub present: Option<Tensor<4>>,
}

impl Pretrain {
    /// Makes the task of a resolved recipe.
    pub(super) fn of(settings: &Settings<PretrainSettings>) -> Result<Self, TrainerError> {
        let (config, masking) =
            (settings.task.model.config(settings.data.pixels.channels())?, &settings.task.masking);
        let masker = Masker::new(masking.strategy, config.geometry.grid(), masking.mask_ratio)?;
        let num_keep = mae_masking::num_keep(config.geometry.num_patches(), masking.mask_ratio)?;
        Ok(Self { config, num_keep, settings: settings.clone(), masker })
    }

    /// The masks of a batch. Each is a function of (seed, pass, index), as its image is.
    ///
    /// # Errors
    /// If the batch is empty.
    pub fn masks(&self, batch: &Batch) -> Result<MaskBatch, TrainerError> {
        Ok(self.masker.draw_batch(self.settings.train.seed, batch.samples())?)
    }

    /// The loss of predicting zero, on the run's first batch.
    pub(super) fn zero_loss(
        &self,
        context: &Context,
        model: &Mae,
        device: &Device,
    ) -> Result<f64, TrainerError> {
        let batch = context.batches(0)?.next().ok_or(TrainerError::EpochTooShort { step: 0 })??;
        let (inputs, masks) = self.inputs(batch, device)?;
        let loss = model.valid().zero_loss(inputs.images, inputs.present, &masks);
        Ok(f64::from(loss.into_scalar::<f32>()))
    }

    /// A batch's images and its masks.
    ///
    /// # Errors
    /// If the batch is empty.
    pub fn inputs(&self, batch: Batch, device: &Device) -> Result<(Inputs, MaskBatch), TrainerError> {
        let masks = self.masks(&batch)?;
        let normalize = &self.settings.data.normalize;
        let present = normalize.present(&batch.images, batch.shape, device);
        let images = normalize.images(batch.images, batch.shape, device);
        Ok((Inputs { images, present }, masks))
    }
}
