//! Image files as the numbers that are stored in them, of any type and number of channels.

use std::io::Cursor;
use std::path::Path;

use ::image::metadata::Orientation;
use ::image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::encoded::Encoded;
use super::jpeg::CONVERT;
use super::limits::{DecodeLimits, check_size};
use super::open::{known_format, open, orientation, read};
use super::ppm;
use crate::image::of_any;
use crate::{AnyImage, DataError, Image, PixelFormat, PixelType};

/// An upright image, and whether its last channel is alpha.
struct Stored {
    image: AnyImage,
    alpha: bool,
}

/// Decodes a file that must hold numbers of this type and this many channels, alpha aside where they do not count it.
pub(super) fn decode_as(
    path: &Path,
    bytes: &[u8],
    (pixel_type, channels): (PixelType, usize),
    limits: &DecodeLimits,
) -> Result<AnyImage, DataError> {
    let Stored { image, alpha } = decode(path, bytes, limits)?;
    let (found, stored) = (image.channels(), image.pixel_type());
    if stored == pixel_type && found == channels {
        return Ok(image);
    }
    if stored == pixel_type && alpha && found == channels + 1 {
        return Ok(of_any!(image, image => image.without_last_channel().into()));
    }
    Err(DataError::PixelFormat {
        path: path.into(),
        found: PixelFormat::Stored { pixel_type: stored, channels: found },
        expected: PixelFormat::Stored { pixel_type, channels },
    })
}

/// The format that loses nothing of an image file but alpha: [`PixelFormat::Rgb8`] for 8-bit grey and colours.
///
/// # Errors
/// As [`decode_file`](crate::decode_file): the file is decoded.
pub fn stored_format(path: impl AsRef<Path>, limits: &DecodeLimits) -> Result<PixelFormat, DataError> {
    let path = path.as_ref();
    format_of(path, &read(path, limits)?, limits)
}

/// [`stored_format`] of the bytes of a file, which errors call `path`.
pub(crate) fn format_of(path: &Path, bytes: &[u8], limits: &DecodeLimits) -> Result<PixelFormat, DataError> {
    let Stored { image, alpha } = decode(path, bytes, limits)?;
    let channels = image.channels() - usize::from(alpha);
    Ok(match (image.pixel_type(), channels) {
        (PixelType::U8, 1 | 3) => PixelFormat::Rgb8,
        (pixel_type, channels) => PixelFormat::Stored { pixel_type, channels },
    })
}

fn decode(path: &Path, bytes: &[u8], limits: &DecodeLimits) -> Result<Stored, DataError> {
    let (format, _) = known_format(path, bytes)?;
    match format {
        ImageFormat::Jpeg => jpeg(path, bytes, limits),
        ImageFormat::Pnm => {
            let image = ppm::decode_stored(path, bytes, limits)?;
            Ok(Stored { image, alpha: false })
        }
        _ => by_library(path, bytes, format, limits),
    }
}

/// Grey has one channel; CMYK becomes RGB, as Pillow makes it.
fn jpeg(path: &Path, bytes: &[u8], limits: &DecodeLimits) -> Result<Stored, DataError> {
    let opened = open(path, bytes.to_vec(), limits)?;
    let grey = opened.is_grey;
    let image = Encoded::from_opened(path, opened).decode()?.into_u8()?;
    let image = if grey { first_channel(&image) } else { image };
    Ok(Stored { image: image.into(), alpha: false })
}

fn first_channel(image: &Image) -> Image {
    let data = image.data().iter().step_by(image.channels()).copied().collect();
    Image::new(image.height(), image.width(), 1, data).expect("one number a pixel")
}

/// Palettes become their colours, and grey of fewer than 8 bits is stretched to 8.
fn by_library(
    path: &Path,
    bytes: &[u8],
    format: ImageFormat,
    limits: &DecodeLimits,
) -> Result<Stored, DataError> {
    let refuse = |source| DataError::Decode { path: path.into(), bytes: bytes.len() as u64, source };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut decoder_limits = Limits::no_limits();
    decoder_limits.max_alloc = Some(limits.max_bytes);
    reader.limits(decoder_limits);
    let mut decoder = reader.into_decoder().map_err(refuse)?;
    let (width, height) = decoder.dimensions();
    check_size(path, (height, width), decoder.total_bytes(), limits)?;
    let orientation: Orientation = orientation(&mut decoder, bytes, format);
    let decoded = DynamicImage::from_decoder(decoder).map_err(refuse)?;
    let color = decoded.color();
    let (channels, size) = (usize::from(color.channel_count()), (height as usize, width as usize));
    let image: AnyImage = match decoded {
        DynamicImage::ImageLuma8(image) => Image::new(size.0, size.1, channels, image.into_raw())?.into(),
        DynamicImage::ImageLumaA8(image) => Image::new(size.0, size.1, channels, image.into_raw())?.into(),
        DynamicImage::ImageRgb8(image) => Image::new(size.0, size.1, channels, image.into_raw())?.into(),
        DynamicImage::ImageRgba8(image) => Image::new(size.0, size.1, channels, image.into_raw())?.into(),
        DynamicImage::ImageLuma16(image) => Image::new(size.0, size.1, channels, image.into_raw())?.into(),
        DynamicImage::ImageLumaA16(image) => Image::new(size.0, size.1, channels, image.into_raw())?.into(),
        DynamicImage::ImageRgb16(image) => Image::new(size.0, size.1, channels, image.into_raw())?.into(),
        DynamicImage::ImageRgba16(image) => Image::new(size.0, size.1, channels, image.into_raw())?.into(),
        DynamicImage::ImageRgb32F(image) => Image::new(size.0, size.1, channels, image.into_raw())?.into(),
        DynamicImage::ImageRgba32F(image) => Image::new(size.0, size.1, channels, image.into_raw())?.into(),
        _ => {
            let kind = format!("of the type {color:?}");
            return Err(DataError::Unsupported { path: path.into(), kind, advice: CONVERT });
        }
    };
    let image = of_any!(image, image => image.upright(orientation).into());
    Ok(Stored { image, alpha: color.has_alpha() })
}
