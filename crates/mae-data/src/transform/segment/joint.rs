//! What transforms an image together with the classes of its pixels.

use crate::{AnyImage, DataError, Encoded, LabelMap, PixelFormat, SampleRng};

/// Makes an image and a label map of one size from those of any size: both go through the same geometry, and labels are never mixed.
pub trait JointTransform: Send + Sync {
    /// Transforms `image` and its label map `map`, which has the image's size, with all randomness from `rng`. It may decode the part of
    /// the image that is seen alone.
    ///
    /// # Shapes
    /// `[H, W, C]` and `[H, W]` to `[h, w, C]` and `[h, w]`, where `(h, w)` is the transform's
    /// [`output_size`](crate::Transform::output_size).
    ///
    /// # Errors
    /// A [`DataError`] if the image cannot be decoded, or is of pixels that the transform cannot change.
    fn apply_both(
        &self,
        image: Encoded,
        map: &LabelMap,
        rng: &mut SampleRng,
    ) -> Result<(AnyImage, LabelMap), DataError>;

    /// Refuses images of pixels that the transform cannot change, before any is read.
    ///
    /// # Errors
    /// [`DataError::Argument`]
    fn check(&self, pixels: PixelFormat) -> Result<(), DataError> {
        let _ = pixels;
        Ok(())
    }
}
