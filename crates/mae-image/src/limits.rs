//! Limits on decoding an image.

use std::path::Path;

use crate::ImageError;

/// Limits on decoding an image: a guard against small files that unpack into huge images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DecodeLimits {
    /// The maximum number of pixels of an image. If the stored values of a TIFF file are requested, this limits the
    /// part that is decoded.
    pub max_pixels: u64,
    /// The maximum number of bytes of a file, and of its pixels as the decoder writes them. Dropping alpha, narrowing
    /// 16 bits and turning the image upright may briefly hold a second copy, no larger than the first. If the stored
    /// values of a TIFF file are requested, the length of the file is not limited, and only the pixels that are decoded
    /// count.
    pub max_bytes: u64,
}

impl Default for DecodeLimits {
    /// # Source
    /// 178,956,970 pixels: where Pillow raises `DecompressionBombError`, twice `Image.MAX_IMAGE_PIXELS`.
    /// 512 MiB: the `image` crate's own default, which holds just that many RGB pixels.
    fn default() -> Self {
        Self { max_pixels: 178_956_970, max_bytes: 512 << 20 }
    }
}

impl DecodeLimits {
    /// Refuses an image of `(height, width)` pixels, whose decoding takes `bytes` bytes, if it is beyond the limits.
    /// `path` names it in errors.
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
