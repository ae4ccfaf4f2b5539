//! The trait for transforms of an image together with its label map.

use crate::{AnyImage, DataError, Encoded, LabelMap, PixelFormat, SampleRng};

/// Transforms images and label maps of any size to one size. Both go through the same geometry, and labels are never
/// interpolated.
pub trait JointTransform: Send + Sync {
    /// Transforms `image` and its label map `map`, which has the image's size, with all randomness from `rng`. May
    /// decode only the visible part of the image.
    ///
    /// # Shapes
    /// `[H, W, C]` and `[H, W]` to `[h, w, C]` and `[h, w]`, where `(h, w)` is the transform's
    /// [`output_size`](crate::Transform::output_size).
    ///
    /// # Errors
    /// A [`DataError`] if the image cannot be decoded, or if the transform does not support its pixels.
    fn apply_both(
        &self,
        image: Encoded,
        map: &LabelMap,
        rng: &mut SampleRng,
    ) -> Result<(AnyImage, LabelMap), DataError>;

    /// Refuses pixel formats that the transform does not support, before any image is read.
    ///
    /// # Errors
    /// [`DataError::Argument`] for such a format.
    fn check(&self, pixels: PixelFormat) -> Result<(), DataError> {
        let _ = pixels;
        Ok(())
    }
}
