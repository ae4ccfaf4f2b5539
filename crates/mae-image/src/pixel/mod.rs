//! Pixel types and pixel formats.

mod parse;

use std::fmt;

/// The data type of an image's values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PixelType {
    /// 0 to 255.
    #[default]
    U8,
    /// 0 to 65,535.
    U16,
    /// 32-bit floats, including NaN and infinities.
    F32,
}

impl PixelType {
    /// The size of one value in bytes.
    #[inline]
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 => 2,
            Self::F32 => 4,
        }
    }
}

impl fmt::Display for PixelType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::F32 => "f32",
        })
    }
}

/// The format to which image files are decoded. As text: `rgb8`, or type and channels such as `u8x1`, `u16x4` or
/// `f32x13`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum PixelFormat {
    /// 8-bit RGB: grey, palettes, alpha, 16 bits and CMYK are converted. See [`decode_file`](crate::decode_file).
    #[default]
    Rgb8,
    /// The values as stored in the file. A file with another type or number of channels is refused. Alpha is dropped if
    /// `channels` does not count it.
    Stored {
        /// The type of the values.
        pixel_type: PixelType,
        /// The number of channels, at least 1.
        channels: usize,
    },
}

impl PixelFormat {
    /// The type of the values.
    #[inline]
    #[must_use]
    pub fn pixel_type(self) -> PixelType {
        match self {
            Self::Rgb8 => PixelType::U8,
            Self::Stored { pixel_type, .. } => pixel_type,
        }
    }

    /// The common format of at most 32 images spread evenly over a data set of `len` images. `stored` returns the
    /// format of the image with the given index, or `None` if it cannot be read. If the formats differ, or no image can
    /// be read, the result is 8-bit RGB.
    pub fn common(len: usize, stored: impl Fn(usize) -> Option<Self>) -> Self {
        /// The most images that are inspected.
        const LOOKED_AT: usize = 32;
        let count = len.min(LOOKED_AT);
        let mut found = (0..count).filter_map(|i| stored(i * len / count));
        let first = found.next().unwrap_or_default();
        if found.all(|format| format == first) { first } else { Self::Rgb8 }
    }

    /// The number of channels.
    #[inline]
    #[must_use]
    pub fn channels(self) -> usize {
        match self {
            Self::Rgb8 => 3,
            Self::Stored { channels, .. } => channels,
        }
    }
}

impl fmt::Display for PixelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rgb8 => f.write_str("rgb8"),
            Self::Stored { pixel_type, channels } => write!(f, "{pixel_type}x{channels}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_that_agree_are_decoded_as_they_are() {
        let deep: PixelFormat = "u16x4".parse().unwrap();
        assert_eq!(PixelFormat::common(1000, |_| Some(deep)), deep);
        assert_eq!(PixelFormat::common(3, |i| if i == 0 { None } else { Some(deep) }), deep);
        assert_eq!(
            PixelFormat::common(40, |i| Some(if i > 37 { PixelFormat::Rgb8 } else { deep })),
            PixelFormat::Rgb8
        );
        assert_eq!(PixelFormat::common(2, |_| None), PixelFormat::Rgb8);
        assert_eq!(PixelFormat::common(0, |_| Some(deep)), PixelFormat::Rgb8);
    }
}
