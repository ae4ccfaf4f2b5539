//! Uncompressed images in the Netpbm formats. In the usual kind of PPM, any rows can be read alone.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::{AnyImage, DecodeLimits, Image, ImageError};

/// Longer than any header without comments, which has 3 numbers of at most 10 digits.
pub const HEADER_BYTES: usize = 64;

/// The header of a PPM file with an image of `height` by `width` pixels, three bytes each. The pixels follow,
/// `[H, W, 3]`.
#[must_use]
pub fn header(height: usize, width: usize) -> String {
    format!("P6\n{width} {height}\n255\n")
}

/// The header of a Netpbm image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The digit after the `P`, 1 to 6: bits, grey and colour as text, then the same in binary.
    pub kind: u8,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// The value of white (maxval).
    white: u32,
    /// The header's length in bytes.
    pub length: usize,
}

impl Header {
    /// Whether rows can be read alone, as a [`Raster`]: the pixels have three channels of 8 bits, in binary.
    #[must_use]
    pub fn is_raster(&self) -> bool {
        (self.kind, self.white) == (6, 255)
    }

    /// Parses the header at the start of `bytes`; `None` if there is none or if it is cut short.
    ///
    /// # Source
    /// Netpbm's descriptions of PBM, PGM and PPM.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let &[b'P', kind @ b'1'..=b'6', ..] = bytes else { return None };
        let (mut tokens, kind) = (Tokens { bytes, at: 2 }, kind - b'0');
        if !bytes.get(2).is_some_and(|byte| byte.is_ascii_whitespace() || *byte == b'#') {
            return None;
        }
        let (width, height) = (tokens.number()?, tokens.number()?);
        let white = if kind % 3 == 1 { 1 } else { tokens.number()? };
        let white = u32::try_from(white).ok().filter(|white| (1..=65535).contains(white))?;
        let one_blank = bytes.get(tokens.at).is_some_and(u8::is_ascii_whitespace);
        one_blank.then_some(Self { kind, height, width, white, length: tokens.at + 1 })
    }
}

/// Reads numbers as text, skipping blanks and comments.
struct Tokens<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Tokens<'_> {
    fn skip_blanks(&mut self) {
        while let Some(byte) = self.bytes.get(self.at) {
            match byte {
                b'#' => {
                    let line = memchr::memchr2(b'\n', b'\r', &self.bytes[self.at..]);
                    self.at = line.map_or(self.bytes.len(), |end| self.at + end);
                }
                byte if byte.is_ascii_whitespace() => self.at += 1,
                _ => return,
            }
        }
    }

    fn number(&mut self) -> Option<usize> {
        self.skip_blanks();
        let digits = self.bytes[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let text = std::str::from_utf8(&self.bytes[self.at..][..digits]).ok()?;
        self.at += digits;
        text.parse().ok()
    }

    /// Reads a digit 0 or 1, which may touch the next one.
    fn bit(&mut self) -> Option<usize> {
        self.skip_blanks();
        let bit = self.bytes.get(self.at).filter(|byte| matches!(byte, b'0' | b'1'))?;
        self.at += 1;
        Some(usize::from(bit - b'0'))
    }
}

/// Decodes a whole Netpbm image of any kind, to RGB.
///
/// # Source
/// Netpbm's descriptions, and Pillow's rounding. Deviation: Pillow clips 16-bit grey at 255.
pub(crate) fn decode(path: &Path, bytes: &[u8], limits: &DecodeLimits) -> Result<Image, ImageError> {
    let truncated = || ImageError::Truncated { path: path.into(), bytes: bytes.len() as u64 };
    let header = Header::read(bytes).ok_or_else(|| ImageError::NotAnImage {
        path: path.into(),
        known: "PBM, PGM and PPM with a whole header and white from 1 to 65535".to_owned(),
    })?;
    let Header { kind, height, width, white, length } = header;
    let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
    let sides = (side(height), side(width));
    let bytes_held = (u64::from(sides.0) * u64::from(sides.1)).saturating_mul(3);
    limits.check(path, sides, bytes_held)?;
    let channels = if kind % 3 == 0 { 3 } else { 1 };
    let wide = white > 255;
    let data = &bytes[length..];
    let level = |value: usize| {
        let level = value.min(white as usize) as f64 / f64::from(white) * 255.0;
        level.round_ties_even() as u8
    };
    let values = height * width * channels;
    let mut levels = Vec::with_capacity(if data.len() >= values / 8 { values } else { 0 });
    match kind {
        1..=3 => {
            let mut tokens = Tokens { bytes: data, at: 0 };
            for _ in 0..values {
                let value = if kind == 1 { tokens.bit().map(|bit| 1 - bit) } else { tokens.number() };
                levels.push(level(value.ok_or_else(truncated)?));
            }
        }
        4 => {
            let row = width.div_ceil(8);
            for row in data.get(..row * height).ok_or_else(truncated)?.chunks_exact(row) {
                levels.extend((0..width).map(|x| if row[x / 8] >> (7 - x % 8) & 1 == 0 { 255 } else { 0 }));
            }
        }
        _ if wide => {
            let data = data.get(..2 * values).ok_or_else(truncated)?.as_chunks().0;
            levels.extend(data.iter().map(|pair| level(u16::from_be_bytes(*pair).into())));
        }
        _ => {
            let all: [u8; 256] = std::array::from_fn(level);
            let data = data.get(..values).ok_or_else(truncated)?;
            levels.extend(data.iter().map(|value| all[usize::from(*value)]));
        }
    }
    if channels == 1 {
        levels = levels.into_iter().flat_map(|level| [level; 3]).collect();
    }
    Image::new(height, width, 3, levels)
}

