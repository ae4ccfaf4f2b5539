//! What decoding one image may cost.

use std::path::Path;

use crate::ImageError;

/// What decoding one image may cost: a guard against small files that unpack into huge images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DecodeLimits {
    /// The most pixels an image may have; of a TIFF file whose stored numbers are wanted, the part that is decoded.
    pub max_pixels: u64,
    /// The most bytes that a file may have, and that its pixels may take as its decoder writes them. Dropping
    /// alpha, narrowing 16 bits and turning the image upright can hold a second, smaller copy for a moment.
    /// Of a TIFF file whose stored numbers are wanted, the length is not limited, and the pixels are those that are decoded.
    pub max_bytes: u64,
}

impl Default for DecodeLimits {
    /// # Source
    /// 178,956,970 pixels: where Pillow raises `DecompressionBombError`, twice `Image.MAX_IMAGE_PIXELS`.
    /// 512 MiB: the `image` crate's own default, and just that many RGB pixels.
    fn default() -> Self {
        Self { max_pixels: 178_956_970, max_bytes: 512 << 20 }
    }
}

impl DecodeLimits {
    /// Refuses an image of `(height, width)` pixels whose decoding takes `bytes` bytes if it is beyond the limits. `path` is what errors
    /// call it.
    ///
    /// # Errors
    /// [`ImageError::NoPixels`], [`ImageError::TooManyPixels`] or [`ImageError::TooManyBytes`].
    pub fn check(
        &self,
        path: impl AsRef<Path>,
        (height, width): (u32, u32),
        bytes: u64,
    ) -> Result<(), ImageError> {
        let path = path.as_ref();
        let pixels = u64::from(height) * u64::from(width);
        if pixels == 0 {
            return Err(ImageError::NoPixels { path: path.into(), height, width });
        }
        if pixels > self.max_pixels {
            let max_pixels = self.max_pixels;
            return Err(ImageError::TooManyPixels { path: path.into(), height, width, pixels, max_pixels });
        }
        if bytes > self.max_bytes {
            let max_bytes = self.max_bytes;
            return Err(ImageError::TooManyBytes { path: path.into(), height, width, bytes, max_bytes });
        }
        Ok(())
    }
}
