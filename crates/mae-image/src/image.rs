//! Images in memory, of a given pixel type or of any.

use std::fmt;

use ::image::metadata::Orientation;

use crate::{ImageError, PixelType};

/// An upright image with interleaved channels and values of type `T`, `u8` by default.
///
/// # Shapes
/// `[H, W, C]`, none of them 0, H and W below 2³².
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image<T = u8> {
    height: usize,
    width: usize,
    channels: usize,
    data: Vec<T>,
}

impl<T: Pixel> Image<T> {
    /// Wraps values that are already in `[H, W, C]` order.
    ///
    /// # Errors
    /// [`ImageError::ImageShape`] unless `data` has `height * width * channels` values, at least one;
    /// [`ImageError::Argument`] if a side is 2³² or more.
    pub fn new(height: usize, width: usize, channels: usize, data: Vec<T>) -> Result<Self, ImageError> {
        let expected = height.checked_mul(width).and_then(|pixels| pixels.checked_mul(channels));
        if data.is_empty() || expected != Some(data.len()) {
            let expected = expected.unwrap_or(usize::MAX);
            return Err(ImageError::ImageShape { height, width, channels, expected, actual: data.len() });
        }
        check_size((height, width))?;
        Ok(Self { height, width, channels, data })
    }

    /// Rows.
    #[inline]
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns.
    #[inline]
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// The number of channels.
    #[inline]
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The values, `[H, W, C]`.
    #[inline]
    #[must_use]
    pub fn data(&self) -> &[T] {
        &self.data
    }

    /// The mutable values, `[H, W, C]`.
    #[inline]
    pub fn data_mut(&mut self) -> &mut [T] {
        &mut self.data
    }

    /// Turns the image into its values, `[H, W, C]`.
    #[inline]
    #[must_use]
    pub fn into_data(self) -> Vec<T> {
        self.data
    }

    /// The image without its last channel.
    pub(crate) fn without_last_channel(self) -> Self {
        let channels = self.channels - 1;
        let pixels = self.data.chunks_exact(self.channels);
        let data = pixels.flat_map(|pixel| &pixel[..channels]).copied().collect();
        Self { channels, data, ..self }
    }

    /// The image turned upright.
    ///
    /// # Shapes
    /// `[H, W, C]` to `[H, W, C]` or `[W, H, C]`
    #[must_use]
    pub fn upright(self, orientation: Orientation) -> Self {
        if orientation == Orientation::NoTransforms {
            return self;
        }
        let Turns { turned, up, back } = Turns::of(orientation);
        let (height, width) = if turned { (self.width, self.height) } else { (self.height, self.width) };
        let mut data = Vec::with_capacity(self.data.len());
        for row in 0..height {
            let row = if up { height - 1 - row } else { row };
            for column in 0..width {
                let column = if back { width - 1 - column } else { column };
                let (y, x) = if turned { (column, row) } else { (row, column) };
                data.extend_from_slice(&self.data[(y * self.width + x) * self.channels..][..self.channels]);
            }
        }
        Self { height, width, data, ..self }
    }
}

/// The steps that turn a stored image upright.
pub(crate) struct Turns {
    /// Whether rows become columns.
    pub(crate) turned: bool,
    /// Whether the rows of the upright image are then reversed.
    pub(crate) up: bool,
    /// Whether its columns are reversed.
    pub(crate) back: bool,
}

impl Turns {
    pub(crate) fn of(orientation: Orientation) -> Self {
        use Orientation as O;
        let (turned, up, back) = match orientation {
            O::NoTransforms => (false, false, false),
            O::FlipHorizontal => (false, false, true),
            O::Rotate180 => (false, true, true),
            O::FlipVertical => (false, true, false),
            O::Rotate90FlipH => (true, false, false),
            O::Rotate90 => (true, false, true),
            O::Rotate270FlipH => (true, true, true),
            O::Rotate270 => (true, true, false),
        };
        Self { turned, up, back }
    }
}

