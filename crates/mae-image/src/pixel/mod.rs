//! The types of numbers that pixels are made of.

mod parse;

use std::fmt;

/// The type of an image's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PixelType {
    /// 0 to 255.
    #[default]
    U8,
    /// 0 to 65,535.
    U16,
    /// Any finite number.
    F32,
}

impl PixelType {
    /// Bytes of one number.
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

/// What image files are decoded to. As text: `rgb8`, or type and channels such as `u8x1`, `u16x4` or `f32x13`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum PixelFormat {
    /// 8-bit RGB: grey, palettes, alpha, 16 bits and CMYK are converted. See [`decode_file`](crate::decode_file).
    #[default]
    Rgb8,
    /// The numbers as the file has them. A file of another type or another number of channels is refused; alpha is dropped
    /// where the number of channels does not count it.
    Stored {
        /// The numbers' type.
        pixel_type: PixelType,
        /// At least one.
        channels: usize,
    },
}

impl PixelFormat {
    /// The type of the numbers.
    #[inline]
    #[must_use]
    pub fn pixel_type(self) -> PixelType {
        match self {
            Self::Rgb8 => PixelType::U8,
            Self::Stored { pixel_type, .. } => pixel_type,
        }
    }

    /// The common format of at most 32 images spread over a data set of `len`. `stored` has the format of an image by its index, or
    /// nothing if it cannot be read. If the formats differ, or no image can be read, 8-bit RGB.
    pub fn common(len: usize, stored: impl Fn(usize) -> Option<Self>) -> Self {
        /// Images that are looked at.
        const LOOKED_AT: usize = 32;
        let count = len.min(LOOKED_AT);
        let mut found = (0..count).filter_map(|i| stored(i * len / count));
        let first = found.next().unwrap_or_default();
        if found.all(|format| format == first) { first } else { Self::Rgb8 }
    }

    /// Numbers of a pixel.
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
