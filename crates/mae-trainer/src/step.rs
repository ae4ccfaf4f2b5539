//! One update: its images, forward, backward, accumulation, optimizer.

use std::sync::Arc;
use std::time::Duration;

use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor};
use mae_data::{Batch, Batches};
use mae_masking::MaskBatch;
use mae_model::Mae;
use mae_vit::Normalize;

use crate::checkpoint::TrainState;
use crate::gradients::{clip, global_norm, mean_over};
use crate::nonfinite::Reaction;
use crate::{Collective, Run, TrainerError};

/// The images and masks of one update.
pub struct Update {
    batches: Vec<(Batch, MaskBatch)>,
    normalize: Normalize,
    clip_grad: Option<f64>,
    ranks: Arc<dyn Collective>,
}

/// What an update measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// The mean loss over the update's images, on all ranks, before it.
    pub loss: f64,
    /// The gradient's norm over all parameters, before clipping.
    pub grad_norm: f64,
}

impl StepReport {
    /// Whether the update can be made.
    pub fn is_finite(&self) -> bool {
        self.loss.is_finite() && self.grad_norm.is_finite()
    }
}

impl Update {
    /// The gradients of the mean loss over the update's batches, on all ranks, clipped if the recipe says so.
    pub fn gradients(self, model: &Mae, device: &Device) -> (GradientsParams, StepReport) {
        let mut accumulation = Accumulation::new(self.batches.len());
        for (batch, masks) in self.batches {
            let images = self.normalize.images(batch.images, batch.shape, device);
            accumulation.add(model, images, &masks);
        }
        let (gradients, loss) = accumulation.finish();
        // Ranks meet once an update, however many batches it has.
        let (mut gradients, loss) = mean_over(self.ranks.as_ref(), model, gradients, loss, device);
        let grad_norm = global_norm(model, &gradients);
        if let Some(max_norm) = self.clip_grad {
            gradients = clip(model, gradients, grad_norm, max_norm);
        }
        (gradients, StepReport { loss, grad_norm })
    }

    /// The mean loss over the update's batches, without gradients.
    pub fn loss(self, model: &Mae, device: &Device) -> f64 {
        let count = self.batches.len() as f64;
        let loss = |(batch, masks): (Batch, MaskBatch)| {
            let images = self.normalize.images(batch.images, batch.shape, device);
            f64::from(model.forward(images, &masks).into_scalar::<f32>())
        };
        self.batches.into_iter().map(loss).sum::<f64>() / count
    }

    /// The update's batches, each with its masks.
    pub fn batches(&self) -> &[(Batch, MaskBatch)] {
        &self.batches
    }
}

/// The updates of a run, in order, from wherever one begins.
pub struct Updates<'a> {
    run: &'a Run,
    batches: Option<Batches>,
    /// The update that `batches` comes to next.
    next: u64,
    waited: Duration,
}

impl<'a> Updates<'a> {
    pub(crate) fn new(run: &'a Run) -> Self {
        Self { run, batches: None, next: 0, waited: Duration::ZERO }
    }

    /// The images and masks of update `step`, counted from 0. Asked for in order, they are loaded ahead; any other
    /// step starts the loader anew.
    ///
    /// # Errors
    /// If images cannot be loaded, or `step` is not in the run.
    pub fn at(&mut self, step: u64) -> Result<Update, TrainerError> {
        let plan = &self.run.plan;
        let (_, update) = plan.pace.position(step);
        if self.batches.is_none() || step != self.next || update == 0 {
            self.waited += self.batches.take().map_or(Duration::ZERO, |batches| batches.waiting());
            self.batches = Some(self.run.batches(step)?);
        }
        let short = || TrainerError::EpochTooShort { step };
        let batches = self.batches.as_mut().ok_or_else(short)?;
        let batches = (0..plan.accum_iter)
            .map(|_| {
                let batch = batches.next().ok_or_else(short)??;
                let masks = self.run.masks(&batch)?;
                Ok((batch, masks))
            })
            .collect::<Result<_, TrainerError>>()?;
        self.next = step + 1;
        let recipe = &self.run.recipe;
        Ok(Update {
            batches,
            normalize: recipe.data.normalize.clone(),
            clip_grad: recipe.optim.clip_grad,
            ranks: self.run.ranks().clone(),
        })
    }

    /// How long all updates so far have waited for images.
    pub fn waiting(&self) -> Duration {
        self.waited + self.batches.as_ref().map_or(Duration::ZERO, Batches::waiting)
    }
}

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

/// The next update of the state; says what it measured.
///
/// An update whose loss or gradient is not finite is not made: as the recipe's `on_nan` says, it is left out, or the
/// state goes back to the last checkpoint, to leave it out when it comes to it again.
///
/// # Errors
/// If a batch cannot be loaded; if the loss or the gradient is not finite and the recipe says to stop, or it has
/// happened too often. The state is then as it was.
pub fn train_step(
    run: &Run,
    state: &mut TrainState,
    updates: &mut Updates<'_>,
    device: &Device,
) -> Result<StepReport, TrainerError> {
    let step = state.step;
    let update = updates.at(step)?;
    let (gradients, report) = update.gradients(&state.model, device);
    if state.skipped.contains(&step) {
        state.step += 1;
    } else if report.is_finite() {
        let lr = run.plan.pace.schedule.lr(step);
        state.model = state.optimizer.step(lr, state.model.clone(), gradients);
        state.step += 1;
        if let Some(ema) = &mut state.ema {
            ema.update(&state.model, state.step);
        }
    } else {
        match run.on_nonfinite(step, report, &mut state.skipped)? {
            Reaction::Skip => state.step += 1,
            Reaction::Rollback => {
                let skipped = std::mem::take(&mut state.skipped);
                *state = TrainState { skipped, ..run.latest_state(device)?.state };
            }
        }
    }
    Ok(report)
}
