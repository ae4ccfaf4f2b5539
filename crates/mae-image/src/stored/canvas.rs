//! Writes stored values of any type into an image, and refuses those that no pixel type can represent.

use std::fmt::Display;

use ::image::metadata::Orientation;
use half::f16;

use super::header::{Header, Problem, Stored};
use crate::{AnyImage, Image, Pixel, PixelType};

/// The type of values in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    U8,
    U16,
    U32,
    U64,
    I8,
    I16,
    I32,
    I64,
    F16,
    F32,
    F64,
}

impl Type {
    /// The size of one value in bytes.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 | Self::F16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// The type of the pixels. A pixel without data is NaN, so it needs a float.
    pub(crate) fn pixel(self, missing: Option<Missing>) -> PixelType {
        match self {
            Self::U8 if missing.is_none() => PixelType::U8,
            Self::U16 if missing.is_none() => PixelType::U16,
            _ => PixelType::F32,
        }
    }
}

/// The value that stands for "no data".
#[derive(Clone, Copy, Debug)]
pub(crate) struct Missing {
    /// The value if it is an integer: `f64` cannot represent all 64-bit integers.
    whole: Option<i128>,
    real: f64,
}

impl Missing {
    /// Parses a number as GDAL writes it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let real: f64 = text.parse().ok()?;
        // No stored integer equals a value beyond 2^64.
        let is_whole = real.fract() == 0.0 && real.abs() <= u64::MAX as f64;
        let whole = text.parse().ok().or_else(|| is_whole.then_some(real as i128));
        Some(Self { whole, real })
    }
}

/// A stored value that may become a 32-bit float.
trait Number: Copy + PartialEq + Display {
    /// Converts the value to `f32`; `None` if no `f32` represents it.
    fn narrow(self) -> Option<f32>;
    /// The "no data" value in this type, if the type can represent it.
    fn absent(missing: Missing) -> Option<Self>;
}

macro_rules! integers {
    ($($type:ty)*) => {$(
        impl Number for $type {
            fn narrow(self) -> Option<f32> {
                let float = self as f32;
                (float as i128 == self as i128).then_some(float)
            }

            fn absent(missing: Missing) -> Option<Self> {
                missing.whole?.try_into().ok()
            }
        }
    )*};
}
integers!(u8 u16 u32 u64 i8 i16 i32 i64);

impl Number for f16 {
    fn narrow(self) -> Option<f32> {
        Some(self.to_f32())
    }

    fn absent(missing: Missing) -> Option<Self> {
        Some(Self::from_f64(missing.real)).filter(|near| near.is_finite() == missing.real.is_finite())
    }
}

impl Number for f32 {
    fn narrow(self) -> Option<f32> {
        Some(self)
    }

    fn absent(missing: Missing) -> Option<Self> {
        Some(missing.real as f32).filter(|near| near.is_finite() == missing.real.is_finite())
    }
}

impl Number for f64 {
    /// Rounds to the nearest `f32`; `None` if the value is out of range.
    fn narrow(self) -> Option<f32> {
        let near = self as f32;
        (near.is_finite() || !self.is_finite()).then_some(near)
    }

    fn absent(missing: Missing) -> Option<Self> {
        Some(missing.real)
    }
}

/// The position of a value in an image.
#[derive(Clone, Copy)]
pub(crate) struct Spot {
    pub(crate) row: usize,
    pub(crate) column: usize,
    pub(crate) channel: usize,
}

/// An image that is being filled.
pub(crate) struct Canvas {
    header: Header,
    stored: Type,
    missing: Option<Missing>,
    /// The row and column of the whole image at which this part begins.
    origin: (usize, usize),
    image: AnyImage,
}

/// The number of values of an image. Refuses one whose pixels take more than `max_bytes`.
fn check(header: Header, max_bytes: u64) -> Result<usize, Problem> {
    let Header { height, width, channels, .. } = header;
    let size = header.pixel_type.bytes() as u128;
    // Sides and channels are below 2^32.
    let count = height as u128 * width as u128 * channels as u128;
    let bytes = u64::try_from(count.saturating_mul(size)).unwrap_or(u64::MAX);
    if bytes > max_bytes || bytes > isize::MAX as u64 {
        return Err(Problem::TooLarge { height: height as u64, width: width as u64, bytes });
    }
    Ok(count as usize)
}

/// An image of zeros of a checked size.
fn blank<T: Pixel>(header: Header, count: usize) -> Image<T> {
    let Header { height, width, channels, .. } = header;
    Image::new(height, width, channels, vec![T::default(); count]).expect("sides from 1 to 2^32 - 1")
}

