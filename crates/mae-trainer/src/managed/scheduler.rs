//! The run's schedule as a learning-rate scheduler of Burn.

use burn::optim::LearningRate;
use burn::optim::lr_scheduler::{LrScheduler, LrSchedulerRecord};

use crate::Schedule;

/// The learning rate of each update in turn.
#[derive(Clone, Debug)]
pub struct RunSchedule {
    schedule: Schedule,
    step: u64,
}

impl RunSchedule {
    /// Begins with update `step`, counted from 0.
    pub fn new(schedule: Schedule, step: u64) -> Self {
        Self { schedule, step }
    }
}

/// The record's key for the position.
const STEP: &str = "step";

impl LrScheduler for RunSchedule {
    fn step(&mut self) -> LearningRate {
        self.step += 1;
        self.schedule.lr(self.step - 1)
    }

    fn to_record(&self) -> LrSchedulerRecord {
        LrSchedulerRecord::new().with_scalar(STEP, self.step)
    }

    fn load_record(&mut self, record: LrSchedulerRecord) {
        if let Some(step) = record.scalar(STEP) {
            self.step = step;
        }
    }
}
