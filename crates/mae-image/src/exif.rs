//! How an image is turned upright, by its EXIF data or its XMP text, as Pillow reads them.

use ::image::metadata::Orientation;

/// The orientation that `exif`, a TIFF structure, tells; where it tells none, that of `xmp`.
///
/// A value out of range leaves the image as it is. Data that cannot be read tells nothing.
///
/// # Source
/// Pillow's `Image.getexif` and `ImageOps.exif_transpose`: a number of any type counts, of several the first.
pub(crate) fn orientation(exif: Option<&[u8]>, xmp: Option<&[u8]>) -> Orientation {
    upright(exif.and_then(|data| tag(data, ORIENTATION)), xmp)
}

/// The orientation of the page of a TIFF file whose directory lies at `at`; if it has none, that of `xmp`.
pub(crate) fn of_page(file: &[u8], at: u64, xmp: Option<&[u8]>) -> Orientation {
    upright(Tiff::open(file).and_then(|tiff| tiff.tag(at, ORIENTATION)), xmp)
}

const ORIENTATION: u64 = 0x0112;

fn upright(told: Option<u32>, xmp: Option<&[u8]>) -> Orientation {
    let told = told.or_else(|| xmp.and_then(in_xmp));
    told.and_then(|value| Orientation::from_exif(value.min(255) as u8)).unwrap_or(Orientation::NoTransforms)
}

/// The first value of a tag of a TIFF structure's first directory, if the tag is there; 0 for one that is no whole number.
pub(crate) fn tag(mut data: &[u8], wanted: u64) -> Option<u32> {
    for _ in 0..2 {
        data = data.strip_prefix(b"Exif\0\0").unwrap_or(data);
    }
    let tiff = Tiff::open(data)?;
    tiff.tag(tiff.number(tiff.word, tiff.word)?, wanted)
}

/// The digit behind `tiff:Orientation="` or `tiff:Orientation>`.
fn in_xmp(text: &[u8]) -> Option<u32> {
    const NAME: &[u8] = b"tiff:Orientation";
    memchr::memmem::find_iter(text, NAME).find_map(|at| {
        let rest = &text[at + NAME.len()..];
        let rest = rest.strip_prefix(b"=\"").or_else(|| rest.strip_prefix(b">"))?;
        rest.first().filter(|digit| digit.is_ascii_digit()).map(|digit| u32::from(digit - b'0'))
    })
}

/// The bytes of a value of a TIFF type.
fn length_of(kind: u64) -> Option<u64> {
    Some(match kind {
        1 | 2 | 6 | 7 => 1,
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16 => 8,
        _ => return None,
    })
}

struct Tiff<'a> {
    data: &'a [u8],
    little: bool,
    /// The length of an offset.
    word: u64,
}

impl<'a> Tiff<'a> {
    fn open(data: &'a [u8]) -> Option<Self> {
        let tiff = Self { data, little: data.starts_with(b"II"), word: 4 };
        if !tiff.little && !data.starts_with(b"MM") {
            return None;
        }
        match tiff.number(2, 2)? {
            42 => Some(tiff),
            43 => Some(Self { word: 8, ..tiff }),
            _ => None,
        }
    }

    /// The first value of a tag of the directory at `folder`, if the tag is there; 0 for one that is no whole number.
    fn tag(&self, folder: u64, wanted: u64) -> Option<u32> {
        let word = self.word;
        // The lengths of the number of entries, and of an entry.
        let (count, entry) = if word == 8 { (8, 20) } else { (2, 12) };
        let entries = self.number(folder, count)?;
        for i in 0..entries.min(self.data.len() as u64 / entry) {
            let at = folder.checked_add(count + i * entry)?;
            if self.number(at, 2)? != wanted {
                continue;
            }
            let (kind, values) = (self.number(at + 2, 2)?, self.number(at + 4, word)?);
            // Types without a length are passed over, as if the tag were not there.
            let Some(length) = length_of(kind) else { continue };
            let bytes = length.checked_mul(values)?;
            let place = at + 4 + word;
            let place = if bytes > word { self.number(place, word)? } else { place };
            if self.bytes(place, bytes).is_none() {
                continue;
            }
            return Some(self.value(place, kind).filter(|_| values > 0).unwrap_or(0));
        }
        None
    }

    fn bytes(&self, at: u64, length: u64) -> Option<&[u8]> {
        let at = usize::try_from(at).ok()?;
        self.data.get(at..at.checked_add(usize::try_from(length).ok()?)?)
    }

    /// The unsigned number of at most 8 bytes.
    fn number(&self, at: u64, length: u64) -> Option<u64> {
        let bytes = self.bytes(at, length)?.iter();
        let join = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        Some(if self.little { bytes.rev().fold(0, join) } else { bytes.fold(0, join) })
    }

    /// A value that is a whole number of 0 or more, of whatever numeric type.
    fn value(&self, at: u64, kind: u64) -> Option<u32> {
        let number = |length| self.number(at, length);
        let value = match kind {
            3 => number(2)? as f64,
            4 | 13 => number(4)? as f64,
            5 => number(4)? as f64 / self.number(at + 4, 4)? as f64,
            6 => f64::from(number(1)? as i8),
            8 => f64::from(number(2)? as i16),
            9 => f64::from(number(4)? as i32),
            10 => f64::from(number(4)? as i32) / f64::from(self.number(at + 4, 4)? as i32),
            11 => f64::from(f32::from_bits(number(4)? as u32)),
            12 => f64::from_bits(number(8)?),
            16 => number(8)? as f64,
            _ => return None,
        };
        (value >= 0.0 && value.fract() == 0.0).then_some(value as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xmp_speaks_where_exif_is_silent() {
        let xmp: &[u8] = b"<x tiff:OrientationX tiff:Orientation=\"6\">";
        assert_eq!(orientation(None, Some(xmp)), Orientation::Rotate90);
        assert_eq!(
            orientation(None, Some(b"<tiff:Orientation>3</tiff:Orientation>")),
            Orientation::Rotate180
        );
        assert_eq!(orientation(Some(b"II"), Some(xmp)), Orientation::Rotate90);
        let nine = b"II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x09\0\0\0";
        assert_eq!(orientation(Some(nine), Some(xmp)), Orientation::NoTransforms);
    }

    #[test]
    fn whatever_the_bytes_there_is_an_answer() {
        let whole = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0";
        assert_eq!(orientation(Some(whole), None), Orientation::Rotate90);
        let mut rng = mae_random::stream(*b"mae-exif", [3, 0, 0]);
        for _ in 0..20_000 {
            let mut data = whole.to_vec();
            for _ in 0..1 + mae_random::below(&mut rng, 4) {
                let at = mae_random::below(&mut rng, data.len() as u64) as usize;
                data[at] = mae_random::below(&mut rng, 256) as u8;
            }
            data.truncate(mae_random::below(&mut rng, data.len() as u64 + 1) as usize);
            orientation(Some(&data), None);
        }
    }
}
