//! The confusion matrix over pixels, streamed image by image and summed over processes.

use crate::EvalError;

/// The true label of pixels that take no part in any score.
pub const IGNORE_LABEL: u16 = u16::MAX;

/// A confusion matrix: how many pixels of each true class are predicted as each class.
///
/// Memory depends only on the number of classes: images are added one by one, in any order. If each process adds a part
/// of the images, sum their [`counts`](Self::counts) and build the total with [`from_counts`](Self::from_counts).
///
/// ```
/// use mae_eval::{IGNORE_LABEL, PixelCounts};
///
/// let mut pixels = PixelCounts::new(2)?;
/// pixels.add(&[0, 0, 1, 1], &[0, 1, 1, IGNORE_LABEL])?;
/// assert_eq!(pixels.counts(), [1, 0, 1, 1]);
/// assert_eq!(pixels.scores()?.mean_iou, 0.5);
/// # Ok::<(), mae_eval::EvalError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PixelCounts {
    classes: usize,
    counts: Vec<u64>,
}

impl PixelCounts {
    /// Creates a matrix without any pixels.
    ///
    /// # Errors
    /// [`EvalError::Argument`] unless there are 2 to 65535 classes: [`IGNORE_LABEL`] is not a class.
    pub fn new(classes: usize) -> Result<Self, EvalError> {
        check_classes(classes)?;
        Ok(Self { classes, counts: vec![0; classes * classes] })
    }

    /// Wraps existing counts, such as a sum over processes.
    ///
    /// # Shapes
    /// `counts` `[classes, classes]`: rows are true classes, columns predicted ones.
    ///
    /// # Errors
    /// [`EvalError::Argument`] as for [`new`](Self::new), or if `counts` has another length.
    pub fn from_counts(classes: usize, counts: Vec<u64>) -> Result<Self, EvalError> {
        check_classes(classes)?;
        if counts.len() != classes * classes {
            let bound = format!("{}, one for each pair of the {classes} classes", classes * classes);
            return Err(EvalError::argument("the number of pixel counts", counts.len(), bound));
        }
        Ok(Self { classes, counts })
    }

    /// Counts the pixels of an image, or of any part of one.
    ///
    /// # Shapes
    /// One label for each pixel in both, in the same order.
    ///
    /// # Errors
    /// [`EvalError::Argument`] if the lengths differ, if a prediction is not a class, or if a true label is neither a
    /// class nor [`IGNORE_LABEL`]. Then nothing is counted.
    pub fn add(&mut self, predicted: &[u16], truth: &[u16]) -> Result<(), EvalError> {
        if predicted.len() != truth.len() {
            let bound = format!("{}, one for each true label", truth.len());
            return Err(EvalError::argument("the number of predicted labels", predicted.len(), bound));
        }
        let classes = self.classes;
        let is_class = |label: u16| usize::from(label) < classes;
        let refused = |name, labels: &[u16], pixel: usize, also: &str| {
            let value = format!("{} at pixel {pixel}", labels[pixel]);
            EvalError::argument(name, value, format!("below the {classes} classes{also}"))
        };
        if let Some(pixel) = predicted.iter().position(|label| !is_class(*label)) {
            return Err(refused("a predicted label", predicted, pixel, ""));
        }
        if let Some(pixel) = truth.iter().position(|label| !is_class(*label) && *label != IGNORE_LABEL) {
            let also = format!(", or {IGNORE_LABEL} to be ignored");
            return Err(refused("a true label", truth, pixel, &also));
        }
        for (predicted, truth) in predicted.iter().zip(truth) {
            if *truth != IGNORE_LABEL {
                self.counts[usize::from(*truth) * classes + usize::from(*predicted)] += 1;
            }
        }
        Ok(())
    }

    /// Adds the counts of another matrix.
    ///
    /// # Errors
    /// [`EvalError::Argument`] if the numbers of classes differ.
    pub fn merge(&mut self, other: &Self) -> Result<(), EvalError> {
        if other.classes != self.classes {
            let bound = format!("{} as in the counts so far", self.classes);
            return Err(EvalError::argument("the number of classes", other.classes, bound));
        }
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, other)| *count += other);
        Ok(())
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The confusion matrix.
    ///
    /// # Shapes
    /// `[classes, classes]`: rows are true classes, columns predicted ones.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The number of pixels counted, without ignored ones.
    pub fn pixels(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The correctly predicted pixels of a class, its true pixels, and the pixels predicted as it.
    pub(super) fn of_class(&self, class: usize) -> (u64, u64, u64) {
        let row = &self.counts[class * self.classes..][..self.classes];
        let column = self.counts[class..].iter().step_by(self.classes);
        (row[class], row.iter().sum(), column.sum())
    }
}

