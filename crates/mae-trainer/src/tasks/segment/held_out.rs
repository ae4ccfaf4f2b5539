//! Evaluates a segmenter on held-out images.

use burn::tensor::Device;
use mae_data::{BadFile, load_with_map};
use mae_eval::{PixelCounts, SegmentationScores, image_mean_iou};
use mae_model::Segmenter;

use super::inference::{SegmentationPass, most_probable};
use super::loss::Truth;
use crate::TrainerError;
use crate::context::Context;

/// The measurements on held-out images, on every rank.
pub(super) struct HeldOut {
    /// The number of updates before the evaluation.
    pub(super) step: u64,
    pub(super) counts: PixelCounts,
    pub(super) scores: SegmentationScores,
    /// The mean cross entropy of pixels.
    pub(super) loss: f64,
    /// The index of each image and the mean IoU of its classes, the worst first.
    pub(super) images: Vec<(usize, f64)>,
}

impl HeldOut {
    /// Measures a model on all held-out images, each at its own size, on all ranks.
    ///
    /// # Errors
    /// If a label map is wrong, no image can be read, or another rank does not answer.
    pub(super) fn measure(
        context: &Context,
        pass: &SegmentationPass,
        model: &Segmenter,
        step: u64,
        device: &Device,
    ) -> Result<Self, TrainerError> {
        let (set, ranks, classes) =
            (context.data.all_held_out()?, context.ranks(), model.config().classes.len());
        let (mut counts, mut loss, mut pixels) = (PixelCounts::new(classes)?, 0.0, 0.0);
        let (mut images, mut bad) = (Vec::new(), Vec::new());
        for &index in set.indices.iter().skip(ranks.rank()).step_by(ranks.size()) {
            let (image, map) = match load_with_map(set.source.as_ref(), index) {
                Ok(both) => both,
                // As in training, an unreadable image is left out, but a wrong label map is an error.
                Err(error) if !context.common.data.strict && !error.is_of_label_maps() => {
                    let (name, reason) = (set.source.name(index), crate::chain(&error));
                    bad.push(BadFile { index, name, reason });
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let probabilities = pass.probabilities(model, &image)?;
            let truth = Truth::new(map.labels(), [1, map.height(), map.width()], device);
            let (of_image, counted) = truth.surprisal(probabilities.clone());
            (loss, pixels) = (loss + of_image, pixels + counted);
            let predicted = most_probable(probabilities)?;
            counts.add(predicted.data(), map.labels())?;
            // An image whose pixels are all ignored is not among the worst.
            let score = image_mean_iou(classes, predicted.data(), map.labels())?.unwrap_or(1.0);
            images.push((index, score));
        }
        context.log_bad_files(bad)?;
        let numbers =
            |counts: &PixelCounts| counts.counts().iter().map(|count| *count as f64).collect::<Vec<_>>();
        let sums = ranks.gather_numbers(&[numbers(&counts), vec![loss, pixels]].concat())?;
        let images: Vec<_> = images.into_iter().flat_map(|(index, score)| [index as f64, score]).collect();
        let images = ranks.gather_numbers(&images)?.concat();
        let sum = |at: usize| sums.iter().map(|numbers| numbers[at]).sum::<f64>();
        let counted = (0..classes * classes).map(|at| sum(at) as u64).collect();
        let mut images: Vec<_> =
            images.as_chunks::<2>().0.iter().map(|[index, score]| (*index as usize, *score)).collect();
        if images.is_empty() {
            return Err(TrainerError::argument("the number of images that can be read", 0, "at least 1"));
        }
        images.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        let loss = sum(classes * classes) / sum(classes * classes + 1).max(1.0);
        let counts = PixelCounts::from_counts(classes, counted)?;
        Ok(Self { step, scores: counts.scores()?, counts, loss, images })
    }
}
