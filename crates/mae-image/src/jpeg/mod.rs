//! The markers of a JPEG file and the segments that they open.

mod baseline;
mod bits;
mod colour;
mod frame;
mod idct;
mod pixels;
mod rows;
mod scans;
mod tables;

use std::ops::Range;

use memchr::memchr;

pub(crate) use self::frame::{CONVERT, Frame, Refused};
pub(crate) use self::pixels::damaged;

/// The second bytes of markers.
///
/// # Source
/// ITU-T T.81, table B.1.
mod marker {
    pub(super) const BASELINE: u8 = 0xC0;
    pub(super) const EXTENDED: u8 = 0xC1;
    pub(super) const PROGRESSIVE: u8 = 0xC2;
    pub(super) const LOSSLESS: u8 = 0xC3;
    pub(super) const HUFFMAN: u8 = 0xC4;
    pub(super) const END_OF_IMAGE: u8 = 0xD9;
    pub(super) const SCAN: u8 = 0xDA;
    pub(super) const QUANTISATION: u8 = 0xDB;
    pub(super) const RESTART: u8 = 0xDD;
    pub(super) const JFIF: u8 = 0xE0;
    pub(super) const EXIF: u8 = 0xE1;
    pub(super) const ADOBE: u8 = 0xEE;
}

/// The markers of a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Markers {
    /// Whether the end-of-image marker was found. Anything after it is ignored.
    ///
    /// Pillow refuses a file without one: "image file is truncated".
    pub(crate) complete: bool,
    segments: Vec<Segment>,
}

/// A marker's segment.
#[derive(Clone, Debug, PartialEq)]
struct Segment {
    marker: u8,
    /// The byte range of its contents in the file.
    data: Range<usize>,
}

impl Markers {
    /// Walks over the markers of `file`.
    ///
    /// # Source
    /// ITU-T T.81, annex B: markers and the segments they open.
    pub(crate) fn find(file: &[u8]) -> Self {
        const STUFFED_ZERO: u8 = 0x00;
        const LENGTH_BYTES: usize = 2;
        let mut segments = Vec::new();
        let mut at = 0;
        // Both in a scan's data and between segments, the next marker is the next 0xFF. A thumbnail's markers lie
        // within a segment and are skipped with it.
        let complete = loop {
            let Some(found) = memchr(0xFF, &file[at..]) else { break false };
            at += found + 1;
            let Some(&marker) = file.get(at) else { break false };
            at += 1;
            match marker {
                marker::END_OF_IMAGE => break true,
                // Any number of 0xFF may precede a marker.
                0xFF => at -= 1,
                // Stuffed data bytes, TEM, restarts and the start of the image have no segment.
                STUFFED_ZERO | 0x01 | 0xD0..=0xD8 => {}
                _ => {
                    let Some(&bytes) = file[at..].first_chunk() else { break false };
                    let end = at + usize::from(u16::from_be_bytes(bytes));
                    if end > file.len() {
                        break false;
                    }
                    segments.push(Segment { marker, data: (at + LENGTH_BYTES).min(end)..end });
                    at = end;
                }
            }
        };
        Self { complete, segments }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_over_segments_and_scan_data() {
        let has_end = |file: &[u8]| Markers::find(file).complete;
        let thumbnail = [0xFF, 0xD8, 0xFF, 0xE1, 0, 6, 0xFF, 0xD9, 1, 2];
        assert!(!has_end(&thumbnail));
        let scan = [0xFF, 0xDA, 0, 3, 9, 7, 0xFF, 0x00, 0xFF, 0xD0, 5, 0xFF];
        let whole = [&thumbnail[..], &scan, &[0xFF, 0xD9, 0, 0]].concat();
        assert!(has_end(&whole));
        for cut in 0..whole.len() - 2 {
            assert!(!has_end(&whole[..cut]), "cut at {cut}");
        }
    }
}
