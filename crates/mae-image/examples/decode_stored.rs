//! Decodes image files to the numbers stored in them.
//!
//! Standard input names a pixel format and a file on each line, such as `u16x5 bands.tif`. For each, the program prints
//! `H W C TYPE STORED` and the numbers, where `STORED` is the file's own format, or `error` and the reason.
#![allow(clippy::print_stdout, reason = "a command line talks to others")]

use std::error::Error;
use std::io::{BufRead, Write, stdin, stdout};
use std::path::Path;

use mae_image::{AnyImage, DecodeLimits, Encoded, ImageError, Pixel, PixelFormat, stored_format};

fn decode(path: &Path, format: PixelFormat) -> Result<(AnyImage, PixelFormat), ImageError> {
    let limits = DecodeLimits::default();
    let bytes = std::fs::read(path).map_err(|source| ImageError::Read { path: path.into(), source })?;
    Ok((Encoded::new(path, bytes, format, &limits)?.decode()?, stored_format(path, &limits)?))
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
        match decode(Path::new(path), format.parse()?) {
            Ok((image, stored)) => {
                let (height, width, channels) = (image.height(), image.width(), image.channels());
                writeln!(out, "{height} {width} {channels} {} {stored}", image.pixel_type())?;
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
