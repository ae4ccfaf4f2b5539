//! When what updates measured is read, and what follows: a device that works ahead is waited for only then.

use super::measurement::{Measurement, StepReport, mean};
use super::nonfinite::Reaction;
use crate::{Run, Task, TrainerError};

/// What becomes of an update whose gradients are computed.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It is made; with what was measured since the last reading, if now was the time to read.
    Make(Option<StepReport>),
    /// It is left out.
    LeaveOut(StepReport),
    /// The state goes back to the last checkpoint.
    GoBack(StepReport),
}

/// When a run's measurements are read.
///
/// Where several updates go between two readings and one of them is not finite, all since then are worth nothing. The
/// run goes back to its last checkpoint and reads each update until it has passed the place, so that the update is found
/// and dealt with as in a run that reads them all.
pub(crate) struct Readings {
    /// Since the last reading.
    unread: Vec<Measurement>,
    /// Whether nothing has been read yet: the first update is read at once, so that something is seen.
    fresh: bool,
    /// Updates before this one are read one by one.
    careful_until: u64,
    /// The number of updates after which the loop stops for now.
    stop_at: u64,
}

impl Readings {
    /// `stop_at` is the number of updates after which the loop stops for now, and has to know where it is.
    pub fn new(stop_at: u64) -> Self {
        Self { unread: Vec::new(), fresh: true, careful_until: 0, stop_at }
    }

    /// Whether what was measured is read when `done` updates are.
    fn is_time<T: Task>(&self, run: &Run<T>, done: u64) -> bool {
        let pace = &run.pace;
        self.fresh
            || done.is_multiple_of(run.settings.eval.metric_steps)
            || pace.checkpoint_due(done)
            || done == pace.total_steps
            || done == self.stop_at
    }

    /// What was measured since the last reading, if anything was.
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
            // A checkpoint may be written here, and the updates before it are to be fit for it.
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
        // Clipping has waited for the device already.
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