/// The type of a pixel's values: `u8`, `u16` or `f32`.
pub trait Pixel: Copy + Default + PartialEq + fmt::Debug + Send + Sync + sealed::Sealed + 'static {
    /// The corresponding [`PixelType`].
    const TYPE: PixelType;

    /// Converts the value to `f64`, exactly.
    fn to_f64(self) -> f64;

    /// The nearest value of this type; integers are clamped to their bounds.
    fn from_f64(number: f64) -> Self;

    /// Writes the value in native byte order into [`PixelType::bytes`] bytes.
    fn write(self, bytes: &mut [u8]);

    /// Wraps an image of this type as an [`AnyImage`].
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
// A cast from f64 to an integer saturates at the bounds.
pixel!(u8, U8, |number| number.round() as u8);
pixel!(u16, U16, |number| number.round() as u16);
pixel!(f32, F32, |number| number as f32);

/// An image of any pixel type.
#[derive(Clone, Debug, PartialEq)]
pub enum AnyImage {
    /// 0 to 255.
    U8(Image<u8>),
    /// 0 to 65,535.
    U16(Image<u16>),
    /// 32-bit floats, including NaN and infinities.
    F32(Image<f32>),
}

/// Evaluates the same expression for the image in an [`AnyImage`], whatever its type.
///
/// ```
/// use mae_image::{AnyImage, Image, of_any};
///
/// # fn main() -> Result<(), mae_image::ImageError> {
/// let any = AnyImage::from(Image::new(1, 1, 2, vec![0_u16, 9])?);
/// assert_eq!(of_any!(&any, image => image.data().len()), 2);
/// # Ok(())
/// # }
/// ```
#[macro_export]
macro_rules! of_any {
    ($any:expr, $image:pat => $result:expr) => {
        match $any {
            $crate::AnyImage::U8($image) => $result,
            $crate::AnyImage::U16($image) => $result,
            $crate::AnyImage::F32($image) => $result,
        }
    };
}

impl AnyImage {
    /// Rows.
    #[inline]
    #[must_use]
    pub fn height(&self) -> usize {
        of_any!(self, image => image.height)
    }

    /// Columns.
    #[inline]
    #[must_use]
    pub fn width(&self) -> usize {
        of_any!(self, image => image.width)
    }

    /// The number of channels.
    #[inline]
    #[must_use]
    pub fn channels(&self) -> usize {
        of_any!(self, image => image.channels)
    }

    /// The type of the values.
    #[inline]
    #[must_use]
    pub fn pixel_type(&self) -> PixelType {
        match self {
            Self::U8(_) => PixelType::U8,
            Self::U16(_) => PixelType::U16,
            Self::F32(_) => PixelType::F32,
        }
    }

    /// Returns the image if it is 8-bit.
    ///
    /// # Errors
    /// [`ImageError::Argument`] for values of another type, which are not narrowed.
    pub fn into_u8(self) -> Result<Image, ImageError> {
        match self {
            Self::U8(image) => Ok(image),
            other => Err(ImageError::Argument {
                name: "the pixel type",
                value: other.pixel_type().to_string(),
                bound: "u8".to_owned(),
            }),
        }
    }

    /// The values plane by plane, as bytes in native order.
    ///
    /// # Shapes
    /// `[H, W, C]` to `[C, H, W]`
    #[must_use]
    pub fn planes(&self) -> Vec<u8> {
        let numbers = self.height() * self.width() * self.channels();
        let mut planes = vec![0; numbers * self.pixel_type().bytes()];
        self.write_planes(&mut planes);
        planes
    }

