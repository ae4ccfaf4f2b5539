//! What happens when a loss or a gradient is not finite.

use std::path::Path;

use mae_data::Batch;
use mae_vit::Normalize;
use serde::{Deserialize, Serialize};

use crate::{Run, StepReport, Task, TrainerError};
use mae_report::write_atomic;

/// What a run does if the loss or gradient of an update is infinite or NaN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum OnNan {
    /// Stop the run; the last checkpoint is good.
    #[default]
    Stop,
    /// Skip the update and continue.
    Skip,
    /// Go back to the last checkpoint, and skip the update when the run reaches it again.
    Rollback,
}

/// How the training loop continues.
pub(crate) enum Reaction {
    /// With the next update.
    Skip,
    /// From the last checkpoint.
    Rollback,
}

/// The report of such an update.
#[derive(Serialize)]
struct Offence<'a> {
    step: u64,
    epoch: u64,
    /// `null` if it is not finite.
    loss: f64,
    grad_norm: f64,
    lr: f64,
    files: Vec<String>,
    /// The pixel values of each channel over all images of the update, as they are stored: 0 to 255 for 8-bit images.
    /// Values that are not finite are left out.
    pixels: Vec<Channel>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    skipped_before: &'a [u64],
}

#[derive(Serialize)]
struct Channel {
    min: f32,
    max: f32,
    mean: f64,
}

impl<T: Task> Run<T> {
    /// Writes a report of an update that cannot be applied, adds it to `skipped`, and returns how to continue.
    ///
    /// # Errors
    /// [`TrainerError::NonFinite`] if the recipe says to stop, or if `max_nan` updates have been left out already.
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
        // A rank that stops also ends the main rank, which must have written the report before.
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
        // These are the images of this loss, because an update's images are a function of the step.
        let batches = self.whole_update(step)?;
        let names =
            |batch: &Batch| -> Vec<_> { batch.indices.iter().map(|i| self.samples.name(*i)).collect() };
        let offence = Offence {
            step: step + 1,
            epoch: self.pace.position(step).0,
            loss: report.loss,
            grad_norm: report.grad_norm,
            lr: self.pace.schedule.lr(step),
            files: batches.iter().flat_map(names).collect(),
            pixels: channels(&batches, &self.settings.data.normalize),
            skipped_before: skipped,
        };
        Ok(write_atomic(path, |file| Ok(serde_json::to_writer_pretty(file, &offence)?))?)
    }
}

fn channels(batches: &[Batch], normalize: &Normalize) -> Vec<Channel> {
    let mut channels: Vec<(Channel, u64)> = Vec::new();
    for Batch { images, shape: [_, count, height, width], .. } in batches {
        let none = || (Channel { min: f32::INFINITY, max: f32::NEG_INFINITY, mean: 0.0 }, 0);
        channels.resize_with(*count, none);
        for (plane, pixels) in normalize.pixels(images).chunks(height * width).enumerate() {
            let (channel, seen) = &mut channels[plane % count];
            for pixel in pixels.iter().copied().filter(|pixel| pixel.is_finite()) {
                (channel.min, channel.max) = (channel.min.min(pixel), channel.max.max(pixel));
                // This is the sum until it is divided below.
                channel.mean += f64::from(pixel);
                *seen += 1;
            }
        }
    }
    let mean =
        |(channel, seen): (Channel, u64)| Channel { mean: channel.mean / seen.max(1) as f64, ..channel };
    channels.into_iter().map(mean).collect()
}

#[cfg(test)]
mod tests {
    use mae_data::PixelType;

    use super::*;

    #[test]
    fn channels_are_told_apart() {
        let batch = Batch {
            images: vec![0, 10, 200, 255, 3, 5, 7, 7],
            pixel_type: PixelType::U8,
            shape: [2, 2, 1, 2],
            indices: vec![0, 1],
            passes: vec![0, 0],
            labels: None,
            maps: None,
        };
        let found = channels(&[batch], &Normalize::half(2));
        assert_eq!((found[0].min, found[0].max, found[0].mean), (0.0, 10.0, 4.5));
        assert_eq!((found[1].min, found[1].max), (7.0, 255.0));
        assert_eq!(found[1].mean, (200.0 + 255.0 + 7.0 + 7.0) / 4.0);
    }
}
