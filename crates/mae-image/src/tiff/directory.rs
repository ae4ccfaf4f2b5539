//! The directories of a TIFF file: its tags and their values.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::exif::{Layout, first_bytes};
use crate::source::Source;
use crate::stored::header::Problem;

/// A TIFF or BigTIFF file.
#[derive(Clone, Copy)]
pub(super) struct File<'a> {
    source: &'a Source<'a>,
    pub(super) little: bool,
    big: bool,
}

/// The most bytes that a tag may have, and that all directories and lists of strips or tiles may have together.
const MOST_BYTES: u64 = 256 << 20;

/// The tags that are read. If a tag occurs twice, the first counts.
pub(super) mod tag {
    pub(crate) const NEW_SUBFILE_TYPE: u64 = 254;
    pub(crate) const SUBFILE_TYPE: u64 = 255;
    pub(crate) const WIDTH: u64 = 256;
    pub(crate) const HEIGHT: u64 = 257;
    pub(crate) const BITS: u64 = 258;
    pub(crate) const COMPRESSION: u64 = 259;
    pub(crate) const PHOTOMETRIC: u64 = 262;
    pub(crate) const FILL_ORDER: u64 = 266;
    pub(crate) const DESCRIPTION: u64 = 270;
    pub(crate) const STRIP_OFFSETS: u64 = 273;
    pub(crate) const SAMPLES: u64 = 277;
    pub(crate) const ROWS_PER_STRIP: u64 = 278;
    pub(crate) const STRIP_LENGTHS: u64 = 279;
    pub(crate) const PLANAR: u64 = 284;
    pub(crate) const PREDICTOR: u64 = 317;
    pub(crate) const TILE_WIDTH: u64 = 322;
    pub(crate) const TILE_HEIGHT: u64 = 323;
    pub(crate) const TILE_OFFSETS: u64 = 324;
    pub(crate) const TILE_LENGTHS: u64 = 325;
    pub(crate) const EXTRA_SAMPLES: u64 = 338;
    pub(crate) const SAMPLE_FORMAT: u64 = 339;
    pub(crate) const JPEG_TABLES: u64 = 347;
    pub(crate) const XMP: u64 = 700;
    pub(crate) const NO_DATA: u64 = 42113;
}

impl<'a> File<'a> {
    pub(super) fn open(source: &'a Source<'a>) -> Result<Self, Problem> {
        let unknown = || Problem::Damaged("the file does not start as a TIFF file".into());
        let start = source.part(0, source.length().min(8))?.unwrap_or_default();
        let little = match start.get(..2) {
            Some(b"II") => true,
            Some(b"MM") => false,
            _ => return Err(unknown()),
        };
        let number = |at: usize| start.get(at..at + 2).map(|bytes| whole(bytes, little));
        let big = match number(2) {
            Some(42) => false,
            // BigTIFF stores the length of its offsets.
            Some(43) if number(4) == Some(8) => true,
            _ => return Err(unknown()),
        };
        Ok(Self { source, little, big })
    }

    /// Reads an unsigned integer of `length` bytes at `at`.
    fn number(self, at: u64, length: usize) -> Result<u64, Problem> {
        Ok(whole(&self.part(at, length as u64)?, self.little))
    }

    /// Reads `length` bytes from `at` on.
    fn part(self, at: u64, length: u64) -> Result<Cow<'a, [u8]>, Problem> {
        if length > MOST_BYTES && self.source.holds(at, length) {
            return Err(too_many(length));
        }
        self.source.part(at, length)?.ok_or_else(|| self.cut())
    }

    /// Whether the file contains all of these bytes.
    pub(super) fn holds(self, at: u64, length: u64) -> bool {
        self.source.holds(at, length)
    }

    /// The error for a file that ends too early.
    pub(super) fn cut(self) -> Problem {
        cut(self.source.length())
    }

    /// The lengths in bytes of an offset, of the entry count, and of an entry.
    fn lengths(self) -> (usize, usize, u64) {
        if self.big { (8, 8, 20) } else { (4, 2, 12) }
    }

    /// The first directory.
    pub(super) fn first(self) -> Result<Directory<'a>, Problem> {
        let word = self.lengths().0;
        Directory::at(self, self.number(word as u64, word)?)
    }
}

