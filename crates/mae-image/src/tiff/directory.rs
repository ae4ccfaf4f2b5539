//! The directories of a TIFF file: its tags and their values.

use crate::stored::header::Problem;

/// The bytes of a TIFF or BigTIFF file.
#[derive(Clone, Copy)]
pub(super) struct File<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) little: bool,
    big: bool,
}

/// Tags that are read. Of a tag that occurs twice, the first counts.
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
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, Problem> {
        let unknown = || Problem::Damaged("the file does not start as a TIFF file".into());
        let little = match bytes.get(..2) {
            Some(b"II") => true,
            Some(b"MM") => false,
            _ => return Err(unknown()),
        };
        let mut file = Self { bytes, little, big: false };
        file.big = match file.number(2, 2) {
            Some(42) => false,
            // BigTIFF stores the length of its offsets.
            Some(43) if file.number(4, 2) == Some(8) => true,
            _ => return Err(unknown()),
        };
        Ok(file)
    }

    /// The number of `length` bytes at `at`.
    fn number(self, at: u64, length: usize) -> Option<u64> {
        Some(whole(self.part(at, length as u64)?, self.little))
    }

    /// The bytes from `at` on.
    pub(super) fn part(self, at: u64, length: u64) -> Option<&'a [u8]> {
        let (at, end) = (usize::try_from(at).ok()?, usize::try_from(at.checked_add(length)?).ok()?);
        self.bytes.get(at..end)
    }

    /// The lengths of an offset, of the number of entries, and of an entry.
    fn lengths(self) -> (usize, usize, u64) {
        if self.big { (8, 8, 20) } else { (4, 2, 12) }
    }

    /// The first directory.
    pub(super) fn first(self) -> Result<Directory<'a>, Problem> {
        let word = self.lengths().0;
        let at = self.number(word as u64, word);
        Directory::at(self, at.ok_or_else(|| cut(self.bytes))?)
    }
}

/// The unsigned number that some bytes are.
fn whole(bytes: &[u8], little: bool) -> u64 {
    let join = |number, byte: &u8| number << 8 | u64::from(*byte);
    if little { bytes.iter().rev().fold(0, join) } else { bytes.iter().fold(0, join) }
}

/// The file ends too early.
pub(super) fn cut(bytes: &[u8]) -> Problem {
    Problem::Damaged(format!("the file ends after {} bytes, before its image does", bytes.len()))
}

/// One directory: the tags of one page.
#[derive(Clone, Copy)]
pub(super) struct Directory<'a> {
    file: File<'a>,
    /// Where it lies.
    pub(super) at: u64,
    entries: &'a [u8],
    next: u64,
}

impl<'a> Directory<'a> {
    fn at(file: File<'a>, at: u64) -> Result<Self, Problem> {
        let (word, count, entry) = file.lengths();
        let find = || {
            let entries = file.number(at, count)?.checked_mul(entry)?;
            let first = at.checked_add(count as u64)?;
            let next = file.number(first.checked_add(entries)?, word)?;
            Some(Self { file, at, entries: file.part(first, entries)?, next })
        };
        find().ok_or_else(|| cut(file.bytes))
    }

    pub(super) fn file(&self) -> File<'a> {
        self.file
    }

    /// The directory after this one.
    pub(super) fn next(&self) -> Option<Result<Self, Problem>> {
        (self.next != 0).then(|| Self::at(self.file, self.next))
    }

    /// The values of a tag, if it is there and of a known type.
    pub(super) fn find(&self, tag: u64) -> Result<Option<Values<'a>>, Problem> {
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
            // The specification says to pass over a tag of an unknown type.
            _ => return Ok(None),
        };
        let count = whole(&entry[4..][..word], little);
        let place = &entry[4 + word..];
        let bytes = count.checked_mul(size).and_then(|bytes| {
            if bytes <= word as u64 {
                Some(&place[..bytes as usize])
            } else {
                self.file.part(whole(place, little), bytes)
            }
        });
        let bytes = bytes.ok_or_else(|| cut(self.file.bytes))?;
        Ok(Some(Values { bytes, kind, size: size as usize, little }))
    }

    /// The first number that a tag holds.
    pub(super) fn number(&self, tag: u64) -> Result<Option<u64>, Problem> {
        let Some(values) = self.find(tag)? else { return Ok(None) };
        let wrong = || Problem::Damaged(format!("tag {tag} holds no whole number"));
        values.get(0).map(Some).ok_or_else(wrong)
    }

    /// The text that a tag holds, up to its first zero.
    pub(super) fn text(&self, tag: u64) -> Result<Option<String>, Problem> {
        let Some(values) = self.find(tag)?.filter(|values| values.size == 1) else { return Ok(None) };
        let text = values.bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(Some(String::from_utf8_lossy(text).into_owned()))
    }
}

/// The values of a tag, all of one type.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    pub(super) bytes: &'a [u8],
    kind: u64,
    size: usize,
    little: bool,
}

impl Values<'_> {
    pub(super) fn len(&self) -> usize {
        self.bytes.len() / self.size
    }

    /// The `i`th value, if the type is one of unsigned whole numbers.
    pub(super) fn get(&self, i: usize) -> Option<u64> {
        let is_whole = matches!(self.kind, 1 | 3 | 4 | 7 | 13 | 16 | 18);
        let bytes = self.bytes.get(i.checked_mul(self.size)?..)?.get(..self.size)?;
        is_whole.then(|| whole(bytes, self.little))
    }

    /// The one value that the first `count` are; of fewer, all of them.
    pub(super) fn same(&self, count: u64) -> Option<u64> {
        let count = self.len().min(usize::try_from(count).unwrap_or(usize::MAX));
        let first = self.get(0)?;
        (1..count).all(|i| self.get(i) == Some(first)).then_some(first)
    }

    /// All values, as text.
    pub(super) fn list(&self) -> String {
        let all: Vec<_> = (0..self.len().min(8)).filter_map(|i| self.get(i)).map(|v| v.to_string()).collect();
        all.join(", ")
    }
}
