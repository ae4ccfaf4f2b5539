//! The gradients of an update, accumulated over its batches.

use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor};
use mae_model::SavedModel;
use mae_ranks::Averaging;

use crate::TrainerError;

/// The gradients of an update, accumulated over its batches.
pub struct Backward<'a, M> {
    gradients: GradientsAccumulator<M>,
    losses: Vec<Tensor<1>>,
    /// The mean over ranks.
    averaged: Option<GradientsParams>,
    pub(super) averaging: Option<(&'a Averaging, &'a Device)>,
}

impl<M: SavedModel> Backward<'_, M> {
    /// Starts an update of a single process.
    pub fn alone() -> Self {
        Self { gradients: GradientsAccumulator::new(), losses: Vec::new(), averaged: None, averaging: None }
    }

    /// Adds the gradients of a loss, `[1]`: that of pass `i`, counted from 0, of `count`. The update takes the mean of
    /// their losses.
    ///
    /// # Errors
    /// If another rank does not answer.
    pub fn add(
        &mut self,
        model: &M,
        loss: Tensor<1>,
        (i, count): (usize, usize),
    ) -> Result<(), TrainerError> {
        self.losses.push(loss.clone().inner());
        // Burn sums accumulated gradients; dividing each loss makes the sum a mean.
        let share = loss.div_scalar(count as f64);
        match self.averaging {
            // Ranks communicate once per update, however many batches it has.
            Some((averaging, device)) if i + 1 == count => {
                let earlier = self.gradients.grads();
                self.averaged = Some(averaging.mean(model, earlier, || share.backward(), device)?);
            }
            _ => {
                self.gradients.accumulate(model, GradientsParams::from_grads(share.backward(), model));
            }
        }
        Ok(())
    }

    /// Returns the gradients and the loss of each pass.
    pub fn finish(mut self) -> (GradientsParams, Vec<Tensor<1>>) {
        let gradients = self.averaged.take();
        (gradients.unwrap_or_else(|| self.gradients.grads()), self.losses)
    }
}
