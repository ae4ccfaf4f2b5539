//! Reads an image file of any common kind into upright RGB, within limits.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use ::image::metadata::Orientation;
use ::image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use crate::jpeg::{Frame, Markers};
use crate::{DataError, Encoded, Image};

/// The formats that are read, by the content of a file and not by its name.
const FORMATS: [(ImageFormat, &str); 6] = [
    (ImageFormat::Jpeg, "JPEG"),
    (ImageFormat::Png, "PNG"),
    (ImageFormat::WebP, "WebP"),
    (ImageFormat::Gif, "GIF"),
    (ImageFormat::Bmp, "BMP"),
    (ImageFormat::Tiff, "TIFF"),
];

/// What decoding one image may cost: a guard against small files that unpack into huge images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DecodeLimits {
    /// The most pixels an image may have.
    pub max_pixels: u64,
    /// The most bytes that a file may have, and that its pixels may take as its decoder writes them. Dropping
    /// alpha, narrowing 16 bits and turning the image upright can hold a second, smaller copy for a moment.
    pub max_bytes: u64,
}

impl Default for DecodeLimits {
    /// # Source
    /// 178,956,970 pixels: where Pillow raises `DecompressionBombError`, twice `Image.MAX_IMAGE_PIXELS`.
    /// 512 MiB: the `image` crate's own default, and just that many RGB pixels.
    fn default() -> Self {
        Self { max_pixels: 178_956_970, max_bytes: 512 << 20 }
    }
}

/// Reads an image file as upright RGB, whatever its format and kind of pixel.
///
/// The format is told from the content. Of an animation the first frame is read, of a document the first page.
/// Grey becomes three equal channels, a palette its colours, CMYK what Pillow makes of it; alpha is dropped, not
/// blended; the EXIF orientation is applied; a colour profile is ignored.
///
/// Deviation: Pillow cuts 16-bit grey off at 255; here 16 bits are divided by 257 and rounded, so that white stays
/// white and black black. The part of a GIF's canvas that its first frame leaves bare is black, whatever the
/// background colour. Upright baseline JPEG files in colour, of the usual subsampling, are libjpeg-turbo's to the bit;
/// others (progressive, grey, CMYK, with an orientation) differ from its reading by 0.3 levels on average and up to 7.
///
/// # Shapes
/// `[H, W, 3]`
///
/// # Errors
/// A [`DataError`] naming the file: unreadable, empty, no image, cut short or damaged, or beyond `limits`.
pub fn decode_file(path: &Path, limits: &DecodeLimits) -> Result<Image, DataError> {
    decode_with_format(path, limits).map(|(image, _)| image)
}

/// [`decode_file`], and the name of the file's format.
pub(crate) fn decode_with_format(
    path: &Path,
    limits: &DecodeLimits,
) -> Result<(Image, &'static str), DataError> {
    let bytes = read(path, limits)?;
    let (_, format) = known_format(path, &bytes)?;
    Ok((Encoded::new(path, bytes, limits)?.decode()?, format))
}

/// What is made of a file before it is known which of its pixels are wanted.
pub(crate) enum Opened {
    Image(Image),
    Jpeg(Vec<u8>, Frame),
}

/// Decodes the bytes of a file, unless it is a JPEG file that can be decoded in part.
pub(crate) fn open(path: &Path, bytes: Vec<u8>, limits: &DecodeLimits) -> Result<Opened, DataError> {
    let (format, _) = known_format(path, &bytes)?;
    if format == ImageFormat::Jpeg {
        let markers = Markers::find(&bytes);
        if !markers.complete {
            return Err(DataError::Truncated { path: path.into(), bytes: bytes.len() as u64 });
        }
        if let Some(frame) = markers.frame {
            let (height, width) = (frame.height as u32, frame.width as u32);
            check_size(path, (height, width), 3 * u64::from(height) * u64::from(width), limits)?;
            return Ok(Opened::Jpeg(bytes, frame));
        }
    }
    decode(path, &bytes, format, limits).map(Opened::Image)
}

/// The format that the first bytes tell, and its name.
fn known_format(path: &Path, bytes: &[u8]) -> Result<(ImageFormat, &'static str), DataError> {
    ::image::guess_format(bytes)
        .ok()
        .and_then(|guess| FORMATS.into_iter().find(|(format, _)| *format == guess))
        .ok_or_else(|| DataError::NotAnImage { path: path.into(), known: known_formats() })
}

/// Decodes a whole image of any kind.
fn decode(path: &Path, bytes: &[u8], format: ImageFormat, limits: &DecodeLimits) -> Result<Image, DataError> {
    let refuse = |source| DataError::Decode { path: path.into(), bytes: bytes.len() as u64, source };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut decoder_limits = Limits::no_limits();
    decoder_limits.max_alloc = Some(limits.max_bytes);
    reader.limits(decoder_limits);
    let mut decoder = reader.into_decoder().map_err(refuse)?;
    let (width, height) = decoder.dimensions();
    check_size(path, (height, width), decoder.total_bytes(), limits)?;

    // An orientation that cannot be read is none: if the file is damaged, decoding will say so.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let pixels = DynamicImage::from_decoder(decoder).map_err(refuse)?.into_rgb8();
    let mut upright = DynamicImage::ImageRgb8(pixels);
    upright.apply_orientation(orientation);
    let pixels = upright.into_rgb8();
    let (width, height) = pixels.dimensions();
    Image::new(height as usize, width as usize, 3, pixels.into_raw())
}

/// The whole file: decoding from memory is faster, and the time spent on a slow disk is one read.
pub(crate) fn read(path: &Path, limits: &DecodeLimits) -> Result<Vec<u8>, DataError> {
    let refuse = |source| DataError::Read { path: path.into(), source };
    let file = File::open(path).map_err(refuse)?;
    let length = file.metadata().map_err(refuse)?.len();
    if length > limits.max_bytes {
        let max_bytes = limits.max_bytes;
        return Err(DataError::FileTooLarge { path: path.into(), bytes: length, max_bytes });
    }
    let mut bytes = Vec::with_capacity(length as usize);
    file.take(limits.max_bytes).read_to_end(&mut bytes).map_err(refuse)?;
    if bytes.is_empty() {
        return Err(DataError::EmptyFile { path: path.into() });
    }
    Ok(bytes)
}

pub(crate) fn check_size(
    path: &Path,
    (height, width): (u32, u32),
    bytes: u64,
    limits: &DecodeLimits,
) -> Result<(), DataError> {
    let pixels = u64::from(height) * u64::from(width);
    if pixels == 0 {
        return Err(DataError::NoPixels { path: path.into(), height, width });
    }
    if pixels > limits.max_pixels {
        let max_pixels = limits.max_pixels;
        return Err(DataError::TooManyPixels { path: path.into(), height, width, pixels, max_pixels });
    }
    if bytes > limits.max_bytes {
        let max_bytes = limits.max_bytes;
        return Err(DataError::TooManyBytes { path: path.into(), height, width, bytes, max_bytes });
    }
    Ok(())
}

fn known_formats() -> String {
    FORMATS.map(|(_, name)| name).join(", ")
}
