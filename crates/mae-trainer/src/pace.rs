//! How a job goes through its data: updates, epochs, and what is due when.

use std::path::PathBuf;
use std::sync::Arc;

use crate::schedule::{Schedule, ScheduleConfig};
use crate::{Collective, TrainerError};

/// What a [`Pace`] is made from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PaceConfig {
    pub(crate) epochs: u64,
    pub(crate) warmup_epochs: f64,
    pub(crate) base_lr: f64,
    pub(crate) min_lr: f64,
    /// Images, or crops of them, in an epoch.
    pub(crate) samples: usize,
    pub(crate) effective_batch: usize,
    pub(crate) drop_last: bool,
    pub(crate) every_epochs: u64,
    pub(crate) checkpoint_steps: Option<u64>,
}

/// The updates of a training job.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Passes over the data set.
    pub epochs: u64,
    /// Updates to an epoch; a rest that fills no update is left out, or filled up.
    pub steps_per_epoch: u64,
    /// Updates in all.
    pub total_steps: u64,
    /// Images to an update, on all ranks together.
    pub effective_batch: usize,
    /// The learning rate at each update.
    pub schedule: Schedule,
    /// Updates from one evaluation to the next.
    pub evaluation_steps: u64,
    /// Updates from one checkpoint to the next, where not by time alone.
    pub checkpoint_steps: Option<u64>,
}

impl Pace {
    pub(crate) fn new(config: &PaceConfig) -> Result<Self, TrainerError> {
        let &PaceConfig { epochs, effective_batch, samples, .. } = config;
        let steps_per_epoch = match config.drop_last {
            true => samples / effective_batch.max(1),
            false => samples.div_ceil(effective_batch.max(1)),
        } as u64;
        let total_steps = epochs.saturating_mul(steps_per_epoch);
        let schedule = Schedule::new(&ScheduleConfig {
            base_lr: config.base_lr,
            effective_batch,
            warmup_steps: (config.warmup_epochs * steps_per_epoch as f64).round() as u64,
            total_steps,
            min_lr: config.min_lr,
        })?;
        Ok(Self {
            epochs,
            steps_per_epoch,
            total_steps,
            effective_batch,
            schedule,
            evaluation_steps: config.every_epochs.saturating_mul(steps_per_epoch),
            checkpoint_steps: config.checkpoint_steps,
        })
    }

    /// (epoch, update within the epoch) of an update counted from 0.
    pub fn position(&self, step: u64) -> (u64, u64) {
        (step / self.steps_per_epoch, step % self.steps_per_epoch)
    }

    /// Checks that the job does not end before the update that it has reached: it would never come to its end, and its
    /// checkpoints would go for others.
    pub(crate) fn check_reached(&self, step: u64) -> Result<(), TrainerError> {
        let Self { epochs, steps_per_epoch, total_steps, .. } = *self;
        if step <= total_steps {
            return Ok(());
        }
        let least = step.div_ceil(steps_per_epoch);
        let bound = format!(
            "at least {least}: the run has done {step} updates already, {steps_per_epoch} to an epoch"
        );
        Err(TrainerError::argument("epochs", format!("{epochs} ({total_steps} updates)"), bound))
    }

    /// How many epochs so many updates are.
    pub fn epoch(&self, step: u64) -> f64 {
        step as f64 / self.steps_per_epoch as f64
    }

    /// Whether the model is to be evaluated and drawn: every so many epochs, and at the end.
    pub fn evaluation_due(&self, step: u64) -> bool {
        step == self.total_steps || step.is_multiple_of(self.evaluation_steps)
    }

    /// Whether a checkpoint is due by the number of updates done: where the recipe says so, and with every evaluation,
    /// since it may be the best.
    pub fn checkpoint_due(&self, step: u64) -> bool {
        self.evaluation_due(step) || self.checkpoint_steps.is_some_and(|every| step.is_multiple_of(every))
    }
}

/// A job that is trained, as its records and progress lines see it.
pub trait Job {
    /// A path in its folder.
    fn path(&self, name: &str) -> PathBuf;

    /// How it goes through its data.
    fn pace(&self) -> &Pace;

    /// The processes that share it.
    fn ranks(&self) -> &Arc<dyn Collective>;

    /// Files that could not be read and were replaced, once each.
    fn bad_files(&self) -> Vec<mae_data::BadFile>;
}
