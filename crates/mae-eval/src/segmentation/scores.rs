//! IoU, accuracy and Dice by class and on average, from the confusion matrix over pixels.

use serde::Serialize;

use super::PixelCounts;
use crate::EvalError;

/// The scores of a segmentation, by class and on average; all values are 0 to 1.
///
/// For a class, TP are its correctly predicted pixels, FN its other pixels, and FP the pixels of other classes
/// predicted as it.
///
/// A mean leaves out the classes for which its score is undefined, as in mmseg. torchmetrics (macro average) has the
/// same means except one: for a class that is predicted but has no true pixels, it averages an accuracy of 0. mmseg and
/// this type leave such a class out of the mean accuracy, because a recall over no pixels says nothing. The class
/// lowers the mean IoU and the mean Dice in all three.
///
/// # Source
/// mmseg's `IoUMetric` (`total_area_to_metrics`, the mean that skips NaN); torchmetrics' `MulticlassJaccardIndex`,
/// `MulticlassAccuracy` and `MulticlassF1Score`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SegmentationScores {
    /// The mean of `iou`.
    pub mean_iou: f64,
    /// The mean of `accuracy`.
    pub mean_accuracy: f64,
    /// The mean of `dice`.
    pub mean_dice: f64,
    /// The share of all pixels that are predicted correctly.
    pub pixel_accuracy: f64,
    /// Intersection over union of each class, TP / (TP + FN + FP); `None` if the class is neither in the ground truth
    /// nor predicted.
    pub iou: Vec<Option<f64>>,
    /// Accuracy of each class, also called recall, TP / (TP + FN); `None` if the class is not in the ground truth.
    pub accuracy: Vec<Option<f64>>,
    /// Dice of each class, also called F1, 2 TP / (2 TP + FN + FP); `None` if the class is neither in the ground truth
    /// nor predicted.
    pub dice: Vec<Option<f64>>,
    /// The share of all pixels that truly belong to each class.
    pub share: Vec<f64>,
}

impl PixelCounts {
    /// The scores of the pixels counted so far.
    ///
    /// # Errors
    /// [`EvalError::Argument`] if no pixel was counted, because there was none or all were ignored.
    pub fn scores(&self) -> Result<SegmentationScores, EvalError> {
        let pixels = self.pixels();
        if pixels == 0 {
            return Err(EvalError::argument("the number of pixels with a true class", 0, "at least 1"));
        }
        let ratio = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        let classes: Vec<_> = (0..self.classes()).map(|class| self.of_class(class)).collect();
        let by_class = |score: fn(u64, u64, u64) -> (u64, u64)| -> Vec<Option<f64>> {
            let of_class = |(right, truth, predicted): &(u64, u64, u64)| {
                let (part, whole) = score(*right, *truth, *predicted);
                ratio(part, whole)
            };
            classes.iter().map(of_class).collect()
        };
        let iou = by_class(|right, truth, predicted| (right, truth + predicted - right));
        let accuracy = by_class(|right, truth, _| (right, truth));
        let dice = by_class(|right, truth, predicted| (2 * right, truth + predicted));
        let right: u64 = classes.iter().map(|(right, ..)| right).sum();
        Ok(SegmentationScores {
            mean_iou: mean(&iou),
            mean_accuracy: mean(&accuracy),
            mean_dice: mean(&dice),
            pixel_accuracy: right as f64 / pixels as f64,
            iou,
            accuracy,
            dice,
            share: classes.iter().map(|(_, truth, _)| *truth as f64 / pixels as f64).collect(),
        })
    }
}

