//! Scores of the segmentation of one image, by which images are ranked.

use super::PixelCounts;
use crate::EvalError;

/// The mean IoU of one image, over the classes that are in its ground truth or prediction; `None` if all its pixels are
/// ignored.
///
/// # Shapes
/// One label for each pixel in both, in the same order.
///
/// # Errors
/// As [`PixelCounts::new`] and [`PixelCounts::add`].
pub fn image_mean_iou(classes: usize, predicted: &[u16], truth: &[u16]) -> Result<Option<f64>, EvalError> {
    Ok(counted(classes, predicted, truth)?.scores().ok().map(|scores| scores.mean_iou))
}

/// The share of an image's pixels that are predicted correctly; `None` if all its pixels are ignored.
///
/// # Shapes
/// One label for each pixel in both, in the same order.
///
/// # Errors
/// As [`PixelCounts::new`] and [`PixelCounts::add`].
pub fn image_pixel_accuracy(
    classes: usize,
    predicted: &[u16],
    truth: &[u16],
) -> Result<Option<f64>, EvalError> {
    Ok(counted(classes, predicted, truth)?.scores().ok().map(|scores| scores.pixel_accuracy))
}

fn counted(classes: usize, predicted: &[u16], truth: &[u16]) -> Result<PixelCounts, EvalError> {
    let mut pixels = PixelCounts::new(classes)?;
    pixels.add(predicted, truth)?;
    Ok(pixels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::IGNORE_LABEL;

    #[test]
    fn an_image_counts_its_own_classes_alone() {
        let (predicted, truth) = ([3, 3, 3, 7], [3, 3, 7, IGNORE_LABEL]);
        // Class 3 has IoU 2/3, and class 7 has 0/1; the prediction at the ignored pixel does not count.
        assert_eq!(image_mean_iou(9, &predicted, &truth).unwrap(), Some(1.0 / 3.0));
        assert_eq!(image_pixel_accuracy(9, &predicted, &truth).unwrap(), Some(2.0 / 3.0));
        assert_eq!(image_mean_iou(9, &[0; 2], &[IGNORE_LABEL; 2]).unwrap(), None);
        assert_eq!(image_pixel_accuracy(9, &[], &[]).unwrap(), None);
        assert!(image_mean_iou(3, &predicted, &truth).unwrap_err().to_string().contains("3 at pixel 0"));
    }
}
