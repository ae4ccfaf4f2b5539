//! The training loop.

use std::time::{Duration, Instant};

use burn::tensor::Device;

use super::step::{Engine, Own, train_step_by};
use crate::context::Aside;
use crate::view::draw_examples;
use crate::{Evaluation, Measured, Observer, Progress, Run, Task, TrainState, TrainerError};

/// Trains a run update by update until it is finished or told to stop, and records, evaluates, draws and saves on the
/// way.
///
/// All ranks do the same: they agree on what depends on a clock or a signal.
pub struct Trainer<'a, T: Task> {
    run: &'a Run<T>,
    device: &'a Device,
    tell: fn(&str),
    stop_at: u64,
    stop: Box<dyn Fn() -> bool + 'a>,
    observers: Vec<Box<dyn Observer + 'a>>,
}

impl<'a, T: Task> Trainer<'a, T> {
    /// A trainer of a run on a device.
    pub fn new(run: &'a Run<T>, device: &'a Device) -> Self {
        Self { run, device, tell: |_| (), stop_at: u64::MAX, stop: Box::new(|| false), observers: Vec::new() }
    }

    /// Passes progress lines to `tell`, on the main rank, every few seconds.
    #[must_use]
    pub fn telling(self, tell: fn(&str)) -> Self {
        Self { tell, ..self }
    }

    /// Stops for now after update `step` of the run.
    #[must_use]
    pub fn stop_at(self, step: u64) -> Self {
        Self { stop_at: step, ..self }
    }

    /// Stops for now after an update at which `stop` returns true.
    #[must_use]
    pub fn stop_when(self, stop: impl Fn() -> bool + 'a) -> Self {
        Self { stop: Box::new(stop), ..self }
    }

    /// Adds an observer.
    #[must_use]
    pub fn observed_by(mut self, observer: impl Observer + 'a) -> Self {
        self.observers.push(Box::new(observer));
        self
    }

    /// Trains from a state, such as [`Run::latest_state`]'s, until the run is finished or told to stop. If it is told
    /// to stop, it writes a checkpoint. [`Run::finished`] says whether it is finished.
    ///
    /// # Errors
    /// If images cannot be loaded, something cannot be written, or a loss that is not finite ends the run.
    pub fn train(self, state: TrainState<T::Model>) -> Result<TrainState<T::Model>, TrainerError> {
        let device = self.device;
        self.train_by(&mut Own(device), state)
    }

    /// [`train`](Self::train) by the given engine.
    pub(crate) fn train_by<E: Engine<T>>(
        self,
        engine: &mut E,
        mut state: TrainState<T::Model>,
    ) -> Result<TrainState<T::Model>, TrainerError> {
        let Self { run, device, tell, stop_at, stop, mut observers } = self;
        if !run.task.prepare(run, &state.model, device, &Aside { tell, stop: &stop })? {
            return Ok(state);
        }
        if state.step == 0 && run.task.needs_pixels() {
            draw_examples(run, device)?;
        }
        let save_every = Duration::from_secs_f64(60.0 * run.settings.eval.checkpoint_minutes);
        let mut progress = Progress::start(run, &state, tell)?;
        let mut updates = run.updates().until(stop_at);
        let mut last_save = Instant::now();
        while !run.finished(state.step)? {
            let step = train_step_by(engine, run, &mut state, &mut updates, device)?;
            let Some(report) = step else { continue };
            let record = progress.update(run, state.step, report, updates.waiting())?;
            state.elapsed_s = record.elapsed_s;
            observers.iter_mut().for_each(|observer| observer.update(&record));
            if progress.evaluation_due(run, state.step) {
                let evaluation = evaluate(run, state.averaged(), state.step, device)?;
                progress.evaluation(&evaluation)?;
                observers.iter_mut().for_each(|observer| observer.evaluation(&evaluation));
            }
            let asked = stop() || observers.iter().any(|observer| observer.stops());
            let stopping = run.ranks().any(asked)? || state.step >= stop_at;
            let overdue = last_save.elapsed() >= save_every;
            if stopping || run.pace.checkpoint_due(state.step) || run.ranks().any(overdue)? {
                run.save(&engine.complete(&state))?;
                last_save = Instant::now();
            }
            if stopping {
                break;
            }
        }
        Ok(engine.complete(&state))
    }
}

/// Evaluates a model after `step` updates, on all ranks, and draws its pictures into the run's folder.
///
/// # Errors
/// If images cannot be read or a picture cannot be written.
pub fn evaluate<T: Task>(
    run: &Run<T>,
    model: &T::Model,
    step: u64,
    device: &Device,
) -> Result<Evaluation, TrainerError> {
    let Measured { val_loss, mut metrics } = run.task.evaluate(run, model, step, device)?;
    // JSON cannot represent a value that is not finite.
    metrics.retain(|_, value| value.is_finite());
    if run.ranks().is_main() {
        run.task.draw(run, model, step, device)?;
    }
    Ok(Evaluation { step, epoch: run.pace.epoch(step), val_loss, metrics })
}