    /// Writes the values plane by plane, in native byte order. `planes` has [`PixelType::bytes`] bytes for each.
    ///
    /// # Shapes
    /// `[H, W, C]` to `[C, H, W]`
    pub fn write_planes(&self, planes: &mut [u8]) {
        fn write<T: Pixel>(image: &Image<T>, planes: &mut [u8]) {
            let bytes = T::TYPE.bytes();
            for (channel, plane) in planes.chunks_exact_mut(image.height * image.width * bytes).enumerate() {
                for (into, pixel) in
                    plane.chunks_exact_mut(bytes).zip(image.data.chunks_exact(image.channels))
                {
                    pixel[channel].write(into);
                }
            }
        }
        of_any!(self, image => write(image, planes));
    }
}

/// Refuses a `(height, width)` if a side is 0 or larger than images can be.
///
/// # Errors
/// [`ImageError::Argument`] unless both are from 1 to 2³² - 1.
pub fn check_size((height, width): (usize, usize)) -> Result<(), ImageError> {
    let sides = 1..=u32::MAX as usize;
    if sides.contains(&height) && sides.contains(&width) {
        return Ok(());
    }
    let (value, bound) = (format!("{height}x{width}"), format!("1 to {} on each side", u32::MAX));
    Err(ImageError::Argument { name: "image size", value, bound })
}

#[cfg(test)]
mod tests {
    use ::image::{DynamicImage, RgbImage};

    use super::*;

    #[test]
    fn refuses_numbers_that_do_not_fill_it() {
        assert!(Image::new(2, 3, 3, vec![0_u8; 18]).is_ok());
        assert_eq!(
            Image::new(2, 3, 3, vec![0_u16; 17]).unwrap_err().to_string(),
            "an image of 2x3 with 3 channels needs 18 numbers (and at least 1), got 17"
        );
        assert!(Image::<u8>::new(0, 3, 3, vec![]).is_err());
        assert!(Image::new(usize::MAX, 2, 3, vec![0_f32; 6]).is_err());
    }

    #[test]
    fn turns_upright_as_the_image_crate_does() {
        let data: Vec<u8> = (0..2 * 3 * 3).collect();
        for exif in 1..=8 {
            let orientation = Orientation::from_exif(exif).unwrap();
            let mut expected = DynamicImage::ImageRgb8(RgbImage::from_raw(3, 2, data.clone()).unwrap());
            expected.apply_orientation(orientation);
            let ours = Image::new(2, 3, 3, data.clone()).unwrap().upright(orientation);
            assert_eq!((ours.width as u32, ours.height as u32), (expected.width(), expected.height()));
            assert_eq!(ours.data, expected.into_rgb8().into_raw(), "{orientation:?}");
        }
    }

    #[test]
    fn planes_keep_rows_and_columns() {
        let pixels = vec![1_u8, 101, 2, 102, 3, 103, 4, 104, 5, 105, 6, 106];
        let mut planes = [0; 12];
        AnyImage::U8(Image::new(2, 3, 2, pixels.clone()).unwrap()).write_planes(&mut planes);
        assert_eq!(planes, [1, 2, 3, 4, 5, 6, 101, 102, 103, 104, 105, 106]);
        let mut wide = [0; 24];
        let pixels = pixels.into_iter().map(|value| u16::from(value) * 256).collect();
        AnyImage::U16(Image::new(2, 3, 2, pixels).unwrap()).write_planes(&mut wide);
        let expected = planes.map(|value| (u16::from(value) * 256).to_ne_bytes());
        assert_eq!(wide, *expected.as_flattened());
    }

    #[test]
    fn a_channel_can_be_dropped() {
        let image = Image::new(1, 2, 3, vec![1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        assert_eq!(image.without_last_channel(), Image::new(1, 2, 2, vec![1.0, 2.0, 4.0, 5.0]).unwrap());
    }

    #[test]
    fn integers_are_rounded_and_cut_off() {
        assert_eq!([-3.0, 0.4, 0.5, 254.6, 300.0].map(u8::from_f64), [0, 0, 1, 255, 255]);
        assert_eq!([-1.0, 65534.5, 1e9].map(u16::from_f64), [0, 65535, 65535]);
        assert_eq!(f32::from_f64(-1e9), -1e9);
    }
}