/// The most values that messages list.
pub(super) const LISTED: u64 = 8;

/// Converts bytes to an unsigned integer.
fn whole(bytes: &[u8], little: bool) -> u64 {
    let join = |number, byte: &u8| number << 8 | u64::from(*byte);
    if little { bytes.iter().rev().fold(0, join) } else { bytes.iter().fold(0, join) }
}

/// The error for a file of `bytes` bytes that ends too early.
pub(super) fn cut(bytes: u64) -> Problem {
    Problem::Damaged(format!("the file ends after {bytes} bytes, before its image does"))
}

fn too_many(bytes: u64) -> Problem {
    Problem::Unsupported(format!("tags of {bytes} bytes, above the limit of {MOST_BYTES}"))
}

/// The directories of a file that have been read.
#[derive(Default)]
pub(super) struct Walk {
    seen: HashSet<u64>,
    bytes: u64,
}

impl Walk {
    /// Whether a directory is new. Fails if all of them together exceed [`MOST_BYTES`].
    pub(super) fn is_new(&mut self, directory: &Directory) -> Result<bool, Problem> {
        /// The bytes that it takes to remember one directory.
        const EACH: u64 = 32;
        self.count(directory.entries.len() as u64 + EACH)?;
        Ok(self.seen.insert(directory.at))
    }

    /// Counts bytes that are kept. Fails if they exceed [`MOST_BYTES`].
    pub(super) fn count(&mut self, bytes: u64) -> Result<(), Problem> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > MOST_BYTES { Err(too_many(self.bytes)) } else { Ok(()) }
    }
}

/// One directory: the tags of one page.
#[derive(Clone)]
pub(super) struct Directory<'a> {
    file: File<'a>,
    /// Its offset in the file.
    pub(super) at: u64,
    entries: Cow<'a, [u8]>,
    next: u64,
}

impl<'a> Directory<'a> {
    fn at(file: File<'a>, at: u64) -> Result<Self, Problem> {
        let (word, count, entry) = file.lengths();
        let length = file.number(at, count)?.checked_mul(entry);
        // The offset of the next directory follows the entries.
        let first = at.checked_add(count as u64);
        let all = length.and_then(|length| length.checked_add(word as u64)).zip(first);
        let (all, first) = all.ok_or_else(|| file.cut())?;
        let (entries, next) = split(file.part(first, all)?, all as usize - word);
        Ok(Self { file, at, entries, next: whole(&next, file.little) })
    }

