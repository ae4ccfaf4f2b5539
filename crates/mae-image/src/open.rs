//! Reads image files of all common formats as upright RGB, within limits.

use std::io::Cursor;
use std::path::Path;

use ::image::metadata::Orientation;
use ::image::{DynamicImage, ImageBuffer, ImageDecoder, ImageFormat, ImageReader, Limits};

use crate::jpeg::{self, CONVERT, Frame, Markers, Refused};
use crate::source::Source;
use crate::stored::header::Problem;
use crate::stored::npy;
use crate::tiff::Tiff;
use crate::{AnyImage, Crop, DecodeLimits, Image, ImageError, Pixel, exif, ppm};

/// A supported file format.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Image(ImageFormat),
    NumPy,
}

/// The supported formats. A file's format is detected from its content, not from its name.
const FORMATS: [(Format, &str); 8] = [
    (Format::Image(ImageFormat::Jpeg), "JPEG"),
    (Format::Image(ImageFormat::Png), "PNG"),
    (Format::Image(ImageFormat::WebP), "WebP"),
    (Format::Image(ImageFormat::Gif), "GIF"),
    (Format::Image(ImageFormat::Bmp), "BMP"),
    (Format::Image(ImageFormat::Tiff), "TIFF"),
    (Format::Image(ImageFormat::Pnm), "PNM"),
    (Format::NumPy, "NumPy"),
];

/// An opened file whose requested pixels are not known yet.
pub(crate) struct Opened {
    pub(crate) pixels: Pixels,
    /// Whether it is a JPEG file of one component, so that its three channels are equal.
    pub(crate) is_grey: bool,
    /// The orientation of the stored image, which has been applied.
    pub(crate) orientation: Orientation,
}

pub(crate) enum Pixels {
    Image(Image),
    Jpeg(Vec<u8>, Frame),
}

/// Decodes the bytes of a file, unless it is a JPEG file that can be decoded in part.
pub(crate) fn open(path: &Path, bytes: Vec<u8>, limits: &DecodeLimits) -> Result<Opened, ImageError> {
    let (format, _) = known_format(path, &bytes)?;
    match format {
        Format::Image(ImageFormat::Jpeg) => {}
        Format::Image(ImageFormat::Pnm) => {
            return ppm::decode(path, &bytes, limits)
                .map(|image| Opened::of(image, Orientation::NoTransforms));
        }
        Format::Image(format) => return decode(path, &bytes, format, limits),
        Format::NumPy => {
            let advice = "its numbers have no colours; name their format, for instance `--pixels f32x4` \
                          (in a library: `PixelFormat::Stored`)";
            return Err(ImageError::Unsupported {
                path: path.into(),
                kind: "a NumPy array".to_owned(),
                advice,
            });
        }
    }
    let markers = Markers::find(&bytes);
    if !markers.complete {
        return Err(ImageError::Truncated { path: path.into(), bytes: bytes.len() as u64 });
    }
    let refuse = |source| ImageError::Decode { path: path.into(), bytes: bytes.len() as u64, source };
    let frame = markers.frame(&bytes).map_err(|refused| match refused {
        Refused::Kind(kind, advice) => ImageError::Unsupported { path: path.into(), kind, advice },
        Refused::Damaged(message) => refuse(jpeg::damaged(message)),
    })?;
    let (height, width, is_grey, orientation) =
        (frame.height, frame.width, frame.is_grey(), frame.orientation);
    limits.check(path, (height as u32, width as u32), frame.bytes())?;
    if orientation == Orientation::NoTransforms {
        return Ok(Opened { pixels: Pixels::Jpeg(bytes, frame), is_grey, orientation });
    }
    let mut pixels = Vec::new();
    let whole = Crop { top: 0, left: 0, height, width };
    frame.decode(&bytes, whole, &mut pixels).map_err(refuse)?;
    let image = Image::new(height, width, 3, pixels)?.upright(orientation);
    Ok(Opened { pixels: Pixels::Image(image), is_grey, orientation })
}

impl Opened {
    /// Wraps a decoded image that was turned upright from `orientation`.
    fn of(image: Image, orientation: Orientation) -> Self {
        Self { pixels: Pixels::Image(image), is_grey: false, orientation }
    }

