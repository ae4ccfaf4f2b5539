//! How large an image becomes whose shorter side is given, and resizing it.

use mae_image::{Part, check_size};

use super::geometry::Geometry;
use crate::{AnyImage, DataError};

/// The longer side may be this many times the shorter one that is asked for.
///
/// # Source
/// mmsegmentation's recipes for ADE20K and Pascal VOC: a scale of (2048, 512).
const LONGEST: usize = 4;

/// The `(height, width)` of an image whose shorter side becomes `short` times `ratio`, unless its longer side would then have more than
/// four times that: the image then is so large that it has. Without `short`, both sides are multiplied by `ratio`.
///
/// # Source
/// mmcv `rescale_size` of a scale of (4 `short` `ratio`, `short` `ratio`), or of a factor: sides are rounded, halves up.
pub fn scaled_size((height, width): (usize, usize), short: Option<usize>, ratio: f64) -> (usize, usize) {
    let Some(short) = short else {
        return (times(height, ratio), times(width, ratio));
    };
    // mmcv cuts fractions of the scaled scale off.
    let [short, long] = [short, LONGEST * short].map(|side| ((side as f64 * ratio) as usize).max(1) as f64);
    let factor = (short / height.min(width) as f64).min(long / height.max(width) as f64);
    (times(height, factor), times(width, factor))
}

/// A side of at least a pixel.
fn times(side: usize, factor: f64) -> usize {
    ((side as f64 * factor + 0.5) as usize).max(1)
}

/// Resizes an image to `(height, width)`, bilinear and antialiased, as [`SegmentTransform`](crate::SegmentTransform) does.
///
/// # Shapes
/// `[H, W, C]` to `[height, width, C]`
///
/// # Errors
/// [`DataError::Image`] for a size with a 0.
///
/// # Source
/// torchvision v2 `resize` on Pillow images: the same bytes. Numbers wider than a byte are those of Pillow's mode `F`, integers rounded.
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

    /// Numbers of mmcv's `rescale_size((w, h), (2048, 512) scaled, ...)`.
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