fn check_classes(classes: usize) -> Result<(), EvalError> {
    match (2..=usize::from(IGNORE_LABEL)).contains(&classes) {
        true => Ok(()),
        false => Err(EvalError::argument("the number of classes", classes, format!("2 to {IGNORE_LABEL}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CLASSES: u16 = 5;

    fn counted(predicted: &[u16], truth: &[u16]) -> PixelCounts {
        let mut pixels = PixelCounts::new(CLASSES.into()).unwrap();
        pixels.add(predicted, truth).unwrap();
        pixels
    }

    /// Pixels as (predicted, true), some of which are ignored.
    fn pixels() -> impl Strategy<Value = Vec<(u16, u16)>> {
        let truth = prop_oneof![4 => 0..CLASSES, 1 => Just(IGNORE_LABEL)];
        prop::collection::vec((0..CLASSES, truth), 1..200)
    }

    proptest! {
        #[test]
        fn a_whole_is_the_sum_of_its_parts(pixels in pixels(), share in 0.0..1.0) {
            let (predicted, truth): (Vec<u16>, Vec<u16>) = pixels.into_iter().unzip();
            let at = (share * truth.len() as f64) as usize;
            let whole = counted(&predicted, &truth);
            let mut streamed = counted(&predicted[..at], &truth[..at]);
            streamed.add(&predicted[at..], &truth[at..]).unwrap();
            prop_assert_eq!(&streamed, &whole);
            let mut merged = counted(&predicted[at..], &truth[at..]);
            merged.merge(&counted(&predicted[..at], &truth[..at])).unwrap();
            prop_assert_eq!(&merged, &whole);
            let again = PixelCounts::from_counts(whole.classes(), whole.counts().to_vec()).unwrap();
            prop_assert_eq!(again, whole.clone());
            let labelled = truth.iter().filter(|label| **label != IGNORE_LABEL).count();
            prop_assert_eq!(whole.pixels(), labelled as u64);
        }

        #[test]
        fn pixels_may_come_in_any_order_and_classes_may_be_renamed(
            pixels in pixels(),
            order in Just((0..CLASSES).collect::<Vec<_>>()).prop_shuffle(),
            seed in 0..1000_usize,
        ) {
            let mut turned = pixels.clone();
            turned.rotate_left(seed % pixels.len());
            turned.reverse();
            let renamed = |label: u16| order.get(usize::from(label)).copied().unwrap_or(label);
            let [(predicted, truth), (turned_predicted, turned_truth)]: [(Vec<u16>, Vec<u16>); 2] =
                [pixels, turned].map(|pixels| pixels.into_iter().unzip());
            let counts = counted(&predicted, &truth);
            prop_assert_eq!(&counted(&turned_predicted, &turned_truth), &counts);
            let [predicted, truth] = [predicted, truth].map(|labels| labels.into_iter().map(renamed).collect::<Vec<_>>());
            let other = counted(&predicted, &truth);
            for (class, renamed) in order.iter().enumerate() {
                prop_assert_eq!(other.of_class(usize::from(*renamed)), counts.of_class(class));
            }
        }
    }

    #[test]
    fn refuses_what_does_not_fit_together_and_counts_nothing_of_it() {
        let error = |classes| PixelCounts::new(classes).unwrap_err().to_string();
        assert_eq!(error(1), "the number of classes is 1, but must be 2 to 65535");
        assert_eq!(error(65536), "the number of classes is 65536, but must be 2 to 65535");
        let error = PixelCounts::from_counts(2, vec![0; 3]).unwrap_err().to_string();
        assert_eq!(
            error,
            "the number of pixel counts is 3, but must be 4, one for each pair of the 2 classes"
        );
        let mut pixels = PixelCounts::new(2).unwrap();
        let mut message =
            |predicted: &[u16], truth: &[u16]| pixels.add(predicted, truth).unwrap_err().to_string();
        assert_eq!(
            message(&[0], &[0, 1]),
            "the number of predicted labels is 1, but must be 2, one for each true label"
        );
        assert_eq!(
            message(&[0, 2], &[0, IGNORE_LABEL]),
            "a predicted label is 2 at pixel 1, but must be below the 2 classes"
        );
        assert_eq!(
            message(&[0, 0, 1], &[1, IGNORE_LABEL, 255]),
            "a true label is 255 at pixel 2, but must be below the 2 classes, or 65535 to be ignored"
        );
        let error = pixels.merge(&PixelCounts::new(3).unwrap()).unwrap_err().to_string();
        assert_eq!(error, "the number of classes is 3, but must be 2 as in the counts so far");
        assert_eq!(pixels.pixels(), 0);
    }
}