impl Canvas {
    /// Creates an image of zeros, for values of type `stored`.
    pub(crate) fn new(
        header: Header,
        stored: Type,
        missing: Option<Missing>,
        max_bytes: u64,
    ) -> Result<Self, Problem> {
        let count = check(header, max_bytes)?;
        let image = match header.pixel_type {
            PixelType::U8 => blank::<u8>(header, count).into(),
            PixelType::U16 => blank::<u16>(header, count).into(),
            PixelType::F32 => blank::<f32>(header, count).into(),
        };
        Ok(Self { header, stored, missing, origin: (0, 0), image })
    }

    /// Makes messages count rows and columns in the whole image, where this part begins at `origin`.
    pub(crate) fn within(self, origin: (usize, usize)) -> Self {
        Self { origin, ..self }
    }

    pub(crate) fn finish(self) -> Stored {
        let orientation = Orientation::NoTransforms;
        Stored { image: self.image, alpha: self.header.alpha, orientation }
    }

    /// Writes part of a row, pixels of `samples` values in native byte order, at `spot`.
    pub(crate) fn put(&mut self, spot: Spot, samples: usize, bytes: &[u8]) -> Result<(), Problem> {
        let Header { width, channels, .. } = self.header;
        let start = (spot.row * width + spot.column) * channels + spot.channel;
        let run = Run { bytes, samples, channels };
        let (missing, origin) = (self.missing, self.origin);
        macro_rules! narrowed {
            ($image:expr, $type:ty) => {{
                let absent = missing.and_then(<$type>::absent);
                run.place(&mut $image.data_mut()[start..], <$type>::from_ne_bytes, |number| {
                    if Some(number) == absent { Some(f32::NAN) } else { number.narrow() }
                })
            }};
        }
        let placed = match &mut self.image {
            AnyImage::U8(image) => run.place(&mut image.data_mut()[start..], u8::from_ne_bytes, Some),
            AnyImage::U16(image) => run.place(&mut image.data_mut()[start..], u16::from_ne_bytes, Some),
            AnyImage::F32(image) => match self.stored {
                Type::U8 => narrowed!(image, u8),
                Type::U16 => narrowed!(image, u16),
                Type::U32 => narrowed!(image, u32),
                Type::U64 => narrowed!(image, u64),
                Type::I8 => narrowed!(image, i8),
                Type::I16 => narrowed!(image, i16),
                Type::I32 => narrowed!(image, i32),
                Type::I64 => narrowed!(image, i64),
                Type::F16 => narrowed!(image, f16),
                Type::F32 => narrowed!(image, f32),
                Type::F64 => narrowed!(image, f64),
            },
        };
        placed.map_err(|(at, number)| {
            let channel = spot.channel + at % samples;
            let (row, column) = (origin.0 + spot.row, origin.1 + spot.column + at / samples);
            Problem::Unsupported(format!(
                "a number that no 32-bit float holds ({number} at row {row}, column {column} and channel {channel}, \
                 counted from 0)"
            ))
        })
    }

    /// Sets `pixels` pixels of `samples` values at `spot` to NaN if the image has a "no data" value.
    pub(crate) fn leave_out(&mut self, spot: Spot, samples: usize, pixels: usize) {
        let Header { width, channels, .. } = self.header;
        let start = (spot.row * width + spot.column) * channels + spot.channel;
        if let (AnyImage::F32(image), Some(_)) = (&mut self.image, self.missing) {
            for pixel in 0..pixels {
                image.data_mut()[start + pixel * channels..][..samples].fill(f32::NAN);
            }
        }
    }
}

/// Consecutive values in a file, `samples` for each pixel of an image with `channels` channels.
#[derive(Clone, Copy)]
struct Run<'a> {
    bytes: &'a [u8],
    samples: usize,
    channels: usize,
}

impl Run<'_> {
    /// Writes all values. The error is the index in the run and the text of the first value that is refused.
    fn place<const N: usize, T: Copy + Display, U>(
        self,
        out: &mut [U],
        read: impl Fn([u8; N]) -> T,
        convert: impl Fn(T) -> Option<U>,
    ) -> Result<(), (usize, String)> {
        let numbers = self.bytes.as_chunks::<N>().0;
        for (pixel, numbers) in numbers.chunks_exact(self.samples).enumerate() {
            let out = &mut out[pixel * self.channels..][..self.samples];
            for (sample, (out, bytes)) in out.iter_mut().zip(numbers).enumerate() {
                let number = read(*bytes);
                *out = convert(number).ok_or_else(|| (pixel * self.samples + sample, number.to_string()))?;
            }
        }
        Ok(())
    }
}
