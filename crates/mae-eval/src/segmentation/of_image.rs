//! How good the segmentation of one image is, by which images are sorted.

use super::PixelCounts;
use crate::EvalError;

/// The mean IoU of one image, over the classes that are in its truth or predicted in it; none if all its pixels are ignored.
///
/// # Shapes
/// One label for each pixel in both, in the same order.
///
/// # Errors
/// As [`PixelCounts::new`] and [`PixelCounts::add`].
pub fn image_mean_iou(classes: usize, predicted: &[u16], truth: &[u16]) -> Result<Option<f64>, EvalError> {
    Ok(counted(classes, predicted, truth)?.scores().ok().map(|scores| scores.mean_iou))
}

/// The share of an image's pixels that are predicted right; none if all its pixels are ignored.
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
        // Class 3: two of three; class 7: none of one; the prediction at the ignored pixel takes no part.
        assert_eq!(image_mean_iou(9, &predicted, &truth).unwrap(), Some(1.0 / 3.0));
        assert_eq!(image_pixel_accuracy(9, &predicted, &truth).unwrap(), Some(2.0 / 3.0));
        assert_eq!(image_mean_iou(9, &[0; 2], &[IGNORE_LABEL; 2]).unwrap(), None);
        assert_eq!(image_pixel_accuracy(9, &[], &[]).unwrap(), None);
        assert!(image_mean_iou(3, &predicted, &truth).unwrap_err().to_string().contains("3 at pixel 0"));
    }
}