    pub(super) fn file(&self) -> File<'a> {
        self.file
    }

    /// The directory after this one.
    pub(super) fn next(&self) -> Option<Result<Self, Problem>> {
        (self.next != 0).then(|| Self::at(self.file, self.next))
    }

    /// The first `most` values of a tag, if it is present and of a known type. All of its values must be in the file.
    pub(super) fn find(&self, tag: u64, most: u64) -> Result<Option<Values<'_>>, Problem> {
        let (word, _, length) = self.file.lengths();
        let little = self.file.little;
        let found =
            self.entries.chunks_exact(length as usize).find(|entry| whole(&entry[..2], little) == tag);
        let Some(entry) = found else { return Ok(None) };
        let kind = whole(&entry[2..4], little);
        let size = match kind {
            1 | 2 | 6 | 7 => 1,
            3 | 8 => 2,
            4 | 9 | 11 | 13 => 4,
            5 | 10 | 12 | 16 | 17 | 18 => 8,
            // The specification says to skip a tag of an unknown type.
            _ => return Ok(None),
        };
        let count = whole(&entry[4..][..word], little);
        let place = &entry[4 + word..];
        let bytes = count.checked_mul(size).ok_or_else(|| self.file.cut())?;
        let (at, wanted) = (whole(place, little), bytes.min(size.saturating_mul(most)));
        let bytes = if bytes <= word as u64 {
            place[..wanted as usize].into()
        } else if self.file.holds(at, bytes) {
            self.file.part(at, wanted)?
        } else {
            return Err(self.file.cut());
        };
        Ok(Some(Values { bytes, count, kind, size: size as usize, little }))
    }

    /// The first value of a tag, which must be an unsigned integer.
    pub(super) fn number(&self, tag: u64) -> Result<Option<u64>, Problem> {
        let Some(values) = self.find(tag, 1)? else { return Ok(None) };
        let wrong = || Problem::Damaged(format!("tag {tag} holds no whole number"));
        values.get(0).map(Some).ok_or_else(wrong)
    }

    /// The text of a tag, up to its first zero.
    pub(super) fn text(&self, tag: u64) -> Result<Option<String>, Problem> {
        let Some(values) = self.find(tag, u64::MAX)?.filter(|values| values.size == 1) else {
            return Ok(None);
        };
        let text = values.bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(Some(String::from_utf8_lossy(text).into_owned()))
    }

    /// The orientation tag, read by the same code as in EXIF data.
    pub(super) fn orientation(&self) -> Result<Option<u32>, Problem> {
        let layout = Layout { little: self.file.little, word: self.file.lengths().0 as u64 };
        layout.orientation(&self.entries, |at, length| {
            if !self.file.holds(at, length) {
                return Ok(None);
            }
            self.file.part(at, length.min(8)).map(|bytes| Some(first_bytes(&bytes)))
        })
    }
}

/// Splits bytes at `at`.
fn split(bytes: Cow<'_, [u8]>, at: usize) -> (Cow<'_, [u8]>, Cow<'_, [u8]>) {
    match bytes {
        Cow::Borrowed(bytes) => (bytes[..at].into(), bytes[at..].into()),
        Cow::Owned(mut bytes) => {
            let behind = bytes.split_off(at);
            (bytes.into(), behind.into())
        }
    }
}

/// The values of a tag, all of one type.
#[derive(Clone)]
pub(super) struct Values<'a> {
    pub(super) bytes: Cow<'a, [u8]>,
    /// The number of values of the tag, of which `bytes` may hold fewer.
    pub(super) count: u64,
    kind: u64,
    size: usize,
    little: bool,
}

impl Values<'_> {
    /// Copies the values, so that they outlive the file.
    pub(super) fn keep(self) -> Values<'static> {
        Values { bytes: self.bytes.into_owned().into(), ..self }
    }

    fn len(&self) -> usize {
        self.bytes.len() / self.size
    }

    /// The `i`th value, if the type is an unsigned integer.
    pub(super) fn get(&self, i: usize) -> Option<u64> {
        let is_whole = matches!(self.kind, 1 | 3 | 4 | 7 | 13 | 16 | 18);
        let bytes = self.bytes.get(i.checked_mul(self.size)?..)?.get(..self.size)?;
        is_whole.then(|| whole(bytes, self.little))
    }

    /// The common value of the first `count` values, or of all if there are fewer; `None` if they differ.
    pub(super) fn same(&self, count: u64) -> Option<u64> {
        let count = self.len().min(usize::try_from(count).unwrap_or(usize::MAX));
        let first = self.get(0)?;
        (1..count).all(|i| self.get(i) == Some(first)).then_some(first)
    }

    /// The first values, as text.
    pub(super) fn list(&self) -> String {
        let all: Vec<_> =
            (0..self.len().min(LISTED as usize)).filter_map(|i| self.get(i)).map(|v| v.to_string()).collect();
        all.join(", ")
    }
}
