//! Decodes image files to their stored values.
//!
//! Each line of standard input names a pixel format and a file, such as `u16x5 bands.tif`, perhaps with a crop between
//! them: `10,20,3,4` is 3 rows and 4 columns from row 10 and column 20 on. For each line, the program prints
//! `H W C TYPE STORED TOP LEFT` and the decoded values, or `error` and the reason. `STORED` is the file's own format.
//! The decoded part begins at `TOP` and `LEFT` and contains the crop.
#![allow(clippy::print_stdout, reason = "a command line talks to others")]

use std::error::Error;
use std::io::{BufRead, Write, stdin, stdout};
use std::path::Path;

use mae_image::{AnyImage, Crop, DecodeLimits, Encoded, ImageError, Part, Pixel, PixelFormat, stored_format};

fn decode(path: &Path, format: PixelFormat) -> Result<(Part, PixelFormat), ImageError> {
    let limits = DecodeLimits::default();
    let bytes = std::fs::read(path).map_err(|source| ImageError::Read { path: path.into(), source })?;
    let image = Encoded::new(path, bytes, format, &limits)?.decode()?;
    Ok((Part::whole(image), stored_format(path, &limits)?))
}

/// Decodes a crop under limits of its own size: a longer file stays on disk, if it can be read in parts.
fn decode_part(path: &Path, format: PixelFormat, crop: Crop) -> Result<(Part, PixelFormat), ImageError> {
    let bytes = crop.height * crop.width * (format.channels() + 1) * format.pixel_type().bytes();
    let (limits, small) =
        (DecodeLimits::default(), DecodeLimits { max_bytes: bytes as u64, ..DecodeLimits::default() });
    let encoded = match Encoded::read(path, format, &small) {
        Err(ImageError::FileTooLarge { .. } | ImageError::TooManyBytes { .. }) => {
            Encoded::read(path, format, &limits)?
        }
        other => other?,
    };
    Ok((encoded.decode_part(crop, Vec::new())?, stored_format(path, &limits)?))
}

fn parse(crop: &str) -> Option<Crop> {
    let sides: Option<Vec<_>> = crop.split(',').map(|side| side.parse().ok()).collect();
    let [top, left, height, width] = sides?[..] else { return None };
    Some(Crop { top, left, height, width })
}

fn bytes_of<T: Pixel>(numbers: &[T]) -> Vec<u8> {
    let mut bytes = vec![0; numbers.len() * T::TYPE.bytes()];
    bytes.chunks_exact_mut(T::TYPE.bytes()).zip(numbers).for_each(|(bytes, number)| number.write(bytes));
    bytes
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = stdout().lock();
    for line in stdin().lock().lines() {
        let line = line?;
        let (format, path) = line.split_once(' ').ok_or("a line must be FORMAT PATH")?;
        let format = format.parse()?;
        let cropped = path.split_once(' ').and_then(|(crop, path)| Some((parse(crop)?, path)));
        let decoded = match cropped {
            Some((crop, path)) => decode_part(Path::new(path), format, crop),
            None => decode(Path::new(path), format),
        };
        match decoded {
            Ok((Part { pixels: image, top, left }, stored)) => {
                let (height, width, channels) = (image.height(), image.width(), image.channels());
                writeln!(out, "{height} {width} {channels} {} {stored} {top} {left}", image.pixel_type())?;
                out.write_all(&match &image {
                    AnyImage::U8(image) => bytes_of(image.data()),
                    AnyImage::U16(image) => bytes_of(image.data()),
                    AnyImage::F32(image) => bytes_of(image.data()),
                })?;
            }
            Err(error) => {
                let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                writeln!(out, "error {error}{cause}")?;
            }
        }
    }
    Ok(())
}
