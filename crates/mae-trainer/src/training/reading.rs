//! Decides when measurements are read and what follows. Only a read waits for an asynchronous device.

use super::measurement::{Measurement, StepReport, mean};
use super::nonfinite::Reaction;
use crate::{Run, Task, TrainerError};

/// What to do with an update whose gradients are computed.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Apply it. Has the measurements since the last read, if now was the time to read them.
    Make(Option<StepReport>),
    /// Leave it out.
    LeaveOut(StepReport),
    /// Go back to the last checkpoint.
    GoBack(StepReport),
}

/// Decides when a run's measurements are read.
///
/// If several updates are made between two reads and one of them is not finite, all updates after it are useless. The
/// run then goes back to its last checkpoint and reads each update until it has passed this point. So it finds the
/// update and handles it like a run that reads every update.
pub(crate) struct Readings {
    /// The measurements since the last read.
    unread: Vec<Measurement>,
    /// Whether nothing has been read yet. The first update is read at once, so that users see something.
    fresh: bool,
    /// Updates before this one are read one by one.
    careful_until: u64,
    /// The number of updates after which the loop stops for now.
    stop_at: u64,
}

impl Readings {
    /// `stop_at` is the number of updates after which the loop stops for now. The measurements are then read.
    pub fn new(stop_at: u64) -> Self {
        Self { unread: Vec::new(), fresh: true, careful_until: 0, stop_at }
    }

    /// Whether measurements are read after `done` updates.
    fn is_time<T: Task>(&self, run: &Run<T>, done: u64) -> bool {
        let pace = &run.pace;
        self.fresh
            || done.is_multiple_of(run.settings.eval.metric_steps)
            || pace.checkpoint_due(done)
            || done == pace.total_steps
            || done == self.stop_at
    }

    /// Reads the measurements since the last read, if there are any.
    fn read(&mut self) -> Option<StepReport> {
        self.fresh = false;
        let unread = std::mem::take(&mut self.unread);
        (!unread.is_empty()).then(|| mean(unread))
    }

    /// Decides about update `step`, counted from 0.
    ///
    /// # Errors
    /// [`TrainerError::NonFinite`], as [`Run::on_nonfinite`].
    pub fn judge<T: Task>(
        &mut self,
        run: &Run<T>,
        step: u64,
        skipped: &mut Vec<u64>,
        measured: Measurement,
    ) -> Result<Verdict, TrainerError> {
        if skipped.contains(&step) {
            // A checkpoint may be written here, so the updates before it must be finite.
            return Ok(match self.read() {
                Some(bad) if !bad.is_finite() => {
                    self.careful_until = step;
                    Verdict::GoBack(bad)
                }
                Some(before) => Verdict::LeaveOut(before),
                None => Verdict::LeaveOut(measured.read()),
            });
        }
        let several = run.settings.eval.metric_steps > 1;
        // If gradients are clipped, clipping has waited for the device already.
        let free = run.settings.optim.clip_grad.is_none();
        if several && free && step >= self.careful_until {
            self.unread.push(measured);
            if !self.is_time(run, step + 1) {
                return Ok(Verdict::Make(None));
            }
            return Ok(match self.read() {
                Some(bad) if !bad.is_finite() => {
                    self.careful_until = step + 1;
                    Verdict::GoBack(bad)
                }
                report => Verdict::Make(report),
            });
        }
        let report = measured.read();
        if report.is_finite() {
            return Ok(Verdict::Make(Some(report)));
        }
        Ok(match run.on_nonfinite(step, report, skipped)? {
            Reaction::Skip => Verdict::LeaveOut(report),
            Reaction::Rollback => Verdict::GoBack(report),
        })
    }
}
