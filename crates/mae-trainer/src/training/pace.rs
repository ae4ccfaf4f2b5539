//! How a run goes through its data: updates, epochs, and when evaluations and checkpoints are due.

use super::schedule::{Schedule, ScheduleConfig};
use crate::{DataSettings, EvalSettings, OptimSettings, TrainSettings, TrainerError};

/// The updates of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Passes over the data set.
    pub epochs: u64,
    /// Updates per epoch. A remainder that does not fill an update is left out, or filled up.
    pub steps_per_epoch: u64,
    /// Updates in all.
    pub total_steps: u64,
    /// Images per update, on all ranks together.
    pub effective_batch: usize,
    /// The learning rate at each update.
    pub schedule: Schedule,
    /// Updates from one evaluation to the next.
    pub evaluation_steps: u64,
    /// Whether the first epoch ends with an evaluation too.
    pub first_epoch: bool,
    /// Updates from one checkpoint to the next, unless checkpoints are due by time alone.
    pub checkpoint_steps: Option<u64>,
}

impl Pace {
    /// Computes the values from the settings.
    ///
    /// # Errors
    /// If a rate or a number of epochs is out of bounds.
    pub(crate) fn new(
        train: &TrainSettings,
        data: &DataSettings,
        optim: &OptimSettings,
        eval: &EvalSettings,
    ) -> Result<Self, TrainerError> {
        let effective_batch = train.batch_size.saturating_mul(train.accum_iter).saturating_mul(train.ranks);
        let samples = data.images.saturating_mul(data.crops_per_image).saturating_mul(data.repeats);
        let steps_per_epoch = match data.drop_last {
            true => samples / effective_batch.max(1),
            false => samples.div_ceil(effective_batch.max(1)),
        } as u64;
        let total_steps = train.epochs.saturating_mul(steps_per_epoch);
        let schedule = Schedule::new(&ScheduleConfig {
            base_lr: optim.base_lr,
            effective_batch,
            warmup_steps: (optim.warmup_epochs * steps_per_epoch as f64).round() as u64,
            total_steps,
            min_lr: optim.min_lr,
            decay: optim.schedule,
        })?;
        Ok(Self {
            epochs: train.epochs,
            steps_per_epoch,
            total_steps,
            effective_batch,
            schedule,
            evaluation_steps: eval.every_epochs.saturating_mul(steps_per_epoch),
            first_epoch: eval.first_epoch,
            checkpoint_steps: eval.checkpoint_steps,
        })
    }

    /// (epoch, update within the epoch) of update `step`, all counted from 0.
    pub fn position(&self, step: u64) -> (u64, u64) {
        (step / self.steps_per_epoch, step % self.steps_per_epoch)
    }

    /// Checks that the run does not end before the update that it has reached. Otherwise it would never finish, and new
    /// checkpoints would replace its old ones.
    pub(crate) fn check_reached(&self, step: u64) -> Result<(), TrainerError> {
        let Self { epochs, steps_per_epoch, total_steps, .. } = *self;
        if step <= total_steps {
            return Ok(());
        }
        let least = step.div_ceil(steps_per_epoch);
        let bound =
            format!("at least {least}: the run has already done {step} updates, {steps_per_epoch} per epoch");
        Err(TrainerError::argument("epochs", format!("{epochs} ({total_steps} updates)"), bound))
    }

    /// Converts a number of updates to epochs.
    pub fn epoch(&self, step: u64) -> f64 {
        step as f64 / self.steps_per_epoch as f64
    }

    /// Whether to evaluate and draw the model after `step` updates: every few epochs, at the end, and after the first
    /// epoch unless the recipe says otherwise.
    pub fn evaluation_due(&self, step: u64) -> bool {
        step == self.total_steps
            || step.is_multiple_of(self.evaluation_steps)
            || self.first_epoch && step == self.steps_per_epoch
    }

    /// Whether a checkpoint is due after `step` updates: as often as the recipe says, and with every evaluation, since
    /// the model may be the best.
    pub fn checkpoint_due(&self, step: u64) -> bool {
        self.evaluation_due(step) || self.checkpoint_steps.is_some_and(|every| step.is_multiple_of(every))
    }
}
