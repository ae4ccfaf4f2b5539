//! Image files as the numbers that are stored in them, of any type and number of channels.

pub(crate) mod canvas;
pub(crate) mod header;
pub(crate) mod npy;

use std::path::Path;

use ::image::{DynamicImage, ImageDecoder, ImageFormat};

use crate::jpeg::CONVERT;
use crate::open::{Format, decoder, garbles, known_format, open, orientation, read};
use crate::tiff::Tiff;
use crate::{AnyImage, DecodeLimits, Image, ImageError, PixelFormat, PixelType, of_any, ppm};

use header::{Header, Problem, Stored};
use npy::Npy;

/// Decodes a file that must hold numbers of this type and this many channels, alpha aside where they do not count it.
pub(crate) fn decode_as(
    path: &Path,
    bytes: &[u8],
    (pixel_type, channels): (PixelType, usize),
    limits: &DecodeLimits,
) -> Result<AnyImage, ImageError> {
    let Stored { image, alpha } = decode(path, bytes, limits)?;
    let (found, stored) = (image.channels(), image.pixel_type());
    if stored == pixel_type && found == channels {
        return Ok(image);
    }
    if stored == pixel_type && alpha && found == channels + 1 {
        return Ok(of_any!(image, image => image.without_last_channel().into()));
    }
    Err(ImageError::PixelFormat {
        path: path.into(),
        found: PixelFormat::Stored { pixel_type: stored, channels: found },
        expected: PixelFormat::Stored { pixel_type, channels },
    })
}

/// The format that loses nothing of an image file but alpha: [`PixelFormat::Rgb8`] for 8-bit grey and colours of all formats but
/// NumPy.
///
/// | file | format |
/// |---|---|
/// | PNG, WebP, GIF, BMP, JPEG, PNM | 8 or 16 bits as stored, 1 to 3 channels; palettes become colours |
/// | TIFF | as stored: any number of bands, `u8` and `u16`; all other numbers, and images with a value for "no data", are `f32` |
/// | NumPy (`.npy`) | `[H, W]`, `[C, H, W]` with C < W, else `[H, W, C]`; `u8`, `u16`, all other numbers `f32` |
///
/// A 64-bit float is rounded to the nearest `f32`. An integer that no `f32` holds exactly is refused when it is decoded.
///
/// # Errors
/// As [`decode_file`](crate::decode_file), for what shows in the file's header: pixels are not decoded.
pub fn stored_format(path: impl AsRef<Path>, limits: &DecodeLimits) -> Result<PixelFormat, ImageError> {
    let path = path.as_ref();
    format_of(path, &read(path, limits)?, limits)
}

/// [`stored_format`] of the bytes of a file, which errors call `path`.
///
/// # Errors
/// As there, but for those of reading.
pub fn format_of(path: &Path, bytes: &[u8], limits: &DecodeLimits) -> Result<PixelFormat, ImageError> {
    let header = header(path, bytes, limits)?;
    Ok(match known_format(path, bytes)?.0 {
        Format::NumPy => header.stored(),
        Format::Image(_) => header.format(),
    })
}

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
    let by_library = || header_by_library(path, bytes, format, limits);
    match format {
        ImageFormat::Tiff => tiff(path, bytes, limits, |tiff| Ok(tiff.header()), by_library),
        _ => by_library(),
    }
}

fn decode(path: &Path, bytes: &[u8], limits: &DecodeLimits) -> Result<Stored, ImageError> {
    let format = match known_format(path, bytes)?.0 {
        Format::NumPy => {
            let stored = npy(path, bytes, limits)?.read(limits.max_bytes);
            return stored.map_err(|problem| problem.refuse(path, "NumPy", bytes.len(), limits));
        }
        Format::Image(ImageFormat::Jpeg) => return jpeg(path, bytes, limits),
        Format::Image(ImageFormat::Pnm) => {
            let image = ppm::decode_stored(path, bytes, limits)?;
            return Ok(Stored { image, alpha: false });
        }
        Format::Image(format) => format,
    };
    let by_library = || by_library(path, bytes, format, limits);
    let ours = |tiff: &Tiff| {
        let Stored { image, alpha } = tiff.read(limits.max_bytes)?;
        let image = of_any!(image, image => image.upright(tiff.orientation()).into());
        Ok(Stored { image, alpha })
    };
    match format {
        ImageFormat::Tiff => tiff(path, bytes, limits, ours, by_library),
        _ => by_library(),
    }
}

/// Opens a NumPy file within the limits.
fn npy<'a>(path: &Path, bytes: &'a [u8], limits: &DecodeLimits) -> Result<Npy<'a>, ImageError> {
    let npy = Npy::open(bytes).map_err(|problem| problem.refuse(path, "NumPy", bytes.len(), limits))?;
    npy.header().check(path, limits)?;
    Ok(npy)
}

/// Reads a TIFF file within the limits: by our reader, or by the `image` crate if colours must be computed.
fn tiff<T>(
    path: &Path,
    bytes: &[u8],
    limits: &DecodeLimits,
    ours: impl FnOnce(&Tiff) -> Result<T, Problem>,
    by_library: impl FnOnce() -> Result<T, ImageError>,
) -> Result<T, ImageError> {
    let refuse = |problem: Problem| problem.refuse(path, "TIFF", bytes.len(), limits);
    match Tiff::open(bytes) {
        Ok(tiff) => {
            tiff.header().check(path, limits)?;
            ours(&tiff).map_err(refuse)
        }
        Err(problem @ Problem::Colours(_)) => by_library().map_err(|error| match error {
            // Our reader knows better what it is.
            ImageError::Decode { source: ::image::ImageError::Unsupported(_), .. } => refuse(problem),
            other => other,
        }),
        Err(problem) => Err(refuse(problem)),
    }
}

/// Grey has one channel; CMYK becomes RGB, as Pillow makes it.
fn jpeg(path: &Path, bytes: &[u8], limits: &DecodeLimits) -> Result<Stored, ImageError> {
    let opened = open(path, bytes.to_vec(), limits)?;
    let grey = opened.is_grey;
    let image = opened.decode(path)?;
    let image = if grey { first_channel(&image) } else { image };
    Ok(Stored { image: image.into(), alpha: false })
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

/// Palettes become their colours, and grey of fewer than 8 bits is stretched to 8.
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
    Ok(Stored { image, alpha })
}
