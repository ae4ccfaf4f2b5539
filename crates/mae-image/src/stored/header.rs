//! The header of an image of stored values, and the reasons to refuse its file.

use std::io;
use std::path::Path;

use ::image::error::{DecodingError, ImageFormatHint};
use ::image::metadata::Orientation;

use crate::jpeg::CONVERT;
use crate::{AnyImage, Crop, DecodeLimits, ImageError, PixelFormat, PixelType, of_any};

/// Size and type of an image before its pixels are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
    /// Whether the last channel is alpha.
    pub(crate) alpha: bool,
    pub(crate) pixel_type: PixelType,
}

impl Header {
    /// The header of a decoded image.
    pub(crate) fn of(image: &AnyImage) -> Self {
        Self {
            height: image.height(),
            width: image.width(),
            channels: image.channels(),
            alpha: false,
            pixel_type: image.pixel_type(),
        }
    }

    /// The format that keeps everything except alpha.
    pub(crate) fn stored(&self) -> PixelFormat {
        let channels = self.channels - usize::from(self.alpha);
        PixelFormat::Stored { pixel_type: self.pixel_type, channels }
    }

    /// The same for a file of grey or colours, whose 8-bit values become 8-bit RGB.
    pub(crate) fn format(&self) -> PixelFormat {
        match self.stored() {
            PixelFormat::Stored { pixel_type: PixelType::U8, channels: 1 | 3 } => PixelFormat::Rgb8,
            stored => stored,
        }
    }

    /// The header of a rectangle of the image.
    pub(crate) fn of_part(self, Crop { height, width, .. }: Crop) -> Self {
        Self { height, width, ..self }
    }

    /// Refuses an image beyond the limits.
    pub(crate) fn check(&self, path: &Path, limits: &DecodeLimits) -> Result<(), ImageError> {
        let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
        let sizes = [self.height, self.width, self.channels, self.pixel_type.bytes()];
        let bytes = sizes.into_iter().fold(1, |bytes: u64, size| bytes.saturating_mul(size as u64));
        limits.check(path, (side(self.height), side(self.width)), bytes)
    }
}

/// A decoded image, and whether its last channel is alpha.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) image: AnyImage,
    pub(crate) alpha: bool,
    /// The orientation of the stored image, which has been applied.
    pub(crate) orientation: Orientation,
}

impl Stored {
    /// Returns the image if it has the format `expected`, without alpha if the format does not count it.
    pub(crate) fn expect(self, path: &Path, expected: PixelFormat) -> Result<AnyImage, ImageError> {
        let Self { image, alpha, .. } = self;
        let (channels, pixel_type) = (image.channels(), image.pixel_type());
        if pixel_type == expected.pixel_type() {
            if channels == expected.channels() {
                return Ok(image);
            }
            if alpha && channels == expected.channels() + 1 {
                return Ok(of_any!(image, image => image.without_last_channel().into()));
            }
        }
        let found = PixelFormat::Stored { pixel_type, channels };
        Err(ImageError::PixelFormat { path: path.into(), found, expected })
    }
}

/// Why a reader refuses a file.
#[derive(Debug)]
pub(crate) enum Problem {
    /// The file is cut short or contradicts itself.
    Damaged(String),
    /// The image has an unsupported property, such as "numbers of 12 bits".
    Unsupported(String),
    /// Colours must be computed from the values of the image, such as "CMYK colours".
    Colours(String),
    /// The decoded pixels would take more memory than allowed.
    TooLarge { height: u64, width: u64, bytes: u64 },
    /// The system cannot read the file.
    Read(io::Error),
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

impl Problem {
    /// The error for a file at `path`, of this format and of `file_bytes` bytes.
    pub(crate) fn refuse(
        self,
        path: &Path,
        format: &'static str,
        file_bytes: u64,
        limits: &DecodeLimits,
    ) -> ImageError {
        let path = path.into();
        match self {
            Self::Damaged(message) => {
                let hint = ImageFormatHint::Name(format.to_owned());
                let source = ::image::ImageError::Decoding(DecodingError::new(hint, message));
                ImageError::Decode { path, bytes: file_bytes, source }
            }
            Self::Unsupported(what) | Self::Colours(what) => ImageError::Unsupported {
                path,
                kind: format!("a {format} image with {what}"),
                advice: CONVERT,
            },
            Self::Read(source) => ImageError::Read { path, source },
            Self::TooLarge { height, width, bytes } => {
                let side = |side: u64| u32::try_from(side).unwrap_or(u32::MAX);
                let max_bytes = limits.max_bytes;
                ImageError::TooManyBytes { path, height: side(height), width: side(width), bytes, max_bytes }
            }
        }
    }
}
