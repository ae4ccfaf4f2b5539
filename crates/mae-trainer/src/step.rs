//! One update: forward, backward, accumulation, optimizer.

use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor};
use mae_data::Batches;
use mae_masking::MaskBatch;
use mae_model::Mae;

use crate::checkpoint::TrainState;
use crate::{Run, TrainerError};

/// Gradients of the mean loss over several equal batches.
pub struct Accumulation {
    gradients: GradientsAccumulator<Mae>,
    losses: Vec<Tensor<1>>,
    accum_iter: usize,
}

impl Accumulation {
    /// For `accum_iter` batches.
    pub fn new(accum_iter: usize) -> Self {
        Self { gradients: GradientsAccumulator::new(), losses: Vec::new(), accum_iter }
    }

    /// Adds a batch's share. Burn sums accumulated gradients; dividing each loss makes the sum a mean.
    pub fn add(&mut self, model: &Mae, images: Tensor<4>, masks: &MaskBatch) {
        let loss = model.forward(images, masks);
        let gradients = loss.clone().div_scalar(self.accum_iter as f64).backward();
        self.gradients.accumulate(model, GradientsParams::from_grads(gradients, model));
        self.losses.push(loss.inner());
    }

    /// The gradients, and the mean loss.
    pub fn finish(mut self) -> (GradientsParams, f64) {
        let count = self.losses.len() as f64;
        let sum: f64 = self.losses.into_iter().map(|loss| f64::from(loss.into_scalar::<f32>())).sum();
        (self.gradients.grads(), sum / count)
    }
}

/// One update of the state from the next batches; returns the mean loss before it.
///
/// # Errors
/// If a batch cannot be loaded, or the loss is not finite: the state is then as it was.
pub fn train_step(
    run: &Run,
    state: &mut TrainState,
    batches: &mut Batches,
    device: &Device,
) -> Result<f64, TrainerError> {
    let (epoch, _) = run.plan.position(state.step);
    let mut accumulation = Accumulation::new(run.plan.accum_iter);
    for _ in 0..run.plan.accum_iter {
        let batch = batches.next().ok_or(TrainerError::EpochTooShort { step: state.step })??;
        let (images, masks) = run.inputs(batch, epoch, device)?;
        accumulation.add(&state.model, images, &masks);
    }
    let (gradients, loss) = accumulation.finish();
    if !loss.is_finite() {
        return Err(TrainerError::Loss { loss, step: state.step + 1 });
    }
    let lr = run.plan.schedule.lr(state.step);
    state.model = state.optimizer.step(lr, state.model.clone(), gradients);
    state.step += 1;
    Ok(loss)
}
