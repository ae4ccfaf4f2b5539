//! Uncompressed images in the PPM format, of which any rows can be read alone.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use crate::DataError;

/// More than a header without comments has: 3 numbers of 10 digits.
pub(crate) const HEADER_BYTES: usize = 64;

/// The header of an image of `height` by `width`.
pub(crate) fn header(height: usize, width: usize) -> String {
    format!("P6\n{width} {height}\n255\n")
}

/// `(height, width)` and the header's length, if `bytes` begin with the header of an image of three channels and 8
/// bits.
///
/// # Source
/// Netpbm's description of PPM. Deviation: no comments.
pub(crate) fn read_header(bytes: &[u8]) -> Option<((usize, usize), usize)> {
    let mut at = 2;
    let mut number = || {
        let blank = bytes.get(at..)?.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let digits = bytes[at + blank..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let text = std::str::from_utf8(&bytes[at + blank..][..digits]).ok()?;
        at += blank + digits;
        if blank == 0 { None } else { text.parse::<usize>().ok() }
    };
    let (width, height, white) = (number()?, number()?, number()?);
    let one_blank = bytes.get(at).is_some_and(u8::is_ascii_whitespace);
    (bytes.starts_with(b"P6") && white == 255 && one_blank).then_some(((height, width), at + 1))
}

/// An image in a file, whose rows are read when they are wanted.
pub(crate) struct Raster {
    /// What errors call it.
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    /// Where in the file its first pixel lies.
    pub(crate) offset: u64,
    pub(crate) size: (usize, usize),
}

impl Raster {
    /// Reads `rows` rows from `top` on.
    ///
    /// # Shapes
    /// `[rows, W, 3]`
    pub(crate) fn read(self, top: usize, rows: usize, pixels: &mut Vec<u8>) -> Result<(), DataError> {
        let row = 3 * self.size.1;
        pixels.resize(rows * row, 0);
        read_at(&self.file, pixels, self.offset + (top * row) as u64)
            .map_err(|source| DataError::Read { path: self.path, source })
    }
}

/// Fills `bytes` from `offset` on.
#[cfg(unix)]
pub(crate) fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

/// Fills `bytes` from `offset` on.
#[cfg(not(unix))]
pub(crate) fn read_at(mut file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    // The file is this reader's own: nobody else moves in it.
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_headers_that_are_written_and_those_of_others() {
        assert_eq!(read_header(header(256, 341).as_bytes()), Some(((256, 341), 15)));
        assert_eq!(read_header(b"P6 7 9 255 \n"), Some(((9, 7), 11)));
        for wrong in [
            &b"P5\n7 9\n255\n"[..],
            b"P6\n7 9\n65535\n",
            b"P6\n7 9\n255",
            b"P6\n7 9\n",
            b"P67 9 255\n",
            b"P6",
            b"P",
            b"",
            b"P6\n99999999999999999999999 1\n255\n",
            b"P6\n-7 9\n255\n",
        ] {
            assert_eq!(read_header(wrong), None, "{}", String::from_utf8_lossy(wrong));
        }
    }
}
