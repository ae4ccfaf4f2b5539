//! The types of numbers that pixels are made of.

use std::fmt;
use std::str::FromStr;

use crate::image::AnyImage;
use crate::{DataError, Image};

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

/// A number of a pixel: `u8`, `u16` or `f32`.
pub trait Pixel: Copy + Default + PartialEq + fmt::Debug + Send + Sync + sealed::Sealed + 'static {
    /// Which of them it is.
    const TYPE: PixelType;

    /// The number, exactly.
    fn to_f64(self) -> f64;

    /// The nearest number of this type; integers are cut off at their bounds.
    fn from_f64(number: f64) -> Self;

    /// Writes the number in the machine's byte order into [`PixelType::bytes`] bytes.
    fn write(self, bytes: &mut [u8]);

    /// An image of these numbers as one of any.
    fn any(image: Image<Self>) -> AnyImage;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! pixel {
    ($number:ty, $kind:ident, $from:expr) => {
        impl sealed::Sealed for $number {}

        impl Pixel for $number {
            const TYPE: PixelType = PixelType::$kind;

            #[inline]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }

            #[inline]
            fn from_f64(number: f64) -> Self {
                let from: fn(f64) -> Self = $from;
                from(number)
            }

            #[inline]
            fn write(self, bytes: &mut [u8]) {
                bytes.copy_from_slice(&self.to_ne_bytes());
            }

            fn any(image: Image<Self>) -> AnyImage {
                AnyImage::$kind(image)
            }
        }

        impl From<Image<$number>> for AnyImage {
            fn from(image: Image<$number>) -> Self {
                Self::$kind(image)
            }
        }
    };
}
// A cast from f64 to an integer cuts off at the bounds.
pixel!(u8, U8, |number| number.round() as u8);
pixel!(u16, U16, |number| number.round() as u16);
pixel!(f32, F32, |number| number as f32);

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
    #[must_use]
    pub fn pixel_type(self) -> PixelType {
        match self {
            Self::Rgb8 => PixelType::U8,
            Self::Stored { pixel_type, .. } => pixel_type,
        }
    }

    /// The format that `stored` finds in images spread over a data set of `len`, if it is the same in all that can be read; else 8-bit
    /// RGB.
    pub(crate) fn common(len: usize, stored: impl Fn(usize) -> Result<Self, DataError>) -> Self {
        /// Images that are looked at.
        const LOOKED_AT: usize = 32;
        let count = len.min(LOOKED_AT);
        let mut found = (0..count).filter_map(|i| stored(i * len / count).ok());
        let first = found.next().unwrap_or_default();
        if found.all(|format| format == first) { first } else { Self::Rgb8 }
    }

    /// Numbers of a pixel.
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

impl FromStr for PixelFormat {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        if text == "rgb8" {
            return Ok(Self::Rgb8);
        }
        let stored = || {
            let (name, channels) = text.split_once('x')?;
            let types = [PixelType::U8, PixelType::U16, PixelType::F32];
            let pixel_type = types.into_iter().find(|known| known.to_string() == name)?;
            let channels = channels.parse().ok().filter(|channels| (1..=MOST_CHANNELS).contains(channels))?;
            Some(Self::Stored { pixel_type, channels })
        };
        stored().ok_or_else(|| DataError::Argument {
            name: "the pixel format",
            value: text.to_owned(),
            bound: format!("rgb8, or u8, u16 or f32 with 1 to {MOST_CHANNELS} channels, such as u16x4"),
        })
    }
}

/// More channels than any sensor has bands: beyond it lies a mistaken axis.
pub(crate) const MOST_CHANNELS: usize = 1024;

impl TryFrom<String> for PixelFormat {
    type Error = DataError;

    fn try_from(text: String) -> Result<Self, DataError> {
        text.parse()
    }
}

impl From<PixelFormat> for String {
    fn from(format: PixelFormat) -> Self {
        format.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_text_and_back() {
        for text in ["rgb8", "u8x1", "u16x4", "f32x13"] {
            assert_eq!(text.parse::<PixelFormat>().unwrap().to_string(), text);
        }
        for wrong in ["", "rgb", "u16", "u16x0", "i16x1", "u8x99999", "x3", "u16x4x1"] {
            let message = wrong.parse::<PixelFormat>().unwrap_err().to_string();
            assert!(
                message.starts_with(&format!("the pixel format is {wrong}, but must be rgb8")),
                "{message}"
            );
        }
    }

    #[test]
    fn images_that_agree_are_decoded_as_they_are() {
        let deep: PixelFormat = "u16x4".parse().unwrap();
        let unreadable = || Err(DataError::Index { index: 0, len: 0 });
        assert_eq!(PixelFormat::common(1000, |_| Ok(deep)), deep);
        assert_eq!(PixelFormat::common(3, |i| if i == 0 { unreadable() } else { Ok(deep) }), deep);
        assert_eq!(
            PixelFormat::common(40, |i| Ok(if i > 37 { PixelFormat::Rgb8 } else { deep })),
            PixelFormat::Rgb8
        );
        assert_eq!(PixelFormat::common(2, |_| unreadable()), PixelFormat::Rgb8);
        assert_eq!(PixelFormat::common(0, |_| Ok(deep)), PixelFormat::Rgb8);
    }

    #[test]
    fn integers_are_rounded_and_cut_off() {
        assert_eq!([-3.0, 0.4, 0.5, 254.6, 300.0].map(u8::from_f64), [0, 0, 1, 255, 255]);
        assert_eq!([-1.0, 65534.5, 1e9].map(u16::from_f64), [0, 65535, 65535]);
        assert_eq!(f32::from_f64(-1e9), -1e9);
    }
}
