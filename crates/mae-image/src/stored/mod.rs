//! Reads image files as stored values, of any type and number of channels.

pub(crate) mod canvas;
pub(crate) mod header;
pub(crate) mod npy;
mod scene;

use std::path::Path;

use ::image::metadata::Orientation;
use ::image::{DynamicImage, ImageDecoder, ImageFormat};

use crate::jpeg::CONVERT;
use crate::open::{Format, decoder, garbles, known_format, open, orientation};
use crate::source::Source;
use crate::tiff::Tiff;
use crate::{AnyImage, DecodeLimits, Image, ImageError, PixelFormat, PixelType, of_any, ppm};

use header::{Header, Problem, Stored};
use npy::Npy;
pub(crate) use scene::Scene;

/// An image of stored values: decoded, or a TIFF image whose pixels are decoded in windows.
pub(crate) enum Opened {
    Image(AnyImage, Orientation),
    Tiff(Box<Scene>),
}

/// Opens a file that must have values of the format `expected`, except for alpha that the format does not count. Only
/// the tags of a TIFF file are read; all others are decoded.
pub(crate) fn open_as(
    path: &Path,
    source: Source<'static>,
    expected: PixelFormat,
    limits: &DecodeLimits,
) -> Result<Opened, ImageError> {
    let stored = if format_in(path, &source)?.0 == Format::Image(ImageFormat::Tiff) {
        match Tiff::open(&source) {
            Ok(tiff) => {
                return Ok(Opened::Tiff(Box::new(Scene::new(path, source, tiff, expected, limits))));
            }
            Err(problem) => otherwise(path, source, problem, limits, by_library)?,
        }
    } else {
        decode(path, &source.into_bytes(path, limits)?, limits)?
    };
    let orientation = stored.orientation;
    stored.expect(path, expected).map(|image| Opened::Image(image, orientation))
}

/// The format of a file, and its name. Only TIFF files stay on disk.
pub(crate) fn format_in(path: &Path, source: &Source) -> Result<(Format, &'static str), ImageError> {
    match source {
        Source::Memory(bytes) => known_format(path, bytes),
        Source::File(..) => Ok((Format::Image(ImageFormat::Tiff), "TIFF")),
    }
}

/// The format that keeps everything in an image file except alpha. It is [`PixelFormat::Rgb8`] for 8-bit grey and
/// colours, except in NumPy files.
///
/// | file | format |
/// |---|---|
/// | PNG, WebP, GIF, BMP, JPEG, PNM | 8 or 16 bits as stored, 1 to 3 channels; palettes become colours, and PNM as text or bits RGB |
/// | TIFF | as stored, any number of bands: `u8` and `u16`; all other types, and images with a "no data" value, are `f32` |
/// | NumPy (`.npy`) | `[H, W]`, `[C, H, W]` with C < W, else `[H, W, C]`; `u8`, `u16`, all other types `f32` |
///
/// A 64-bit float is rounded to the nearest `f32`. An integer that no `f32` represents exactly is refused when it is
/// decoded.
///
/// # Errors
/// As [`decode_file`](crate::decode_file), for problems that show in the file's header: pixels are decoded only of PNM
/// files and of JPEG files that must be turned upright. Of a TIFF file, only the tags are read, whatever its length,
/// unless colours must be computed.
pub fn stored_format(path: impl AsRef<Path>, limits: &DecodeLimits) -> Result<PixelFormat, ImageError> {
    let path = path.as_ref();
    format_in_source(path, Source::open(path, limits)?, limits)
}

/// [`stored_format`] for the bytes of a file, which errors call `path`.
///
/// # Errors
/// As [`stored_format`], except for those of reading the file.
pub fn format_of(path: &Path, bytes: &[u8], limits: &DecodeLimits) -> Result<PixelFormat, ImageError> {
    format_in_source(path, Source::from(bytes), limits)
}

fn format_in_source(path: &Path, source: Source, limits: &DecodeLimits) -> Result<PixelFormat, ImageError> {
    Ok(match format_in(path, &source)?.0 {
        Format::NumPy => header(path, &source.into_bytes(path, limits)?, limits)?.stored(),
        Format::Image(ImageFormat::Tiff) => match Tiff::open(&source) {
            Ok(tiff) => tiff.header(),
            Err(problem) => otherwise(path, source, problem, limits, header_by_library)?,
        }
        .format(),
        Format::Image(_) => header(path, &source.into_bytes(path, limits)?, limits)?.format(),
    })
}

/// The header of a file in a format other than TIFF.
fn header(path: &Path, bytes: &[u8], limits: &DecodeLimits) -> Result<Header, ImageError> {
    let format = match known_format(path, bytes)?.0 {
        Format::NumPy => return Ok(npy(path, bytes, limits)?.header()),
        Format::Image(ImageFormat::Jpeg) => {
            let opened = open(path, bytes.to_vec(), limits)?;
            let channels = if opened.is_grey { 1 } else { 3 };
            let (height, width) = opened.size();
            return Ok(Header { height, width, channels, alpha: false, pixel_type: PixelType::U8 });
        }
        Format::Image(ImageFormat::Pnm) => {
            return ppm::decode_stored(path, bytes, limits).map(|image| Header::of(&image));
        }
        Format::Image(format) => format,
    };
    header_by_library(path, bytes, format, limits)
}

/// Decodes a file in a format other than TIFF.
fn decode(path: &Path, bytes: &[u8], limits: &DecodeLimits) -> Result<Stored, ImageError> {
    let format = match known_format(path, bytes)?.0 {
        Format::NumPy => {
            let stored = npy(path, bytes, limits)?.read(limits.max_bytes);
            return stored.map_err(|problem| problem.refuse(path, "NumPy", bytes.len() as u64, limits));
        }
        Format::Image(ImageFormat::Jpeg) => return jpeg(path, bytes, limits),
        Format::Image(ImageFormat::Pnm) => {
            let image = ppm::decode_stored(path, bytes, limits)?;
            return Ok(Stored { image, alpha: false, orientation: Orientation::NoTransforms });
        }
        Format::Image(format) => format,
    };
    by_library(path, bytes, format, limits)
}

