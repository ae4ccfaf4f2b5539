//! The file formats of packed images: JPEG, PPM, and NumPy arrays.

use std::io;

use ::image::codecs::jpeg::JpegEncoder;
use ::image::{ImageEncoder, ImageError};
use mae_image::{Part, of_any, ppm};
use serde::{Deserialize, Serialize};

use crate::transform::resample::Span;
use crate::{AnyImage, DataError, Filter, Image, Pixel, PixelFormat, PixelType, View};

/// The file format of packed images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Store {
    /// JPEG, which compresses with loss.
    Jpeg {
        /// JPEG quality, 1 to 100.
        quality: u8,
    },
    /// Uncompressed PPM: many times larger than JPEG, and needs no decoding.
    Ppm,
    /// Uncompressed NumPy arrays, for images that are not 8-bit RGB: `[H, W]` for one channel, otherwise `[H, W, C]`.
    /// An image with fewer rows than channels is left out, because its array would be read as `[C, H, W]`.
    Npy,
}

impl Store {
    /// Refuses a quality out of bounds, and a format that cannot store these pixels.
    pub(crate) fn validate(self, pixels: PixelFormat) -> Result<(), DataError> {
        let (value, rgb) = match self {
            Self::Jpeg { quality } if !(1..=100).contains(&quality) => {
                let (value, bound) = (quality.to_string(), "1 to 100".to_owned());
                return Err(DataError::Argument { name: "quality", value, bound });
            }
            Self::Jpeg { .. } => ("jpeg", true),
            Self::Ppm => ("ppm", true),
            Self::Npy => ("npy", false),
        };
        if rgb == (pixels == PixelFormat::Rgb8) {
            return Ok(());
        }
        let bound = match rgb {
            true => format!("npy for images of {pixels}, or let them be decoded to rgb8"),
            false => format!("jpeg or ppm for images of {pixels}"),
        };
        Err(DataError::Argument { name: "store", value: value.to_owned(), bound })
    }

    /// The extension of the files.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Jpeg { .. } => "jpg",
            Self::Ppm => "ppm",
            Self::Npy => "npy",
        }
    }

    /// Encodes the image called `name` as a file, after shrinking its shorter side to at most `short_side_px`.
    pub(crate) fn file(
        self,
        image: AnyImage,
        short_side_px: usize,
        name: impl FnOnce() -> String,
    ) -> Result<Vec<u8>, DataError> {
        let image = shrink(image, short_side_px);
        let (height, width, channels) = (image.height(), image.width(), image.channels());
        let refuse = |source| DataError::Encode { name: name(), height, width, source };
        match self {
            Self::Npy if channels > 1 && height < channels => {
                let reason = format!("a NumPy file of {channels} channels needs at least {channels} rows");
                Err(refuse(ImageError::IoError(io::Error::other(reason))))
            }
            Self::Npy => Ok(of_any!(&image, image => npy(image))),
            Self::Ppm => Ok([ppm::header(height, width).as_bytes(), image.into_u8()?.data()].concat()),
            Self::Jpeg { quality } => {
                let (image, mut file) = (image.into_u8()?, Vec::new());
                let (width, height) = (width as u32, height as u32);
                JpegEncoder::new_with_quality(&mut file, quality)
                    .write_image(image.data(), width, height, ::image::ExtendedColorType::Rgb8)
                    .map_err(refuse)?;
                Ok(file)
            }
        }
    }
}

/// Resizes the shorter side to `short_side` if it is longer, like [`EvalTransform`](crate::EvalTransform).
fn shrink(image: AnyImage, short_side: usize) -> AnyImage {
    let size = (image.height(), image.width());
    let short = size.0.min(size.1);
    if short <= short_side {
        return image;
    }
    let resized = |side: usize| (short_side as u128 * side as u128 / short as u128) as usize;
    let (height, width) = (resized(size.0), resized(size.1));
    let whole = |side, resized| Span::whole(side, resized, Filter::Bicubic);
    let (rows, columns) = (whole(size.0, height), whole(size.1, width));
    View::of_resized(rows, columns, (0, 0), (height, width)).cut(&Part::whole(image))
}

/// Encodes a NumPy file, format 1.0, little-endian: `[H, W]` for one channel, otherwise `[H, W, C]`.
///
/// # Source
/// numpy.lib.format; the bytes equal those of `numpy.save`.
fn npy<T: Pixel>(image: &Image<T>) -> Vec<u8> {
    /// The smallest multiple of 64 that fits the header of any such shape.
    const HEADER: usize = 128;
    const PREFIX: &[u8] = b"\x93NUMPY\x01\x00";
    let (height, width) = (image.height(), image.width());
    let shape = match image.channels() {
        1 => format!("{height}, {width}"),
        channels => format!("{height}, {width}, {channels}"),
    };
    let numbers = match T::TYPE {
        PixelType::U8 => "|u1",
        PixelType::U16 => "<u2",
        PixelType::F32 => "<f4",
    };
    let fields = format!("{{'descr': '{numbers}', 'fortran_order': False, 'shape': ({shape}), }}");
    let length = HEADER - PREFIX.len() - 2;
    let mut file = [PREFIX, &(length as u16).to_le_bytes()].concat();
    file.extend(format!("{fields:<0$}\n", length - 1).bytes());
    let bytes = T::TYPE.bytes();
    file.resize(HEADER + image.data().len() * bytes, 0);
    for (into, number) in file[HEADER..].chunks_exact_mut(bytes).zip(image.data()) {
        number.write(into);
        if cfg!(target_endian = "big") {
            into.reverse();
        }
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(shape: (usize, usize, usize)) -> Vec<u8> {
        let (height, width, channels) = shape;
        let image = Image::new(height, width, channels, vec![0_f32; height * width * channels]).unwrap();
        npy(&image)[..128].to_vec()
    }

    /// The expected bytes were written by numpy 2.
    #[test]
    fn files_are_those_of_numpy() {
        let image = Image::new(2, 3, 1, vec![1_u16, 2, 3, 256, 65535, 0]).unwrap();
        let file = npy(&image);
        let text = "{'descr': '<u2', 'fortran_order': False, 'shape': (2, 3), }";
        let spaces = " ".repeat(117 - text.len());
        let expected = [
            b"\x93NUMPY\x01\0\x76\0".as_slice(),
            text.as_bytes(),
            spaces.as_bytes(),
            b"\n\x01\0\x02\0\x03\0\0\x01\xff\xff\0\0",
        ];
        assert_eq!(file, expected.concat());
        let bytes = npy(&Image::new(2, 1, 2, vec![7_u8, 8, 9, 255]).unwrap());
        assert!(bytes.starts_with(
            b"\x93NUMPY\x01\0\x76\0{'descr': '|u1', 'fortran_order': False, 'shape': (2, 1, 2), }"
        ));
        assert_eq!(bytes[127..], [b'\n', 7, 8, 9, 255]);
        let floats = npy(&Image::new(1, 2, 1, vec![1.0_f32, f32::NAN]).unwrap());
        assert_eq!(floats[128..], [1.0_f32.to_le_bytes(), f32::NAN.to_le_bytes()].concat());
        for shape in [(1, 1, 1), (100_000, 1, 2), (1, 1_000_000, 1), (3, 4, 1024)] {
            assert_eq!(header(shape)[127], b'\n');
        }
    }
}
