//! One update: its images, forward, backward, accumulation, optimizer.

use std::sync::Arc;
use std::time::Duration;

use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor};
use mae_data::{Batch, Batches};
use mae_masking::MaskBatch;
use mae_model::Mae;
use mae_vit::{Normalize, ops};

use crate::averaging::Averaging;
use crate::checkpoint::TrainState;
use crate::gradients::{clip, sum_of_squares};
use crate::reading::{Measurement, Readings, StepReport, Verdict};
use crate::{Run, TrainerError};

/// The images and masks of one update.
pub struct Update {
    batches: Vec<(Batch, MaskBatch)>,
    normalize: Normalize,
    clip_grad: Option<f64>,
    averaging: Arc<Averaging>,
}

impl Update {
    /// The gradients of the mean loss over the update's batches, on all ranks, clipped if the recipe says so.
    ///
    /// # Errors
    /// If another rank does not answer.
    pub fn gradients(
        self,
        model: &Mae,
        device: &Device,
    ) -> Result<(GradientsParams, Measurement), TrainerError> {
        let mut accumulation = Accumulation::new(self.batches.len());
        let ranks = self.averaging.ranks();
        let mut averaged = None;
        let last = self.batches.len() - 1;
        for (nth, (batch, masks)) in self.batches.into_iter().enumerate() {
            let images = self.normalize.images(batch.images, batch.shape, device);
            if nth == last && ranks.averages() {
                // Ranks meet once an update, however many batches it has.
                let loss = accumulation.loss(model, images, &masks);
                let earlier = accumulation.gradients.grads();
                averaged = Some(self.averaging.mean(model, earlier, || loss.backward(), device)?);
            } else {
                accumulation.add(model, images, &masks);
            }
        }
        let (gradients, mut losses) = accumulation.finish();
        let mut gradients = averaged.unwrap_or(gradients);
        if ranks.averages() {
            let mean = Tensor::cat(losses, 0).mean();
            losses = ranks.mean(vec![mean])?()?;
        }
        let squares = sum_of_squares(model, &gradients, device);
        if let Some(max_norm) = self.clip_grad {
            let norm = f64::from(squares.clone().into_scalar::<f32>()).sqrt();
            gradients = clip(model, gradients, norm, max_norm);
        }
        Ok((gradients, Measurement::new(losses, squares)))
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
    readings: Readings,
    averaging: Arc<Averaging>,
}

impl<'a> Updates<'a> {
    pub(crate) fn new(run: &'a Run) -> Self {
        let averaging = Arc::new(Averaging::new(run.ranks().clone()));
        let readings = Readings::new(u64::MAX);
        Self { run, batches: None, next: 0, waited: Duration::ZERO, readings, averaging }
    }

    /// The same for a loop that stops for now after `stop_at` updates: what they measured is then read, however many
    /// updates go between two readings.
    #[must_use]
    pub fn until(self, stop_at: u64) -> Self {
        Self { readings: Readings::new(stop_at), ..self }
    }

    /// What becomes of update `step`.
    pub(crate) fn judge(
        &mut self,
        step: u64,
        skipped: &mut Vec<u64>,
        measured: Measurement,
    ) -> Result<Verdict, TrainerError> {
        self.readings.judge(self.run, step, skipped, measured)
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
            averaging: self.averaging.clone(),
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

    /// Adds a batch's share.
    pub fn add(&mut self, model: &Mae, images: Tensor<4>, masks: &MaskBatch) {
        let gradients = self.loss(model, images, masks).backward();
        self.gradients.accumulate(model, GradientsParams::from_grads(gradients, model));
    }

    /// A batch's share of the mean loss. Burn sums accumulated gradients; dividing each loss makes the sum a mean.
    fn loss(&mut self, model: &Mae, images: Tensor<4>, masks: &MaskBatch) -> Tensor<1> {
        let loss = model.forward(images, masks);
        self.losses.push(loss.clone().inner());
        loss.div_scalar(self.accum_iter as f64)
    }

    /// The gradients, and the loss of each batch.
    pub fn finish(mut self) -> (GradientsParams, Vec<Tensor<1>>) {
        (self.gradients.grads(), self.losses)
    }
}

/// The next update of the state. Says what has been measured since the last reading, if now was the time to read: every
/// `eval.metric_steps` updates, and wherever the run evaluates, saves or ends.
///
/// An update whose loss or gradient is not finite is not made: as the recipe's `on_nan` says, it is left out, or the
/// state goes back to the last checkpoint, to leave it out when it comes to it again. If it is read only with others, the
/// state goes back in any case, and comes to it again reading each.
///
/// # Errors
/// If a batch cannot be loaded; if the loss or the gradient is not finite and the recipe says to stop, or it has
/// happened too often: the state is then as it was. If the device's memory is too small: some of the moments may then be
/// the next update's.
pub fn train_step(
    run: &Run,
    state: &mut TrainState,
    updates: &mut Updates<'_>,
    device: &Device,
) -> Result<Option<StepReport>, TrainerError> {
    let step = state.step;
    let update = updates.at(step)?;
    let (gradients, measured) = run.plan.within_memory(|| update.gradients(&state.model, device))??;
    let judged = run.plan.within_memory(|| updates.judge(step, &mut state.skipped, measured))?;
    match judged? {
        Verdict::Make(report) => {
            let lr = run.plan.pace.schedule.lr(step);
            let (optimizer, model) = (&mut state.optimizer, state.model.clone());
            state.model =
                run.plan.within_memory(|| ops::together(|| optimizer.step(lr, model, gradients)))?;
            state.step += 1;
            if let Some(ema) = &mut state.ema {
                ema.update(&state.model, state.step);
            }
            Ok(report)
        }
        Verdict::LeaveOut(report) => {
            state.step += 1;
            Ok(Some(report))
        }
        Verdict::GoBack(report) => {
            let skipped = std::mem::take(&mut state.skipped);
            *state = TrainState { skipped, ..run.latest_state(device)?.state };
            Ok(Some(report))
        }
    }
}
