//! The bounds of every field of a recipe.

use crate::{AdamW, Recipe, TrainerError};

impl Recipe {
    /// Checks every value for a data set of `len` images.
    pub(crate) fn validate(&self, len: usize) -> Result<(), TrainerError> {
        if let Some(images) = self.data.images.filter(|images| *images != len) {
            return Err(TrainerError::DataChanged { images, len });
        }
        let within = |name, ok: bool, value: &dyn ToString, bound: &str| match ok {
            true => Ok(()),
            false => Err(TrainerError::argument(name, value.to_string(), bound)),
        };
        let (data, optim, eval) = (&self.data, &self.optim, &self.eval);
        within("epochs", self.epochs >= 1, &self.epochs, "at least 1")?;
        within("accum_iter", self.accum_iter >= 1, &self.accum_iter, "at least 1")?;
        let batch = self.batch_size.unwrap_or(0);
        let bound = format!("from 1 to the data set's {len} images");
        within("batch_size", (1..=len).contains(&batch), &batch, &bound)?;
        let effective = batch.saturating_mul(self.accum_iter);
        let bound = format!("at most the data set's {len} images");
        within("batch_size times accum_iter", effective <= len, &effective, &bound)?;
        within("workers", data.workers >= 1, &data.workers, "at least 1")?;
        within("prefetch_batches", data.prefetch_batches >= 1, &data.prefetch_batches, "at least 1")?;
        within(
            "max_bad_share",
            (0.0..=1.0).contains(&data.max_bad_share),
            &data.max_bad_share,
            "from 0 to 1",
        )?;
        let (low, high) = data.crop_scale;
        within(
            "crop_scale",
            0.0 < low && low <= high && high <= 1.0,
            &format!("{low} to {high}"),
            "a range within (0, 1]",
        )?;
        let warmup = optim.warmup_epochs.unwrap_or(0.0);
        let bound = format!("from 0 to the {} epochs of the run", self.epochs);
        within("warmup_epochs", (0.0..=self.epochs as f64).contains(&warmup), &warmup, &bound)?;
        let AdamW { betas, eps, weight_decay } = optim.adamw;
        for beta in [betas.0, betas.1] {
            within("a beta of AdamW", (0.0..1.0).contains(&beta), &beta, "in [0, 1)")?;
        }
        within("eps of AdamW", eps > 0.0 && eps.is_finite(), &eps, "positive and finite")?;
        let decays = weight_decay >= 0.0 && weight_decay.is_finite();
        within("weight_decay", decays, &weight_decay, "at least 0 and finite")?;
        within("knn_k", eval.knn_k >= 1, &eval.knn_k, "at least 1")?;
        let warm = eval.knn_temperature > 0.0 && eval.knn_temperature.is_finite();
        within("knn_temperature", warm, &eval.knn_temperature, "positive and finite")?;
        within("max_images", eval.max_images >= 2, &eval.max_images, "at least 2")?;
        within("pictures", eval.pictures >= 1, &eval.pictures, "at least 1")?;
        let minutes = eval.checkpoint_minutes;
        within("checkpoint_minutes", minutes >= 0.0, &minutes, "at least 0")?;
        let every = eval.every_epochs.unwrap_or(1);
        within("every_epochs", every >= 1, &every, "at least 1")?;
        let steps = eval.checkpoint_steps.unwrap_or(1);
        within("checkpoint_steps", steps >= 1, &steps, "at least 1")?;
        within("keep_checkpoints", eval.keep_checkpoints >= 1, &eval.keep_checkpoints, "at least 1")?;
        let clip = optim.clip_grad.unwrap_or(1.0);
        within("clip_grad", clip > 0.0 && clip.is_finite(), &clip, "positive and finite")?;
        let config = self.mae_config()?;
        config.validate()?;
        data.normalize.validate(config.geometry.in_chans())?;
        let geometry = config.geometry;
        let keep = mae_masking::num_keep(geometry.num_patches(), self.masking.mask_ratio)?;
        let bound = format!("large enough to mask one of {} patches", geometry.num_patches());
        within("mask_ratio", keep < geometry.num_patches(), &self.masking.mask_ratio, &bound)
    }
}
