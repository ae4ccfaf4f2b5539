//! What the markers of a JPEG file say, and its rows from the top down to where they are no longer wanted.

use std::error::Error;

use ::image::error::{DecodingError, ImageFormatHint};
use ::image::metadata::Orientation;
use ::image::{ImageError, ImageFormat};
use memchr::memchr;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// Rows beyond the last one wanted that its chroma is interpolated from.
const CHROMA_REACH: usize = 2;

/// What a walk over a file's markers finds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Markers {
    /// Whether the image reaches its end marker. What follows that does not matter.
    ///
    /// The decoder would quietly fill up with grey an image that was cut short. Pillow refuses the same files:
    /// "image file is truncated".
    pub(crate) complete: bool,
    /// The image's frame, if it is one of the usual kind.
    pub(crate) frame: Option<Frame>,
}

/// An upright image of three channels and 8 bits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Frame {
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// Where in the file its height is written, if the image is one scan from top to bottom.
    height_at: Option<usize>,
}

impl Markers {
    /// Walks over the markers of `file`.
    ///
    /// # Source
    /// ITU-T T.81, annex B: markers and the segments they open.
    pub(crate) fn find(file: &[u8]) -> Self {
        const BASELINE: u8 = 0xC0;
        const EXTENDED: u8 = 0xC1;
        const PROGRESSIVE: u8 = 0xC2;
        const END_OF_IMAGE: u8 = 0xD9;
        const SCAN: u8 = 0xDA;
        const EXIF: u8 = 0xE1;
        const STUFFED_ZERO: u8 = 0x00;
        let (mut frames, mut one_scan, mut upright) = (Vec::new(), true, true);
        let mut at = 0;
        // In a scan's data and between segments alike the next marker is the next 0xFF; a thumbnail's markers lie
        // within a segment and are stepped over with it.
        let complete = loop {
            let Some(found) = memchr(0xFF, &file[at..]) else { break false };
            at += found + 1;
            let Some(&marker) = file.get(at) else { break false };
            at += 1;
            match marker {
                END_OF_IMAGE => break true,
                // Any number of 0xFF may stand before a marker.
                0xFF => at -= 1,
                // Data, TEM, restarts and the start of the image stand alone.
                STUFFED_ZERO | 0x01 | 0xD0..=0xD8 => {}
                _ => {
                    let Some(&[high, low]) = file[at..].first_chunk() else { break false };
                    let length = usize::from(u16::from_be_bytes([high, low]));
                    let Some(segment) = file.get(at..at + length) else { break false };
                    match marker {
                        BASELINE | EXTENDED | PROGRESSIVE => {
                            frames.push(Frame::read(segment, at));
                            one_scan &= marker != PROGRESSIVE;
                        }
                        SCAN => one_scan &= segment.get(2) == Some(&3),
                        EXIF => upright &= is_upright(segment),
                        _ => {}
                    }
                    at += length;
                }
            }
        };
        let frame = match frames[..] {
            [Some(frame)] if upright => {
                Some(Frame { height_at: frame.height_at.filter(|_| one_scan), ..frame })
            }
            _ => None,
        };
        Self { complete, frame }
    }
}

impl Frame {
    /// Reads the segment of a frame that begins at `at`.
    fn read(segment: &[u8], at: usize) -> Option<Self> {
        let &[_, _, bits, high, low, left, right, channels] = segment.first_chunk()?;
        let side = |bytes| usize::from(u16::from_be_bytes(bytes));
        let (height, width) = (side([high, low]), side([left, right]));
        let usual = (bits, channels) == (8, 3) && height > 0 && width > 0;
        usual.then_some(Self { height, width, height_at: Some(at + 3) })
    }

    /// Decodes the rows above `end`, or more of them, into `pixels`; returns how many they are.
    ///
    /// Only the height that the file claims is made smaller: the decoder then stops early, and what it makes of the
    /// rows is what it makes of them in the whole image.
    ///
    /// # Shapes
    /// `[rows, W, 3]`
    pub(crate) fn decode(
        &self,
        file: &mut [u8],
        end: usize,
        pixels: &mut Vec<u8>,
    ) -> Result<usize, ImageError> {
        let mut rows = self.height;
        if let Some(at) = self.height_at {
            rows = rows.min(end + CHROMA_REACH);
            file[at..at + 2].copy_from_slice(&(rows as u16).to_be_bytes());
        }
        let decoded = decode(file, (rows, self.width), pixels);
        if let Some(at) = self.height_at {
            file[at..at + 2].copy_from_slice(&(self.height as u16).to_be_bytes());
        }
        decoded.map(|()| rows)
    }
}

fn decode(file: &[u8], (height, width): (usize, usize), pixels: &mut Vec<u8>) -> Result<(), ImageError> {
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let refuse = |error: Box<dyn Error + Send + Sync>| {
        ImageError::Decoding(DecodingError::new(ImageFormatHint::Exact(ImageFormat::Jpeg), error))
    };
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(file), options);
    decoder.decode_headers().map_err(|error| refuse(error.into()))?;
    if decoder.dimensions() != Some((width, height)) {
        let message = format!("the decoder takes it for another image than one of {height}x{width}");
        return Err(refuse(message.into()));
    }
    // Where a damaged file leaves pixels out, they are black and not those of another image.
    pixels.clear();
    pixels.resize(height * width * 3, 0);
    decoder.decode_into(pixels).map_err(|error| refuse(error.into()))
}

/// Whether an application segment, which may be EXIF's, leaves the image as it lies.
fn is_upright(segment: &[u8]) -> bool {
    let exif = segment.get(2..).and_then(|data| data.strip_prefix(b"Exif\0\0"));
    let turned = exif.and_then(Orientation::from_exif_chunk);
    turned.is_none_or(|orientation| orientation == Orientation::NoTransforms)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

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

    #[test]
    fn rows_from_the_top_are_those_of_the_whole_image() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/decode");
        let mut stopped = 0;
        for name in ["full-chroma", "half-chroma", "quarter-chroma", "progressive", "orientation-1"] {
            let mut file = std::fs::read(folder.join(name).with_extension("jpg")).unwrap();
            let before = file.clone();
            let frame = Markers::find(&file).frame.unwrap();
            let (mut whole, mut part) = (Vec::new(), Vec::new());
            assert_eq!(frame.decode(&mut file, frame.height, &mut whole).unwrap(), frame.height);
            for end in 1..frame.height {
                let rows = frame.decode(&mut file, end, &mut part).unwrap();
                let bytes = end * frame.width * 3;
                assert!(rows >= end && part[..bytes] == whole[..bytes], "{name}: {end} rows");
                stopped += usize::from(rows < frame.height);
            }
            assert_eq!(file, before);
        }
        assert!(stopped > 100, "only {stopped} stopped early");
    }
}
