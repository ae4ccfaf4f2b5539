//! What the markers of a JPEG file say, and the part of its pixels that is wanted.

mod baseline;
mod bits;
mod idct;
mod rows;

use std::error::Error;
use std::ops::Range;

use ::image::error::{DecodingError, ImageFormatHint};
use ::image::metadata::Orientation;
use ::image::{ImageError, ImageFormat};
use memchr::memchr;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use self::baseline::Baseline;
use crate::Crop;

/// The second bytes of markers.
///
/// # Source
/// ITU-T T.81, table B.1.
mod marker {
    pub(super) const BASELINE: u8 = 0xC0;
    pub(super) const EXTENDED: u8 = 0xC1;
    pub(super) const PROGRESSIVE: u8 = 0xC2;
    pub(super) const HUFFMAN: u8 = 0xC4;
    pub(super) const END_OF_IMAGE: u8 = 0xD9;
    pub(super) const SCAN: u8 = 0xDA;
    pub(super) const QUANTISATION: u8 = 0xDB;
    pub(super) const RESTART: u8 = 0xDD;
    pub(super) const EXIF: u8 = 0xE1;
    pub(super) const ADOBE: u8 = 0xEE;
}

/// What a walk over a file's markers finds.
#[derive(Clone, Debug, PartialEq)]
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
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Frame {
    pub(crate) height: usize,
    pub(crate) width: usize,
    segments: Vec<Segment>,
}

/// What a marker opens.
#[derive(Clone, Debug, PartialEq)]
struct Segment {
    marker: u8,
    /// Where in the file its contents lie.
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
        // In a scan's data and between segments alike the next marker is the next 0xFF; a thumbnail's markers lie
        // within a segment and are stepped over with it.
        let complete = loop {
            let Some(found) = memchr(0xFF, &file[at..]) else { break false };
            at += found + 1;
            let Some(&marker) = file.get(at) else { break false };
            at += 1;
            match marker {
                marker::END_OF_IMAGE => break true,
                // Any number of 0xFF may stand before a marker.
                0xFF => at -= 1,
                // Data, TEM, restarts and the start of the image stand alone.
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
        Self { complete, frame: Frame::of(file, segments) }
    }
}

impl Frame {
    fn of(file: &[u8], segments: Vec<Segment>) -> Option<Self> {
        let is_frame = |segment: &&Segment| {
            [marker::BASELINE, marker::EXTENDED, marker::PROGRESSIVE].contains(&segment.marker)
        };
        let mut frames = segments.iter().filter(is_frame);
        let frame = frames.next().filter(|_| frames.next().is_none())?;
        let &[8, high, low, left, right, 3] = file[frame.data.clone()].first_chunk()? else { return None };
        let (height, width) = (u16::from_be_bytes([high, low]), u16::from_be_bytes([left, right]));
        let mut exif = segments.iter().filter(|segment| segment.marker == marker::EXIF);
        let upright = exif.all(|segment| is_upright(&file[segment.data.clone()]));
        let frame = Self { height: height.into(), width: width.into(), segments };
        (upright && height > 0 && width > 0).then_some(frame)
    }

    /// Decodes `crop`, or more, into `pixels`; returns what they are.
    ///
    /// # Shapes
    /// `[H, W, 3]` of what is returned
    pub(crate) fn decode(&self, file: &[u8], crop: Crop, pixels: &mut Vec<u8>) -> Result<Crop, ImageError> {
        let decoded = Baseline::new(file, &self.segments).and_then(|image| image.decode(crop, pixels));
        if decoded.is_some() {
            return Ok(crop);
        }
        // Of another kind, or damaged: the other decoder knows what can be made of it.
        let (height, width) = (self.height, self.width);
        decode_whole(file, (height, width), pixels)?;
        Ok(Crop { top: 0, left: 0, height, width })
    }
}

fn decode_whole(
    file: &[u8],
    (height, width): (usize, usize),
    pixels: &mut Vec<u8>,
) -> Result<(), ImageError> {
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
    let exif = segment.strip_prefix(b"Exif\0\0");
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

    /// Golden files of every way to thin out colours, and one that another decoder reads.
    #[test]
    fn a_crop_is_that_of_the_whole_image() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/decode");
        for name in ["full-chroma", "half-chroma", "quarter-chroma", "progressive", "orientation-1"] {
            let file = std::fs::read(folder.join(name).with_extension("jpg")).unwrap();
            let frame = Markers::find(&file).frame.unwrap();
            let (mut whole, mut part) = (Vec::new(), Vec::new());
            let all = Crop { top: 0, left: 0, height: frame.height, width: frame.width };
            assert_eq!(frame.decode(&file, all, &mut whole).unwrap(), all);
            let mut rng = crate::sample_rng(0, 0, 0);
            let mut below = |bound: usize| crate::below(&mut rng, bound as u64) as usize;
            for _ in 0..500 {
                let (top, left) = (below(all.height), below(all.width));
                let (height, width) = (1 + below(all.height - top), 1 + below(all.width - left));
                let crop = Crop { top, left, height, width };
                let decoded = frame.decode(&file, crop, &mut part).unwrap();
                assert_eq!(decoded, if name == "progressive" { all } else { crop });
                for row in 0..decoded.height {
                    let from = 3 * ((decoded.top + row) * all.width + decoded.left);
                    let (part, whole) = (&part[3 * row * decoded.width..], &whole[from..]);
                    assert!(part[..3 * decoded.width] == whole[..3 * decoded.width], "{name}: {crop:?}");
                }
            }
        }
    }

    /// Whatever the bytes: an image of the size that the frame says, or an error.
    #[test]
    fn damaged_files_are_decoded_or_refused() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/decode");
        let mut rng = crate::sample_rng(1, 0, 0);
        let mut below = |bound: usize| crate::below(&mut rng, bound as u64) as usize;
        let (mut decoded, mut refused) = (0, 0);
        for name in ["full-chroma", "half-chroma", "quarter-chroma"] {
            let whole = std::fs::read(folder.join(name).with_extension("jpg")).unwrap();
            for _ in 0..300 {
                let mut file = whole.clone();
                for _ in 0..1 + below(4) {
                    let at = below(file.len());
                    file[at] = below(256) as u8;
                }
                let Some(frame) =
                    Markers::find(&file).frame.filter(|frame| frame.height * frame.width < 1 << 16)
                else {
                    continue;
                };
                let crop =
                    Crop { top: frame.height / 4, left: 0, height: frame.height / 2 + 1, width: frame.width };
                let crop = Crop { height: crop.height.min(frame.height - crop.top), ..crop };
                let mut pixels = Vec::new();
                match frame.decode(&file, crop, &mut pixels) {
                    Ok(part) => {
                        assert_eq!(pixels.len(), 3 * part.height * part.width);
                        decoded += 1;
                    }
                    Err(_) => refused += 1,
                }
            }
        }
        assert!(decoded > 100 && refused > 10, "{decoded} decoded, {refused} refused");
    }
}
