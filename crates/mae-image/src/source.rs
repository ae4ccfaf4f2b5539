//! The bytes of an image file: in memory, or on disk and read in parts.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::ppm::read_at;
use crate::{DecodeLimits, ImageError};

/// The bytes of an image file.
pub(crate) enum Source<'a> {
    Memory(Cow<'a, [u8]>),
    /// An open file and its length. Only TIFF files are kept this way.
    File(File, u64),
}

/// Files up to this length are read whole: one long read costs no more than a short one for each tag and strip.
const SMALL: u64 = 1 << 20;

impl Source<'static> {
    /// Opens a file. A TIFF file that is large or longer than the limit stays on disk; all others are read whole.
    pub(crate) fn open(path: &Path, limits: &DecodeLimits) -> Result<Self, ImageError> {
        let refuse = |source| ImageError::Read { path: path.into(), source };
        let file = File::open(path).map_err(refuse)?;
        let length = file.metadata().map_err(refuse)?.len();
        if length > SMALL.min(limits.max_bytes) {
            let mut start = [0; 4];
            // A shorter file is not a TIFF file.
            let read = read_at(&file, &mut start[..length.min(4) as usize], 0);
            read.map_err(refuse)?;
            if is_tiff(&start) {
                return Ok(Self::File(file, length));
            }
        }
        whole(path, &file, length, limits).map(|bytes| Self::Memory(bytes.into()))
    }
}

impl<'a> Source<'a> {
    /// The whole file.
    pub(crate) fn into_bytes(self, path: &Path, limits: &DecodeLimits) -> Result<Cow<'a, [u8]>, ImageError> {
        match self {
            Self::Memory(bytes) => Ok(bytes),
            Self::File(file, length) => whole(path, &file, length, limits).map(Cow::from),
        }
    }

    /// The file's length.
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(_, length) => *length,
        }
    }

    /// Whether the file contains all of these bytes.
    pub(crate) fn holds(&self, at: u64, length: u64) -> bool {
        at.checked_add(length).is_some_and(|end| end <= self.length())
    }

    /// The `length` bytes from `at` on; `None` if the file ends before they do.
    pub(crate) fn part(&self, at: u64, length: u64) -> io::Result<Option<Cow<'_, [u8]>>> {
        Ok(match self {
            _ if !self.holds(at, length) => None,
            Self::Memory(bytes) => Some(bytes[at as usize..][..length as usize].into()),
            Self::File(file, _) => {
                let mut bytes = vec![0; length as usize];
                read_at(file, &mut bytes, at)?;
                Some(bytes.into())
            }
        })
    }

    /// Like [`part`](Self::part), but reads bytes from disk into `buffer`.
    pub(crate) fn part_in<'b>(
        &'b self,
        at: u64,
        length: u64,
        buffer: &'b mut Vec<u8>,
    ) -> io::Result<Option<&'b [u8]>> {
        Ok(match self {
            _ if !self.holds(at, length) => None,
            Self::Memory(bytes) => Some(&bytes[at as usize..][..length as usize]),
            Self::File(file, _) => {
                buffer.resize(length as usize, 0);
                read_at(file, buffer, at)?;
                Some(buffer)
            }
        })
    }
}

impl<'a> From<&'a [u8]> for Source<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Memory(bytes.into())
    }
}

impl From<Vec<u8>> for Source<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Memory(bytes.into())
    }
}

/// Whether a file with this start may be a TIFF or BigTIFF file.
fn is_tiff(start: &[u8]) -> bool {
    [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"].iter().any(|known| start.starts_with(*known))
}

/// Reads the whole file: decoding from memory is faster, and a slow disk is waited for only once.
pub(crate) fn read(path: &Path, limits: &DecodeLimits) -> Result<Vec<u8>, ImageError> {
    let refuse = |source| ImageError::Read { path: path.into(), source };
    let file = File::open(path).map_err(refuse)?;
    let length = file.metadata().map_err(refuse)?.len();
    whole(path, &file, length, limits)
}

fn whole(path: &Path, file: &File, length: u64, limits: &DecodeLimits) -> Result<Vec<u8>, ImageError> {
    if length > limits.max_bytes {
        let max_bytes = limits.max_bytes;
        return Err(ImageError::FileTooLarge { path: path.into(), bytes: length, max_bytes });
    }
    let mut bytes = Vec::with_capacity(length as usize);
    let read = file.take(limits.max_bytes).read_to_end(&mut bytes);
    read.map_err(|source| ImageError::Read { path: path.into(), source })?;
    if bytes.is_empty() {
        return Err(ImageError::EmptyFile { path: path.into() });
    }
    Ok(bytes)
}
