//! Resizing of images to a given shorter side.

use mae_image::{Part, check_size};

use super::geometry::Geometry;
use crate::{AnyImage, DataError};

/// The largest allowed longer side, as a multiple of the requested shorter side.
///
/// # Source
/// mmsegmentation's recipes for ADE20K and Pascal VOC: a scale of (2048, 512).
const LONGEST: usize = 4;

/// The `(height, width)` of an image after resizing its shorter side to `short` times `ratio`. If the longer side would
/// exceed four times that, the longer side is resized to four times that instead. Without `short`, both sides are
/// multiplied by `ratio`.
///
/// # Source
/// mmcv `rescale_size` for a scale of (4 `short` `ratio`, `short` `ratio`), or for a factor. Sides are rounded, halves
/// up.
pub fn scaled_size((height, width): (usize, usize), short: Option<usize>, ratio: f64) -> (usize, usize) {
    let Some(short) = short else {
        return (times(height, ratio), times(width, ratio));
    };
    // mmcv truncates the scaled scale to integers.
    let [short, long] = [short, LONGEST * short].map(|side| ((side as f64 * ratio) as usize).max(1) as f64);
    let factor = (short / height.min(width) as f64).min(long / height.max(width) as f64);
    (times(height, factor), times(width, factor))
}

/// Multiplies a side by `factor` and rounds it, to at least 1 pixel.
fn times(side: usize, factor: f64) -> usize {
    ((side as f64 * factor + 0.5) as usize).max(1)
}

/// Resizes an image to `(height, width)`, bilinear and antialiased, as [`SegmentTransform`](crate::SegmentTransform)
/// does.
///
/// # Shapes
/// `[H, W, C]` to `[height, width, C]`
///
/// # Errors
/// [`DataError::Image`] for a size with a 0.
///
/// # Source
/// torchvision v2 `resize` on Pillow images: the same bytes. Pixel types wider than a byte follow Pillow's mode `F`,
/// with integers rounded.
pub fn resize_to(image: AnyImage, (height, width): (usize, usize)) -> Result<AnyImage, DataError> {
    check_size((height, width))?;
    let from = (image.height(), image.width());
    if from == (height, width) {
        return Ok(image);
    }
    Ok(Geometry::new(from, (height, width), (height, width)).shown(&Part::whole(image)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes from mmcv's `rescale_size((w, h), (2048, 512) scaled, ...)`.
    #[test]
    fn sizes_are_those_of_mmcv() {
        assert_eq!(scaled_size((375, 500), Some(512), 1.0), (512, 683));
        assert_eq!(scaled_size((500, 375), Some(512), 1.0), (683, 512));
        assert_eq!(scaled_size((100, 1000), Some(512), 1.0), (205, 2048));
        assert_eq!(scaled_size((375, 500), Some(512), 0.5), (256, 341));
        assert_eq!(scaled_size((3, 10_000), Some(8), 1.0), (1, 32));
        assert_eq!(scaled_size((3, 101), None, 0.5), (2, 51));
    }
}
