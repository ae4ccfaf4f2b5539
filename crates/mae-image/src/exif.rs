//! The orientation of an image, from its EXIF data or its XMP text, as Pillow reads them.

use std::convert::Infallible;

use ::image::metadata::Orientation;

/// The orientation in `exif`, a TIFF structure, or in `xmp` if `exif` has none.
///
/// A value out of range means no transform. Unreadable data is ignored.
///
/// # Source
/// Pillow's `Image.getexif` and `ImageOps.exif_transpose`: a value of any type counts, and the first of several.
pub(crate) fn orientation(exif: Option<&[u8]>, xmp: Option<&[u8]>) -> Orientation {
    upright(exif.and_then(|data| tag(data, ORIENTATION)), xmp)
}

const ORIENTATION: u64 = 0x0112;

/// The orientation for the tag value `told` or, if there is none, for the value in `xmp`.
pub(crate) fn upright(told: Option<u32>, xmp: Option<&[u8]>) -> Orientation {
    let told = told.or_else(|| xmp.and_then(in_xmp));
    told.and_then(|value| Orientation::from_exif(value.min(255) as u8)).unwrap_or(Orientation::NoTransforms)
}

/// The first value of a tag in a TIFF structure's first directory, if the tag is present; 0 if it is not an integer of
/// 0 or more.
pub(crate) fn tag(mut data: &[u8], wanted: u64) -> Option<u32> {
    for _ in 0..2 {
        data = data.strip_prefix(b"Exif\0\0").unwrap_or(data);
    }
    let little = data.starts_with(b"II");
    if !little && !data.starts_with(b"MM") {
        return None;
    }
    let bytes = |at: u64, length: u64| {
        let at = usize::try_from(at).ok()?;
        data.get(at..at.checked_add(usize::try_from(length).ok()?)?)
    };
    let mut layout = Layout { little, word: 4 };
    match layout.number(bytes(2, 2)?) {
        42 => {}
        43 => layout.word = 8,
        _ => return None,
    }
    let word = layout.word;
    let folder = layout.number(bytes(word, word)?);
    // The length of the entry count.
    let count = if word == 8 { 8 } else { 2 };
    let entries = layout.number(bytes(folder, count)?);
    let rest = &data[(folder + count) as usize..];
    let length = usize::try_from(entries.saturating_mul(4 + 2 * word)).unwrap_or(usize::MAX);
    let far = |at, length| Ok::<_, Infallible>(bytes(at, length).map(first_bytes));
    let Ok(value) = layout.first_value(&rest[..length.min(rest.len())], wanted, far);
    value
}

/// The digit after `tiff:Orientation="` or `tiff:Orientation>`.
fn in_xmp(text: &[u8]) -> Option<u32> {
    const NAME: &[u8] = b"tiff:Orientation";
    memchr::memmem::find_iter(text, NAME).find_map(|at| {
        let rest = &text[at + NAME.len()..];
        let rest = rest.strip_prefix(b"=\"").or_else(|| rest.strip_prefix(b">"))?;
        rest.first().filter(|digit| digit.is_ascii_digit()).map(|digit| u32::from(digit - b'0'))
    })
}

/// The size in bytes of a value of a TIFF type.
fn length_of(kind: u64) -> Option<u64> {
    Some(match kind {
        1 | 2 | 6 | 7 => 1,
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16 => 8,
        _ => return None,
    })
}

/// Byte order and offset size of a TIFF structure.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) little: bool,
    /// The length of an offset in bytes: 4, or 8 in BigTIFF.
    pub(crate) word: u64,
}

impl Layout {
    /// Reads an unsigned integer of at most 8 bytes.
    fn number(self, bytes: &[u8]) -> u64 {
        let join = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        if self.little { bytes.iter().rev().fold(0, join) } else { bytes.iter().fold(0, join) }
    }

    /// The first value of a tag among the entries of a directory, if the tag is present; 0 if it is not an integer of 0
    /// or more. `far(offset, length)` returns the first 8 bytes of a value stored elsewhere, or `None` if the file ends
    /// before the value does.
    fn first_value<E>(
        self,
        entries: &[u8],
        wanted: u64,
        mut far: impl FnMut(u64, u64) -> Result<Option<[u8; 8]>, E>,
    ) -> Result<Option<u32>, E> {
        let word = self.word as usize;
        let number = |entry: &[u8], at: usize, length| Some(self.number(entry.get(at..at + length)?));
        for entry in entries.chunks(4 + 2 * word) {
            let Some(tag) = number(entry, 0, 2) else { return Ok(None) };
            if tag != wanted {
                continue;
            }
            let (Some(kind), Some(values)) = (number(entry, 2, 2), number(entry, 4, word)) else {
                return Ok(None);
            };
            // Entries of unknown types are skipped, as if the tag were absent.
            let Some(length) = length_of(kind) else { continue };
            let Some(bytes) = length.checked_mul(values) else { return Ok(None) };
            let place = &entry[4 + word..];
            let value = if bytes > self.word {
                let Some(at) = number(place, 0, word) else { return Ok(None) };
                far(at, bytes)?
            } else {
                place.get(..bytes as usize).map(first_bytes)
            };
            let Some(value) = value else { continue };
            return Ok(Some(self.value(value, kind).filter(|_| values > 0).unwrap_or(0)));
        }
        Ok(None)
    }

    /// The orientation among the entries of a directory. `far` reads a value stored elsewhere, as for
    /// [`first_value`](Self::first_value).
    pub(crate) fn orientation<E>(
        self,
        entries: &[u8],
        far: impl FnMut(u64, u64) -> Result<Option<[u8; 8]>, E>,
    ) -> Result<Option<u32>, E> {
        self.first_value(entries, ORIENTATION, far)
    }

    /// Converts a value of any numeric type; `None` unless it is an integer of 0 or more.
    fn value(self, bytes: [u8; 8], kind: u64) -> Option<u32> {
        let number = |length| self.number(&bytes[..length]);
        let second = self.number(&bytes[4..]);
        let value = match kind {
            3 => number(2) as f64,
            4 | 13 => number(4) as f64,
            5 => number(4) as f64 / second as f64,
            6 => f64::from(number(1) as i8),
            8 => f64::from(number(2) as i16),
            9 => f64::from(number(4) as i32),
            10 => f64::from(number(4) as i32) / f64::from(second as i32),
            11 => f64::from(f32::from_bits(number(4) as u32)),
            12 => f64::from_bits(number(8)),
            16 => number(8) as f64,
            _ => return None,
        };
        (value >= 0.0 && value.fract() == 0.0).then_some(value as u32)
    }
}

/// The first 8 bytes, padded with zeros.
pub(crate) fn first_bytes(bytes: &[u8]) -> [u8; 8] {
    let mut first = [0; 8];
    let length = bytes.len().min(8);
    first[..length].copy_from_slice(&bytes[..length]);
    first
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
