//! What happens when a loss or a gradient is not finite.

use std::path::Path;

use mae_data::Batch;
use serde::{Deserialize, Serialize};

use crate::{Run, StepReport, Task, TrainerError};
use mae_report::write_atomic;

/// What a run does with an update whose loss or gradient is infinite or not a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum OnNan {
    /// It ends; the last checkpoint is good.
    #[default]
    Stop,
    /// It goes on without that update.
    Skip,
    /// It goes back to the last checkpoint, and leaves that update out when it comes to it again.
    Rollback,
}

/// How the loop goes on.
pub(crate) enum Reaction {
    /// With the next update.
    Skip,
    /// From the last checkpoint.
    Rollback,
}

/// What is written of such an update.
#[derive(Serialize)]
struct Offence<'a> {
    step: u64,
    epoch: u64,
    /// `null` where not finite.
    loss: f64,
    grad_norm: f64,
    lr: f64,
    files: Vec<String>,
    /// By channel, over all images of the update, 0 to 255.
    pixels: Vec<Channel>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    skipped_before: &'a [u64],
}

#[derive(Serialize)]
struct Channel {
    min: u8,
    max: u8,
    mean: f64,
}

impl<T: Task> Run<T> {
    /// Writes down an update that cannot be made and says how to go on; adds it to those `skipped`.
    ///
    /// # Errors
    /// [`TrainerError::NonFinite`] where the recipe says to stop, or `max_nan` updates have been left out already.
    pub(crate) fn on_nonfinite(
        &self,
        step: u64,
        report: StepReport,
        skipped: &mut Vec<u64>,
    ) -> Result<Reaction, TrainerError> {
        let path = self.path(&format!("nan-step-{:09}.json", step + 1));
        if self.ranks().is_main() {
            self.write_offence(&path, step, report, skipped)?;
        }
        // A rank that stops ends the main one, which is to have written first.
        self.ranks().barrier()?;
        let optim = &self.settings.optim;
        let reaction = match optim.on_nan {
            OnNan::Stop => None,
            _ if skipped.len() as u64 >= optim.max_nan => None,
            OnNan::Skip => Some(Reaction::Skip),
            OnNan::Rollback => Some(Reaction::Rollback),
        };
        let stop = TrainerError::NonFinite {
            loss: report.loss,
            grad_norm: report.grad_norm,
            step: step + 1,
            skipped: skipped.len(),
            path,
            checkpoint: self.last_checkpoint()?,
        };
        skipped.push(step);
        reaction.ok_or(stop)
    }

    fn write_offence(
        &self,
        path: &Path,
        step: u64,
        report: StepReport,
        skipped: &[u64],
    ) -> Result<(), TrainerError> {
        // The images are those that the loss was taken of: they are a function of the step.
        let batches = self.whole_update(step)?;
        let names =
            |batch: &Batch| -> Vec<_> { batch.indices.iter().map(|i| self.data.train.name(*i)).collect() };
        let offence = Offence {
            step: step + 1,
            epoch: self.pace.position(step).0,
            loss: report.loss,
            grad_norm: report.grad_norm,
            lr: self.pace.schedule.lr(step),
            files: batches.iter().flat_map(names).collect(),
            pixels: channels(batches.iter().map(|batch| (batch.images.as_slice(), batch.shape))),
            skipped_before: skipped,
        };
        Ok(write_atomic(path, |file| Ok(serde_json::to_writer_pretty(file, &offence)?))?)
    }
}

fn channels<'a>(batches: impl Iterator<Item = (&'a [u8], [usize; 4])>) -> Vec<Channel> {
    let mut counts: Vec<[u64; 256]> = Vec::new();
    for (bytes, [_, channels, height, width]) in batches {
        counts.resize(channels, [0; 256]);
        for (plane, bytes) in bytes.chunks(height * width).enumerate() {
            bytes.iter().for_each(|byte| counts[plane % channels][usize::from(*byte)] += 1);
        }
    }
    let values = || (0..=u8::MAX).rev();
    let channel = |counts: &[u64; 256]| {
        let seen = |value: &u8| counts[usize::from(*value)] > 0;
        let total: u64 = counts.iter().sum();
        let sum: u64 = counts.iter().zip(0..).map(|(count, value)| count * value).sum();
        Channel {
            min: values().rev().find(seen).unwrap_or(0),
            max: values().find(seen).unwrap_or(0),
            mean: sum as f64 / total.max(1) as f64,
        }
    };
    counts.iter().map(channel).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_told_apart() {
        let batch: Vec<u8> = vec![0, 10, 200, 255, 3, 5, 7, 7];
        let found = channels([(batch.as_slice(), [2, 2, 1, 2])].into_iter());
        assert_eq!((found[0].min, found[0].max, found[0].mean), (0, 10, 4.5));
        assert_eq!((found[1].min, found[1].max), (7, 255));
        assert_eq!(found[1].mean, (200.0 + 255.0 + 7.0 + 7.0) / 4.0);
    }
}
