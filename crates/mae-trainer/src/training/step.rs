//! One update: its images, forward, backward, accumulation, optimizer.

use std::sync::Arc;
use std::time::Duration;

use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use mae_data::{Batch, Batches};
use mae_vit::{Normalize, ops};

use super::backward::Backward;
use super::gradients::{clip, sum_of_squares};
use super::measurement::{Measurement, StepReport};
use super::reading::{Readings, Verdict};
use crate::{At, Run, Task, TrainState, TrainerError};
use mae_ranks::Averaging;

/// The images of one update, and how its gradients are computed.
pub struct Update<T> {
    task: Arc<T>,
    batches: Vec<Batch>,
    /// The number of the first batch; see [`At::number`].
    number: u64,
    normalize: Normalize,
    clip_grad: Option<f64>,
    averaging: Arc<Averaging>,
}

impl<T: Task> Update<T> {
    /// Computes the gradients of the mean loss over the update's batches, on all ranks, clipped if the recipe says so.
    /// Also updates the values of the model that are not trained, such as running statistics.
    ///
    /// # Errors
    /// If another rank does not answer.
    pub fn gradients(
        self,
        model: &mut T::Model,
        device: &Device,
    ) -> Result<(GradientsParams, Measurement), TrainerError> {
        let ranks = self.averaging.ranks();
        let mut backward = Backward::alone();
        if ranks.averages() {
            backward.averaging = Some((&self.averaging, device));
        }
        let at = At { device, ranks, normalize: &self.normalize, number: self.number };
        self.task.gradients(model, self.batches, &at, &mut backward)?;
        let (mut gradients, mut losses) = backward.finish();
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
    ///
    /// # Errors
    /// If a batch cannot be used.
    pub fn loss(self, model: &T::Model, device: &Device) -> Result<f64, TrainerError> {
        let (count, mut sum, mut model) = (self.batches.len() as f64, 0.0, model.clone());
        let at =
            At { device, ranks: self.averaging.ranks(), normalize: &self.normalize, number: self.number };
        for (i, batch) in self.batches.into_iter().enumerate() {
            sum += f64::from(self.task.loss(&mut model, batch, &at.batch(i))?.into_scalar::<f32>());
        }
        Ok(sum / count)
    }

    /// The update's batches.
    pub fn batches(&self) -> &[Batch] {
        &self.batches
    }
}

/// The updates of a run, in order, from any start.
pub struct Updates<'a, T: Task> {
    run: &'a Run<T>,
    batches: Option<Batches>,
    /// The update whose batches come next in `batches`.
    next: u64,
    waited: Duration,
    readings: Readings,
    averaging: Arc<Averaging>,
}

impl<T: Task> Run<T> {
    /// The updates of the run.
    pub fn updates(&self) -> Updates<'_, T> {
        Updates::new(self)
    }
}

impl<'a, T: Task> Updates<'a, T> {
    pub(crate) fn new(run: &'a Run<T>) -> Self {
        let averaging = Arc::new(Averaging::new(run.ranks().clone()));
        let readings = Readings::new(u64::MAX);
        Self { run, batches: None, next: 0, waited: Duration::ZERO, readings, averaging }
    }

    /// Adapts to a loop that stops for now after `stop_at` updates: their measurements are then read, however many
    /// updates are between two reads.
    #[must_use]
    pub fn until(self, stop_at: u64) -> Self {
        Self { readings: Readings::new(stop_at), ..self }
    }

    /// Decides about update `step`.
    fn judge(
        &mut self,
        step: u64,
        skipped: &mut Vec<u64>,
        measured: Measurement,
    ) -> Result<Verdict, TrainerError> {
        self.readings.judge(self.run, step, skipped, measured)
    }

    /// The images of update `step`, counted from 0. Updates requested in order are loaded ahead; any other step
    /// restarts the loader.
    ///
    /// # Errors
    /// If images cannot be loaded, or `step` is not in the run.
    pub fn at(&mut self, step: u64) -> Result<Update<T>, TrainerError> {
        let run = self.run;
        let train = &run.settings.train;
        let batches = match run.task.needs_pixels() {
            true => self.load(step)?,
            false => run.unloaded(step),
        };
        Ok(Update {
            task: run.task.clone(),
            batches,
            number: step * (train.accum_iter * train.ranks) as u64 + run.sharer as u64,
            normalize: run.settings.data.normalize.clone(),
            clip_grad: run.settings.optim.clip_grad,
            averaging: self.averaging.clone(),
        })
    }