/// The mean of the defined scores. There is at least one if a pixel was counted.
fn mean(scores: &[Option<f64>]) -> f64 {
    let known: Vec<f64> = scores.iter().flatten().copied().collect();
    known.iter().sum::<f64>() / known.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::IGNORE_LABEL;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Golden {
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        name: String,
        classes: usize,
        /// Runs of equal pixels: (predicted, true or none, count).
        pixels: Vec<(u16, Option<u16>, usize)>,
        iou: Vec<Option<f64>>,
        accuracy: Vec<Option<f64>>,
        dice: Vec<Option<f64>>,
        mean_iou: f64,
        mean_accuracy: f64,
        torchmetrics_mean_accuracy: f64,
        mean_dice: f64,
        pixel_accuracy: f64,
    }

    impl Case {
        fn labels(&self) -> (Vec<u16>, Vec<u16>) {
            let run = |(predicted, truth, count): &(u16, Option<u16>, usize)| {
                vec![(*predicted, truth.unwrap_or(IGNORE_LABEL)); *count]
            };
            self.pixels.iter().flat_map(run).unzip()
        }
    }

    /// torchmetrics computes in f32, so its values have about 7 digits. In hundredths of a percent, as tables show
    /// them, they are equal.
    fn near(name: &str, ours: f64, theirs: f64) {
        assert!((ours - theirs).abs() < 2e-7, "{name}: {ours}, {theirs}");
        assert_eq!(format!("{:.2}", 100.0 * ours), format!("{:.2}", 100.0 * theirs), "{name}");
    }

    #[test]
    fn measures_as_torchmetrics_and_where_that_differs_as_mmseg() {
        let golden: Golden =
            serde_json::from_str(include_str!("../../tests/golden/segmentation.json")).unwrap();
        let mut differ = 0;
        for case in &golden.cases {
            let (predicted, truth) = case.labels();
            let mut pixels = PixelCounts::new(case.classes).unwrap();
            pixels.add(&predicted, &truth).unwrap();
            let scores = pixels.scores().unwrap();
            let name = &case.name;
            let by_class =
                [(&scores.iou, &case.iou), (&scores.accuracy, &case.accuracy), (&scores.dice, &case.dice)];
            for (ours, theirs) in by_class {
                assert_eq!(ours.len(), theirs.len(), "{name}");
                for (ours, theirs) in ours.iter().zip(theirs) {
                    assert_eq!(ours.is_some(), theirs.is_some(), "{name}");
                    near(name, ours.unwrap_or_default(), theirs.unwrap_or_default());
                }
            }
            near(name, scores.mean_iou, case.mean_iou);
            near(name, scores.mean_accuracy, case.mean_accuracy);
            near(name, scores.mean_dice, case.mean_dice);
            near(name, scores.pixel_accuracy, case.pixel_accuracy);
            // torchmetrics averages an accuracy of 0 for each class that is only predicted.
            let count = |scores: &[Option<f64>]| scores.iter().flatten().count();
            let (in_truth, anywhere) = (count(&scores.accuracy), count(&scores.iou));
            let with_zeros = scores.mean_accuracy * in_truth as f64 / anywhere as f64;
            near(name, with_zeros, case.torchmetrics_mean_accuracy);
            differ += usize::from(in_truth < anywhere);
        }
        assert!(differ > 0 && differ < golden.cases.len(), "cases of both kinds");
    }

    #[test]
    fn a_class_that_is_nowhere_has_no_scores_and_one_that_is_only_predicted_has_no_accuracy() {
        let mut pixels = PixelCounts::new(4).unwrap();
        pixels.add(&[0, 0, 1, 3], &[0, 1, 1, 0]).unwrap();
        let scores = pixels.scores().unwrap();
        assert_eq!(scores.iou, [Some(1.0 / 3.0), Some(0.5), None, Some(0.0)]);
        assert_eq!(scores.accuracy, [Some(0.5), Some(0.5), None, None]);
        assert_eq!(scores.dice, [Some(0.5), Some(2.0 / 3.0), None, Some(0.0)]);
        assert_eq!(scores.share, [0.5, 0.5, 0.0, 0.0]);
        assert_eq!((scores.mean_accuracy, scores.pixel_accuracy), (0.5, 0.5));
        assert!((scores.mean_iou - (1.0 / 3.0 + 0.5) / 3.0).abs() < 1e-15);
    }

    #[test]
    fn pixels_that_are_all_ignored_have_no_scores() {
        let mut pixels = PixelCounts::new(2).unwrap();
        pixels.add(&[0, 1], &[IGNORE_LABEL; 2]).unwrap();
        let error = pixels.scores().unwrap_err().to_string();
        assert_eq!(error, "the number of pixels with a true class is 0, but must be at least 1");
    }
}