    /// `(height, width)` of the upright image.
    pub(crate) fn size(&self) -> (usize, usize) {
        match &self.pixels {
            Pixels::Image(image) => (image.height(), image.width()),
            Pixels::Jpeg(_, frame) => (frame.height, frame.width),
        }
    }

    /// Decodes the whole image.
    pub(crate) fn decode(self, path: &Path) -> Result<Image, ImageError> {
        let (height, width) = self.size();
        match self.pixels {
            Pixels::Image(image) => Ok(image),
            Pixels::Jpeg(file, frame) => {
                let mut pixels = Vec::new();
                let whole = Crop { top: 0, left: 0, height, width };
                frame.decode(&file, whole, &mut pixels).map_err(|source| {
                    let bytes = file.len() as u64;
                    ImageError::Decode { path: path.into(), bytes, source }
                })?;
                Image::new(height, width, 3, pixels)
            }
        }
    }
}

/// The format that the first bytes indicate, and its name.
pub(crate) fn known_format(path: &Path, bytes: &[u8]) -> Result<(Format, &'static str), ImageError> {
    // BigTIFF, for files beyond 4 GB.
    let big = bytes.starts_with(b"II+\0") || bytes.starts_with(b"MM\0+");
    let guess = if big { Some(ImageFormat::Tiff) } else { ::image::guess_format(bytes).ok() };
    let is_numpy = bytes.starts_with(npy::MAGIC);
    let guess = if is_numpy { Some(Format::NumPy) } else { guess.map(Format::Image) };
    let known = FORMATS.into_iter().find(|(format, _)| Some(*format) == guess);
    known.ok_or_else(|| match other_format(bytes) {
        Some(kind) => ImageError::Unsupported { path: path.into(), kind: kind.to_owned(), advice: CONVERT },
        None => ImageError::NotAnImage { path: path.into(), known: known_formats() },
    })
}

/// The name of a known but unsupported format, by its magic bytes.
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

/// The `image` crate's decoder for an image within the limits.
pub(crate) fn decoder<'a>(
    path: &Path,
    bytes: &'a [u8],
    format: ImageFormat,
    limits: &DecodeLimits,
) -> Result<impl ImageDecoder + 'a, ImageError> {
    let refuse = |source| ImageError::Decode { path: path.into(), bytes: bytes.len() as u64, source };
    if format == ImageFormat::WebP {
        check_webp(bytes).map_err(|problem| problem.refuse(path, "WebP", bytes.len() as u64, limits))?;
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut decoder_limits = Limits::no_limits();
    decoder_limits.max_alloc = Some(limits.max_bytes);
    reader.limits(decoder_limits);
    let decoder = reader.into_decoder().map_err(refuse)?;
    let (width, height) = decoder.dimensions();
    // The WebP decoder holds four channels while it writes three.
    let held = if format == ImageFormat::WebP { 4 * u64::from(height) * u64::from(width) } else { 0 };
    limits.check(path, (height, width), decoder.total_bytes().max(held))?;
    Ok(decoder)
}

/// Refuses a WebP file that ends within its metadata, as libwebp does. The decoder would allocate the chunk's declared
/// length before reading it.
fn check_webp(bytes: &[u8]) -> Result<(), Problem> {
    const HEADER: usize = 12;
    let mut rest = bytes.get(HEADER..).unwrap_or_default();
    // Other WebP files have a single chunk.
    if !rest.starts_with(b"VP8X") {
        return Ok(());
    }
    while let Some((kind, after)) = rest.split_first_chunk::<4>() {
        let Some((length, data)) = after.split_first_chunk() else { break };
        let length = u32::from_le_bytes(*length) as usize;
        if matches!(kind, b"EXIF" | b"XMP " | b"ICCP") && length > data.len() {
            let (kind, held) = (String::from_utf8_lossy(kind), data.len());
            let message =
                format!("the chunk {} announces {length} bytes, but {held} follow", kind.trim_end());
            return Err(Problem::Damaged(message));
        }
        // Chunks begin at even offsets.
        let Some(next) = data.get(length.saturating_add(length % 2)..) else { break };
        rest = next;
    }
    Ok(())
}