    fn load(&mut self, step: u64) -> Result<Vec<Batch>, TrainerError> {
        let (_, update) = self.run.pace.position(step);
        if self.batches.is_none() || step != self.next || update == 0 {
            self.waited += self.batches.take().map_or(Duration::ZERO, |batches| batches.waiting());
            self.batches = Some(self.run.batches(step)?);
        }
        let short = || TrainerError::EpochTooShort { step };
        let batches = self.batches.as_mut().ok_or_else(short)?;
        let each =
            (0..self.run.settings.train.accum_iter).map(|_| Ok(batches.next().ok_or_else(short)??));
        let each = each.collect::<Result<_, TrainerError>>()?;
        self.next = step + 1;
        Ok(each)
    }

    /// The time that all updates so far have waited for images.
    pub fn waiting(&self) -> Duration {
        self.waited + self.batches.as_ref().map_or(Duration::ZERO, Batches::waiting)
    }
}

/// Computes the gradients of updates and applies them: [`Own`], or burn-train's learner in `managed`.
pub(crate) trait Engine<T: Task> {
    /// The gradients that [`apply`](Self::apply) takes.
    type Gradients;

    /// Computes the gradients of an update for the model of `state`.
    fn gradients(
        &mut self,
        state: &TrainState<T::Model>,
        update: Update<T>,
    ) -> Result<(Self::Gradients, Measurement), TrainerError>;

    /// Applies gradients to the model of `state` at the learning rate `lr`.
    fn apply(&mut self, state: &mut TrainState<T::Model>, lr: f64, gradients: Self::Gradients);

    /// Called when an update is left out.
    fn leave_out(&mut self) {}

    /// Called when training continues from a state that was read from a checkpoint.
    fn restore(&mut self, _run: &Run<T>, _state: &TrainState<T::Model>) {}

    /// The state to save, completed by what the engine holds itself.
    fn complete(&mut self, state: &TrainState<T::Model>) -> TrainState<T::Model> {
        state.clone()
    }
}

/// Applies gradients by the optimizer of the state, on a device.
pub(crate) struct Own<'a>(pub &'a Device);

impl<T: Task> Engine<T> for Own<'_> {
    type Gradients = (T::Model, GradientsParams);

    fn gradients(
        &mut self,
        state: &TrainState<T::Model>,
        update: Update<T>,
    ) -> Result<(Self::Gradients, Measurement), TrainerError> {
        let mut model = state.model.clone();
        let (gradients, measured) = update.gradients(&mut model, self.0)?;
        Ok(((model, gradients), measured))
    }

    fn apply(&mut self, state: &mut TrainState<T::Model>, lr: f64, (model, gradients): Self::Gradients) {
        state.model = state.optimizer.step(lr, model, gradients);
    }
}

/// Makes the next update of the state. Returns the measurements since the last read if it was time to read them: every
/// `eval.metric_steps` updates, and wherever the run evaluates, saves or ends.
///
/// An update whose loss or gradient is not finite is not applied. Depending on the recipe's `on_nan`, it is left out,
/// or the state goes back to the last checkpoint and leaves it out when it reaches it again. If it is read only
/// together with others, the state goes back in any case, and then reads each update.
///
/// # Errors
/// If a batch cannot be loaded, or if the loss or the gradient is not finite and the recipe says to stop, or this has
/// happened too often. The state is then as it was. If the device's memory is too small; some of the moments may then
/// be the next update's.
pub fn train_step<T: Task>(
    run: &Run<T>,
    state: &mut TrainState<T::Model>,
    updates: &mut Updates<'_, T>,
    device: &Device,
) -> Result<Option<StepReport>, TrainerError> {
    train_step_by(&mut Own(device), run, state, updates, device)
}

/// [`train_step`] by the given engine.
pub(crate) fn train_step_by<T: Task, E: Engine<T>>(
    engine: &mut E,
    run: &Run<T>,
    state: &mut TrainState<T::Model>,
    updates: &mut Updates<'_, T>,
    device: &Device,
) -> Result<Option<StepReport>, TrainerError> {
    let step = state.step;
    let update = updates.at(step)?;
    let (gradients, measured) = run.within_memory(|| engine.gradients(state, update))??;
    let judged = run.within_memory(|| updates.judge(step, &mut state.skipped, measured))?;
    match judged? {
        Verdict::Make(report) => {
            let lr = run.pace.schedule.lr(step);
            run.within_memory(|| ops::together(|| engine.apply(state, lr, gradients)))?;
            state.step += 1;
            if let Some(ema) = &mut state.ema {
                ema.update(&state.model, state.step);
            }
            Ok(report)
        }
        Verdict::LeaveOut(report) => {
            engine.leave_out();
            state.step += 1;
            Ok(Some(report))
        }
        Verdict::GoBack(report) => {
            let skipped = std::mem::take(&mut state.skipped);
            *state = TrainState { skipped, ..run.latest_state(device)?.state };
            engine.restore(run, state);
            Ok(Some(report))
        }
    }
}