/// Decodes a whole image. Binary values of 8 or 16 bits stay as stored, whatever the value of white.
pub(crate) fn decode_stored(
    path: &Path,
    bytes: &[u8],
    limits: &DecodeLimits,
) -> Result<AnyImage, ImageError> {
    let Some(header @ Header { kind: 5 | 6, height, width, .. }) = Header::read(bytes) else {
        // Bits and text become 8-bit RGB.
        return decode(path, bytes, limits).map(AnyImage::from);
    };
    let channels = if header.kind == 6 { 3 } else { 1 };
    let bytes_each = if header.white > 255 { 2 } else { 1 };
    let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
    let sides = (side(height), side(width));
    let held = u64::from(sides.0).saturating_mul(u64::from(sides.1)).saturating_mul(channels * bytes_each);
    limits.check(path, sides, held)?;
    let truncated = || ImageError::Truncated { path: path.into(), bytes: bytes.len() as u64 };
    let data = bytes[header.length..].get(..held as usize).ok_or_else(truncated)?;
    let channels = channels as usize;
    Ok(match bytes_each {
        1 => Image::new(height, width, channels, data.to_vec())?.into(),
        _ => {
            let numbers = data.as_chunks().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
            Image::new(height, width, channels, numbers)?.into()
        }
    })
}

/// An uncompressed RGB image in a file, perhaps one of several, whose rows are read on demand.
#[derive(Debug)]
pub struct Raster {
    /// The path that errors name.
    pub path: PathBuf,
    /// The file, open for reading.
    pub file: File,
    /// The byte offset of the first pixel in the file.
    pub offset: u64,
    /// `(height, width)`.
    pub size: (usize, usize),
}

impl Raster {
    /// Reads `rows` rows from `top` on.
    ///
    /// # Shapes
    /// `[rows, W, 3]`
    pub(crate) fn read(self, top: usize, rows: usize, pixels: &mut Vec<u8>) -> Result<(), ImageError> {
        let row = 3 * self.size.1;
        pixels.resize(rows * row, 0);
        read_at(&self.file, pixels, self.offset + (top * row) as u64)
            .map_err(|source| ImageError::Read { path: self.path, source })
    }
}

/// Fills `bytes` from `offset` on.
#[cfg(unix)]
#[doc(hidden)]
pub fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

/// Fills `bytes` from `offset` on.
#[cfg(not(unix))]
#[doc(hidden)]
pub fn read_at(mut file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    // This reader owns the file: nothing else moves its cursor.
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_headers_that_are_written_and_those_of_others() {
        let size = |bytes: &[u8]| {
            let header = Header::read(bytes).filter(Header::is_raster)?;
            Some(((header.height, header.width), header.length))
        };
        assert_eq!(size(header(256, 341).as_bytes()), Some(((256, 341), 15)));
        assert_eq!(size(b"P6 7 9 255 \n"), Some(((9, 7), 11)));
        assert_eq!(size(b"P6# 1 2\n7# 3\n 9 255 \n"), Some(((9, 7), 20)));
        for wrong in [
            &b"P5\n7 9\n255\n"[..],
            b"P6\n7 9\n65535\n",
            b"P6\n7 9\n0\n",
            b"P6\n7 9\n65536\n",
            b"P6\n7 9\n255",
            b"P6\n7 9\n",
            b"P6\n7 9#",
            b"P67 9 255\n",
            b"P6",
            b"P",
            b"",
            b"P6\n99999999999999999999999 1\n255\n",
            b"P6\n-7 9\n255\n",
        ] {
            assert_eq!(size(wrong), None, "{}", String::from_utf8_lossy(wrong));
        }
    }
}