/// Opens a NumPy file within the limits.
fn npy<'a>(path: &Path, bytes: &'a [u8], limits: &DecodeLimits) -> Result<Npy<'a>, ImageError> {
    let npy =
        Npy::open(bytes).map_err(|problem| problem.refuse(path, "NumPy", bytes.len() as u64, limits))?;
    npy.header().check(path, limits)?;
    Ok(npy)
}

/// Handles a TIFF file that our reader refuses: if colours must be computed, the `image` crate reads it from the whole
/// file.
fn otherwise<T>(
    path: &Path,
    source: Source,
    problem: Problem,
    limits: &DecodeLimits,
    by_library: impl FnOnce(&Path, &[u8], ImageFormat, &DecodeLimits) -> Result<T, ImageError>,
) -> Result<T, ImageError> {
    let length = source.length();
    let refuse = |problem: Problem| problem.refuse(path, "TIFF", length, limits);
    if !matches!(problem, Problem::Colours(_)) {
        return Err(refuse(problem));
    }
    let bytes = source.into_bytes(path, limits)?;
    by_library(path, &bytes, ImageFormat::Tiff, limits).map_err(|error| match error {
        // Our reader's description is more precise.
        ImageError::Decode { source: ::image::ImageError::Unsupported(_), .. } => refuse(problem),
        other => other,
    })
}

/// Grey has one channel; CMYK becomes RGB as in Pillow.
fn jpeg(path: &Path, bytes: &[u8], limits: &DecodeLimits) -> Result<Stored, ImageError> {
    let opened = open(path, bytes.to_vec(), limits)?;
    let (grey, orientation) = (opened.is_grey, opened.orientation);
    let image = opened.decode(path)?;
    let image = if grey { first_channel(&image) } else { image };
    Ok(Stored { image: image.into(), alpha: false, orientation })
}

fn first_channel(image: &Image) -> Image {
    let data = image.data().iter().step_by(image.channels()).copied().collect();
    Image::new(image.height(), image.width(), 1, data).expect("one number a pixel")
}

/// The header of an image as [`by_library`] decodes it, before it is turned upright.
fn header_by_library(
    path: &Path,
    bytes: &[u8],
    format: ImageFormat,
    limits: &DecodeLimits,
) -> Result<Header, ImageError> {
    header_of(path, bytes, format, &decoder(path, bytes, format, limits)?)
}

fn header_of(
    path: &Path,
    bytes: &[u8],
    format: ImageFormat,
    decoder: &impl ImageDecoder,
) -> Result<Header, ImageError> {
    let unsupported = |kind| Err(ImageError::Unsupported { path: path.into(), kind, advice: CONVERT });
    if format == ImageFormat::Tiff && garbles(decoder, bytes) {
        return unsupported("a TIFF image with bands beyond CMYK, in tiles or with a predictor".to_owned());
    }
    let color = decoder.color_type();
    let pixel_type = match color.bytes_per_pixel() / color.channel_count() {
        1 => PixelType::U8,
        2 => PixelType::U16,
        4 => PixelType::F32,
        _ => return unsupported(format!("of the type {color:?}")),
    };
    let (width, height) = decoder.dimensions();
    Ok(Header {
        height: height as usize,
        width: width as usize,
        channels: color.channel_count().into(),
        alpha: color.has_alpha(),
        pixel_type,
    })
}

/// Palettes become their colours, and grey of fewer than 8 bits is rescaled to 8.
fn by_library(
    path: &Path,
    bytes: &[u8],
    format: ImageFormat,
    limits: &DecodeLimits,
) -> Result<Stored, ImageError> {
    let mut decoder = decoder(path, bytes, format, limits)?;
    let header = header_of(path, bytes, format, &decoder)?;
    let Header { height, width, channels, alpha, .. } = header;
    let orientation = orientation(&mut decoder, bytes, format);
    let decoded = DynamicImage::from_decoder(decoder);
    let decoded = decoded.map_err(|source| ImageError::Decode {
        path: path.into(),
        bytes: bytes.len() as u64,
        source,
    })?;
    use DynamicImage as D;
    let image: AnyImage = match decoded {
        D::ImageLuma8(image) => Image::new(height, width, channels, image.into_raw())?.into(),
        D::ImageLumaA8(image) => Image::new(height, width, channels, image.into_raw())?.into(),
        D::ImageRgb8(image) => Image::new(height, width, channels, image.into_raw())?.into(),
        D::ImageRgba8(image) => Image::new(height, width, channels, image.into_raw())?.into(),
        D::ImageLuma16(image) => Image::new(height, width, channels, image.into_raw())?.into(),
        D::ImageLumaA16(image) => Image::new(height, width, channels, image.into_raw())?.into(),
        D::ImageRgb16(image) => Image::new(height, width, channels, image.into_raw())?.into(),
        D::ImageRgba16(image) => Image::new(height, width, channels, image.into_raw())?.into(),
        D::ImageRgb32F(image) => Image::new(height, width, channels, image.into_raw())?.into(),
        D::ImageRgba32F(image) => Image::new(height, width, channels, image.into_raw())?.into(),
        other => {
            let kind = format!("of the type {:?}", other.color());
            return Err(ImageError::Unsupported { path: path.into(), kind, advice: CONVERT });
        }
    };
    let image = of_any!(image, image => image.upright(orientation).into());
    Ok(Stored { image, alpha, orientation })
}
