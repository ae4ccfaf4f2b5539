//! Label images: files whose values stand for classes and are read as stored.

use std::io::{self, Cursor};
use std::path::Path;

use ::image::ImageFormat;
use png::{BitDepth, ColorType};

use crate::open::{Format, exif_of_png};
use crate::source::Source;
use crate::stored::format_in;
use crate::stored::header::Problem;
use crate::tiff::Tiff;
use crate::{AnyImage, DecodeLimits, Image, ImageError, PixelType, exif, of_any};

/// Advice for a label image in an unsupported format.
const EXPORT: &str = "label maps must be PNG or TIFF";

/// Advice for a label image in JPEG.
const LOSSY: &str = "its compression changes values near edges; export label maps as PNG or TIFF";

/// Reads the values of a label image and turns it upright by its own orientation.
///
/// | file | values |
/// |---|---|
/// | PNG, grey of 1, 2, 4, 8 or 16 bits | as stored, not rescaled: `u8`, or `u16` if 16-bit |
/// | PNG or TIFF with a palette | the indices, not the colours: `u8`, or `u16` in a 16-bit TIFF |
/// | PNG or TIFF, 8-bit RGB | three channels of `u8` |
/// | TIFF of one band | `u8` and `u16` as stored; all other types, and files with a "no data" value, become `f32`; NaN is "no data" |
///
/// Alpha is dropped. Of an animation or a document, the first image is read.
///
/// # Shapes
/// `[H, W, 1]`, or `[H, W, 3]` for colours.
///
/// # Errors
/// An [`ImageError`] that names the file: unreadable, truncated or damaged, beyond `limits`, a lossy JPEG, or of
/// another format or kind of pixels.
pub fn decode_labels(path: impl AsRef<Path>, limits: &DecodeLimits) -> Result<AnyImage, ImageError> {
    let path = path.as_ref();
    let source = Source::open(path, limits)?;
    let (format, name) = format_in(path, &source)?;
    let length = source.length();
    let refuse = |problem: Problem| problem.refuse(path, name, length, limits);
    match format {
        Format::Image(ImageFormat::Png) => {
            let bytes = source.into_bytes(path, limits)?;
            let image = read_png(path, &bytes, limits)?;
            let orientation = exif::orientation(exif_of_png(&bytes), None);
            Ok(of_any!(image, image => image.upright(orientation).into()))
        }
        Format::Image(ImageFormat::Tiff) => {
            let tiff = Tiff::of_indices(&source).map_err(refuse)?;
            let header = tiff.header();
            header.check(path, limits)?;
            let colours = header.channels - usize::from(header.alpha);
            if !matches!((colours, header.pixel_type), (1, _) | (3, PixelType::U8)) {
                let (channels, numbers) = (header.channels, header.pixel_type);
                let what = format!("{channels} bands of {numbers}, which are not labels");
                return Err(refuse(Problem::Unsupported(what)));
            }
            let stored = tiff.read(&source, tiff.whole(), limits.max_bytes).map_err(refuse)?;
            let orientation = tiff.orientation();
            let upright = |image: AnyImage| of_any!(image, image => image.upright(orientation).into());
            Ok(upright(if stored.alpha { without_alpha(stored.image) } else { stored.image }))
        }
        other => {
            let advice = if other == Format::Image(ImageFormat::Jpeg) { LOSSY } else { EXPORT };
            Err(ImageError::Unsupported { path: path.into(), kind: format!("in the format {name}"), advice })
        }
    }
}

fn without_alpha(image: AnyImage) -> AnyImage {
    of_any!(image, image => image.without_last_channel().into())
}

/// Reads the values of a PNG file. The `image` crate would look palettes up and rescale grey.
fn read_png(path: &Path, bytes: &[u8], limits: &DecodeLimits) -> Result<AnyImage, ImageError> {
    let refuse = |problem: Problem| problem.refuse(path, "PNG", bytes.len() as u64, limits);
    let damaged = |error: png::DecodingError| {
        refuse(match error {
            png::DecodingError::IoError(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                Problem::Read(error)
            }
            other => Problem::Damaged(other.to_string()),
        })
    };
    let most = usize::try_from(limits.max_bytes).unwrap_or(usize::MAX);
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), png::Limits { bytes: most });
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let mut reader = decoder.read_info().map_err(damaged)?;
    let (height, width) = (reader.info().height, reader.info().width);
    let (kind, depth) = reader.output_color_type();
    let channels = kind.samples();
    let bytes_per_number = if depth == BitDepth::Sixteen { 2 } else { 1 };
    let unpacked = u64::from(height) * u64::from(width);
    let unpacked = unpacked.saturating_mul((channels * bytes_per_number) as u64);
    limits.check(path, (height, width), unpacked)?;
    if matches!((kind, depth), (ColorType::Rgb | ColorType::Rgba, BitDepth::Sixteen)) {
        return Err(refuse(Problem::Unsupported("colours of 16 bits".into())));
    }
    let packed = reader.output_buffer_size().filter(|size| *size as u64 <= unpacked.max(u64::from(height)));
    let too_large = || Problem::TooLarge { height: height.into(), width: width.into(), bytes: unpacked };
    let mut data = vec![0; packed.ok_or_else(|| refuse(too_large()))?];
    let frame = reader.next_frame(&mut data).map_err(damaged)?;
    let (height, width) = (height as usize, width as usize);
    let image: AnyImage = match depth {
        BitDepth::Sixteen => {
            let numbers = data.as_chunks().0.iter().map(|bytes| u16::from_be_bytes(*bytes)).collect();
            Image::new(height, width, channels, numbers)?.into()
        }
        BitDepth::Eight => Image::new(height, width, channels, data)?.into(),
        // One channel, and each row begins at a byte.
        depth => {
            let rows = data.chunks_exact(frame.line_size);
            let numbers = rows.flat_map(|row| unpack(row, depth as usize).take(width)).collect();
            Image::new(height, width, channels, numbers)?.into()
        }
    };
    let alpha = matches!(kind, ColorType::GrayscaleAlpha | ColorType::Rgba);
    Ok(if alpha { without_alpha(image) } else { image })
}

/// Unpacks values of `bits` bits, the first from the highest bits of a byte.
fn unpack(bytes: &[u8], bits: usize) -> impl Iterator<Item = u8> {
    let mask = (1_u8 << bits) - 1;
    bytes.iter().flat_map(move |byte| (0..8 / bits).map(move |at| byte >> (8 - bits - at * bits) & mask))
}
