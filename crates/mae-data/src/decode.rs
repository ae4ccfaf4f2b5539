//! Reads an image file of any common kind into upright RGB, within limits.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use ::image::metadata::Orientation;
use ::image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};

use crate::jpeg::{self, CONVERT, Frame, Markers, Refused};
use crate::{Crop, DataError, Encoded, Image, exif, ppm};

/// The formats that are read, by the content of a file and not by its name.
const FORMATS: [(ImageFormat, &str); 7] = [
    (ImageFormat::Jpeg, "JPEG"),
    (ImageFormat::Png, "PNG"),
    (ImageFormat::WebP, "WebP"),
    (ImageFormat::Gif, "GIF"),
    (ImageFormat::Bmp, "BMP"),
    (ImageFormat::Tiff, "TIFF"),
    (ImageFormat::Pnm, "PNM"),
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
/// background colour. JPEG files, whatever their layout, are libjpeg-turbo's to the bit.
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
    match format {
        ImageFormat::Jpeg => {}
        ImageFormat::Pnm => return ppm::decode(path, &bytes, limits).map(Opened::Image),
        _ => return decode(path, &bytes, format, limits).map(Opened::Image),
    }
    let markers = Markers::find(&bytes);
    if !markers.complete {
        return Err(DataError::Truncated { path: path.into(), bytes: bytes.len() as u64 });
    }
    let refuse = |source| DataError::Decode { path: path.into(), bytes: bytes.len() as u64, source };
    let frame = markers.frame(&bytes).map_err(|refused| match refused {
        Refused::Kind(kind, advice) => DataError::Unsupported { path: path.into(), kind, advice },
        Refused::Damaged(message) => refuse(jpeg::damaged(message)),
    })?;
    let (height, width) = (frame.height, frame.width);
    check_size(path, (height as u32, width as u32), frame.bytes(), limits)?;
    if frame.orientation == Orientation::NoTransforms {
        return Ok(Opened::Jpeg(bytes, frame));
    }
    let mut pixels = Vec::new();
    let whole = Crop { top: 0, left: 0, height, width };
    frame.decode(&bytes, whole, &mut pixels).map_err(refuse)?;
    let pixels = RgbImage::from_raw(width as u32, height as u32, pixels).expect("the pixels fill the image");
    upright(pixels, frame.orientation).map(Opened::Image)
}

/// Turns an image upright.
fn upright(pixels: RgbImage, orientation: Orientation) -> Result<Image, DataError> {
    let mut upright = DynamicImage::ImageRgb8(pixels);
    upright.apply_orientation(orientation);
    let pixels = upright.into_rgb8();
    let (width, height) = pixels.dimensions();
    Image::new(height as usize, width as usize, 3, pixels.into_raw())
}

/// The format that the first bytes tell, and its name.
fn known_format(path: &Path, bytes: &[u8]) -> Result<(ImageFormat, &'static str), DataError> {
    // BigTIFF, for files beyond 4 GB.
    let big = bytes.starts_with(b"II+\0") || bytes.starts_with(b"MM\0+");
    let guess = if big { Some(ImageFormat::Tiff) } else { ::image::guess_format(bytes).ok() };
    let known = FORMATS.into_iter().find(|(format, _)| Some(*format) == guess);
    known.ok_or_else(|| match other_format(bytes) {
        Some(kind) => DataError::Unsupported { path: path.into(), kind: kind.to_owned(), advice: CONVERT },
        None => DataError::NotAnImage { path: path.into(), known: known_formats() },
    })
}

/// Image formats that are not read, by the bytes that a file of them begins with, or has behind the first four.
fn other_format(bytes: &[u8]) -> Option<&'static str> {
    let brand = bytes.get(8..12).filter(|_| bytes.get(4..8) == Some(b"ftyp"));
    match brand {
        Some(b"avif" | b"avis") => return Some("AVIF"),
        Some(b"heic" | b"heix" | b"hevc" | b"hevx" | b"mif1" | b"msf1" | b"heim" | b"heis") => {
            return Some("HEIC");
        }
        Some(_) => return Some("a video"),
        None => {}
    }
    let begins: [(&[u8], &str); 8] = [
        (b"\xff\x0a", "JPEG XL"),
        (b"\0\0\0\x0cJXL ", "JPEG XL"),
        (b"\0\0\0\x0cjP  ", "JPEG 2000"),
        (b"\xff\x4f\xff\x51", "JPEG 2000"),
        (b"8BPS", "a Photoshop document"),
        (b"%PDF", "a PDF document"),
        (b"P7\n", "PAM"),
        (b"qoif", "QOI"),
    ];
    let dicom = bytes.get(128..132) == Some(b"DICM");
    let begun = begins.into_iter().find(|(begin, _)| bytes.starts_with(begin)).map(|(_, name)| name);
    begun.or(dicom.then_some("DICOM"))
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
    // WebP's decoder holds four channels while it writes three.
    let held = if format == ImageFormat::WebP { 4 * u64::from(height) * u64::from(width) } else { 0 };
    check_size(path, (height, width), decoder.total_bytes().max(held), limits)?;

    let orientation = orientation(&mut decoder, bytes, format);
    upright(DynamicImage::from_decoder(decoder).map_err(refuse)?.into_rgb8(), orientation)
}

/// How an image of another format than JPEG is turned upright. Data that cannot be read tells nothing: if the file is
/// damaged, decoding will say so.
fn orientation(decoder: &mut impl ImageDecoder, bytes: &[u8], format: ImageFormat) -> Orientation {
    let xmp = match format {
        // Pillow reads none there.
        ImageFormat::Gif => None,
        _ => decoder.xmp_metadata().ok().flatten(),
    };
    let exif = match format {
        // The tag is one of the file's own.
        ImageFormat::Tiff => Some(bytes.to_vec()),
        ImageFormat::Png => exif_of_png(bytes).map(<[u8]>::to_vec),
        _ => decoder.exif_metadata().ok().flatten(),
    };
    exif::orientation(exif.as_deref(), xmp.as_deref())
}

/// The EXIF chunk of a PNG file, which may stand behind the pixels.
fn exif_of_png(bytes: &[u8]) -> Option<&[u8]> {
    const SIGNATURE: usize = 8;
    let (mut rest, mut found) = (bytes.get(SIGNATURE..)?, None);
    while let Some((length, chunk)) = rest.split_first_chunk() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some((kind, data)) = chunk.split_first_chunk::<4>() else { break };
        let Some(data) = data.get(..length) else { break };
        if kind == b"eXIf" {
            found = Some(data);
        }
        // A checksum follows.
        let Some(next) = chunk.get(4 + length + 4..) else { break };
        rest = next;
    }
    found
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