/// Decodes a whole image of a format other than JPEG, PNM and NumPy.
fn decode(
    path: &Path,
    bytes: &[u8],
    format: ImageFormat,
    limits: &DecodeLimits,
) -> Result<Opened, ImageError> {
    let refuse = |source| ImageError::Decode { path: path.into(), bytes: bytes.len() as u64, source };
    let mut decoder = decoder(path, bytes, format, limits)?;
    let (width, height) = decoder.dimensions();
    let orientation = orientation(&mut decoder, bytes, format);
    let decoded = if format == ImageFormat::Tiff && garbles(&decoder, bytes) {
        first_bands(path, bytes, limits)?
    } else {
        DynamicImage::from_decoder(decoder).map_err(refuse)?
    };
    let pixels = decoded.into_rgb8().into_raw();
    let image = Image::new(height as usize, width as usize, 3, pixels)?.upright(orientation);
    Ok(Opened::of(image, orientation))
}

/// Whether the `image` crate's TIFF decoder would drop extra bands and garble the others, as it does in tiles and with
/// a predictor.
pub(crate) fn garbles(decoder: &impl ImageDecoder, bytes: &[u8]) -> bool {
    const SAMPLES_PER_PIXEL: u64 = 277;
    const PREDICTOR: u64 = 317;
    const TILE_WIDTH: u64 = 322;
    let decoded = u32::from(decoder.original_color_type().channel_count());
    let is_more = exif::tag(bytes, SAMPLES_PER_PIXEL).is_some_and(|bands| bands > decoded);
    is_more && (exif::tag(bytes, TILE_WIDTH).is_some() || exif::tag(bytes, PREDICTOR).unwrap_or(1) != 1)
}

/// Decodes the first three bands of a TIFF file as RGB, or the first band as grey if there are fewer than three.
fn first_bands(path: &Path, bytes: &[u8], limits: &DecodeLimits) -> Result<DynamicImage, ImageError> {
    let refuse = |problem: Problem| problem.refuse(path, "TIFF", bytes.len() as u64, limits);
    let source = Source::from(bytes);
    let tiff = Tiff::first_page(&source).map_err(refuse)?;
    let header = tiff.header();
    header.check(path, limits)?;
    let (width, height) = (header.width as u32, header.height as u32);
    let decoded = match tiff.read(&source, tiff.whole(), limits.max_bytes).map_err(refuse)?.image {
        AnyImage::U8(image) => {
            ImageBuffer::from_raw(width, height, colours(&image)).map(DynamicImage::ImageRgb8)
        }
        AnyImage::U16(image) => {
            ImageBuffer::from_raw(width, height, colours(&image)).map(DynamicImage::ImageRgb16)
        }
        AnyImage::F32(image) => {
            ImageBuffer::from_raw(width, height, colours(&image)).map(DynamicImage::ImageRgb32F)
        }
    };
    Ok(decoded.expect("three numbers a pixel"))
}

fn colours<T: Pixel>(image: &Image<T>) -> Vec<T> {
    let pixels = image.data().chunks_exact(image.channels());
    let colours = pixels.flat_map(|pixel| match *pixel {
        [red, green, blue, ..] => [red, green, blue],
        _ => [pixel[0]; 3],
    });
    colours.collect()
}

/// The orientation of an image in a format other than JPEG. Unreadable metadata is ignored: if the file is damaged,
/// decoding reports it.
pub(crate) fn orientation(decoder: &mut impl ImageDecoder, bytes: &[u8], format: ImageFormat) -> Orientation {
    let xmp = match format {
        // Pillow reads no XMP there.
        ImageFormat::Gif => None,
        _ => decoder.xmp_metadata().ok().flatten(),
    };
    let exif = match format {
        // The orientation is a tag of the file itself.
        ImageFormat::Tiff => Some(bytes.to_vec()),
        ImageFormat::Png => exif_of_png(bytes).map(<[u8]>::to_vec),
        _ => decoder.exif_metadata().ok().flatten(),
    };
    exif::orientation(exif.as_deref(), xmp.as_deref())
}

/// The EXIF chunk of a PNG file, which may come after the pixels.
pub(crate) fn exif_of_png(bytes: &[u8]) -> Option<&[u8]> {
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

fn known_formats() -> String {
    FORMATS.map(|(_, name)| name).join(", ")
}
