//! What updates measured, when it is read, and what follows: a device that works ahead is waited for only then.

use burn::tensor::Tensor;

use crate::nonfinite::Reaction;
use crate::{Run, Task, TrainerError};

/// What updates measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// The mean loss over the updates' images, on all ranks, each before its update.
    pub loss: f64,
    /// The mean of the gradients' norms over all parameters, before clipping.
    pub grad_norm: f64,
}

impl StepReport {
    /// Whether the updates can be made.
    pub fn is_finite(&self) -> bool {
        self.loss.is_finite() && self.grad_norm.is_finite()
    }
}

/// What an update measured, where it was computed.
#[derive(Clone, Debug)]
pub struct Measurement {
    /// Of each batch, or their mean over all ranks.
    losses: Vec<Tensor<1>>,
    /// The sum of the gradient's squares.
    squares: Tensor<1>,
}

impl Measurement {
    pub(crate) fn new(losses: Vec<Tensor<1>>, squares: Tensor<1>) -> Self {
        Self { losses, squares }
    }

    /// The numbers of this update alone; waits for the device.
    pub fn read(self) -> StepReport {
        mean(vec![self])
    }
}

/// The mean over several updates, by one reading.
fn mean(measured: Vec<Measurement>) -> StepReport {
    let count = measured.len() as f64;
    let batches: Vec<_> = measured.iter().map(|update| update.losses.len()).collect();
    let tensors = measured.into_iter().flat_map(|update| update.losses.into_iter().chain([update.squares]));
    let numbers = Tensor::cat(tensors.collect(), 0).into_data().convert::<f32>();
    let mut numbers = numbers.as_slice::<f32>().expect("converted to f32").iter().map(|x| f64::from(*x));
    let mut sum = StepReport { loss: 0.0, grad_norm: 0.0 };
    for batches in batches {
        sum.loss += numbers.by_ref().take(batches).sum::<f64>() / batches as f64;
        sum.grad_norm += numbers.next().map_or(f64::NAN, f64::sqrt);
    }
    StepReport { loss: sum.loss / count, grad_norm: sum.grad_norm / count }
}

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
