//! A JPEG image as its frame describes it, and the part of its pixels that is wanted.

use ::image::error::{DecodingError, ImageFormatHint};
use ::image::metadata::Orientation;
use ::image::{ImageError, ImageFormat};

use super::baseline::Baseline;
use super::bits::Coefficients;
use super::colour::{Colours, Plane, colour};
use super::{Markers, Segment, idct, marker, scans};
use crate::Crop;

/// An image of 8 bits and one, three or four components, Huffman-coded.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Frame {
    /// Of the image as it is stored, before it is turned upright.
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) orientation: Orientation,
    pub(super) components: Vec<Component>,
    pub(super) colours: Colours,
    pub(super) progressive: bool,
    /// Tables and scans.
    pub(super) segments: Vec<Segment>,
}

/// Why a file's frame is not read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Refused {
    /// The file is sound, but of a kind that is not read: which, and what to do.
    Kind(String, &'static str),
    Damaged(&'static str),
}

/// Brightness, a colour or an ink.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Component {
    pub(super) id: u8,
    /// Blocks of an MCU, one below and beside the other.
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) quantisation: usize,
}

impl Markers {
    /// The image's frame, if it is of a kind that is read.
    pub(crate) fn frame(self, file: &[u8]) -> Result<Frame, Refused> {
        /// More scans than any encoder writes: each one costs a pass over all blocks.
        const MOST_SCANS: usize = 200;
        let is_frame = |segment: &&Segment| {
            matches!(segment.marker, 0xC0..=0xCF) && ![marker::HUFFMAN, 0xC8, 0xCC].contains(&segment.marker)
        };
        let mut frames = self.segments.iter().filter(is_frame);
        let first = frames.next().ok_or(Refused::Damaged("it has no frame"))?;
        if frames.next().is_some() {
            return Err(Refused::Damaged("it has several frames"));
        }
        check_coding(first.marker)?;
        let (progressive, data) = (first.marker == marker::PROGRESSIVE, &file[first.data.clone()]);
        let headers = self.segments.iter().take_while(|segment| segment.marker != marker::SCAN);
        let segments =
            |marker| headers.clone().filter(move |s| s.marker == marker).map(|s| &file[s.data.clone()]);
        let orientation = orientation(segments(marker::EXIF));
        let jfif = segments(marker::JFIF).any(|data| data.starts_with(b"JFIF\0") && data.len() >= 14);
        let adobe = segments(marker::ADOBE).filter(|data| data.starts_with(b"Adobe") && data.len() >= 12);
        let adobe = adobe.last().map(|data| data[11]);
        let mut frame = Frame::read(data, jfif, adobe)?;
        let tables = [marker::HUFFMAN, marker::QUANTISATION, marker::RESTART, marker::SCAN];
        let mut kept = self.segments;
        kept.retain(|segment| tables.contains(&segment.marker));
        let scans = kept.iter().filter(|segment| segment.marker == marker::SCAN).count();
        match scans {
            0 => return Err(Refused::Damaged("it has no scan")),
            1..=MOST_SCANS => {}
            _ => return Err(Refused::Damaged("it has more scans than the limit of 200")),
        }
        (frame.progressive, frame.orientation, frame.segments) = (progressive, orientation, kept);
        Ok(frame)
    }
}

/// Refuses what is coded in another way than by Huffman codes of a cosine transform.
fn check_coding(sof: u8) -> Result<(), Refused> {
    let kind = match sof {
        marker::BASELINE | marker::EXTENDED | marker::PROGRESSIVE => return Ok(()),
        marker::LOSSLESS => "a lossless JPEG",
        0xC9..=0xCF => {
            let advice = "recode it without loss, for instance with `jpegtran -copy all IN > OUT`";
            return Err(Refused::Kind("an arithmetic-coded JPEG".to_owned(), advice));
        }
        _ => "a hierarchical JPEG",
    };
    Err(Refused::Kind(kind.to_owned(), CONVERT))
}

/// What to do with an image of a kind that is not read.
pub(crate) const CONVERT: &str = "convert it, for instance with ImageMagick's `magick IN OUT.png`";

/// How an image is turned upright: the first EXIF segment and those that continue it, or else XMP.
fn orientation<'a>(segments: impl Iterator<Item = &'a [u8]>) -> Orientation {
    let (mut exif, mut xmp): (Vec<u8>, _) = (Vec::new(), None);
    for data in segments {
        if let Some(more) = data.strip_prefix(b"Exif\0\0") {
            exif.extend_from_slice(more);
        } else if let Some(text) = data.strip_prefix(b"http://ns.adobe.com/xap/1.0/\0") {
            xmp = Some(text);
        }
    }
    crate::exif::orientation(Some(&exif), xmp)
}

impl Frame {
    /// Reads the frame's header; `adobe` is the transform that Adobe's segment tells.
    fn read(data: &[u8], jfif: bool, adobe: Option<u8>) -> Result<Self, Refused> {
        let damaged = Refused::Damaged("its frame is damaged");
        let kind = |kind| Err(Refused::Kind(kind, CONVERT));
        let Some(&[bits, high, low, left, right, count]) = data.first_chunk() else { return Err(damaged) };
        if bits != 8 {
            return kind(format!("a JPEG of {bits} bits"));
        }
        if ![1, 3, 4].contains(&count) {
            return kind(format!("a JPEG of {count} components"));
        }
        let Some(listed) = data.get(6..6 + 3 * usize::from(count)) else { return Err(damaged) };
        let component = |data: &[u8; 3]| Component {
            id: data[0],
            columns: usize::from(data[1] >> 4),
            rows: usize::from(data[1] & 15),
            quantisation: usize::from(data[2]),
        };
        let components: Vec<_> = listed.as_chunks().0.iter().map(component).collect();
        let valid =
            |c: &Component| (1..=4).contains(&c.rows) && (1..=4).contains(&c.columns) && c.quantisation < 4;
        if !components.iter().all(valid) {
            return Err(damaged);
        }
        let frame = Self {
            height: usize::from(u16::from_be_bytes([high, low])),
            width: usize::from(u16::from_be_bytes([left, right])),
            orientation: Orientation::NoTransforms,
            colours: colours(&components, jfif, adobe),
            components,
            progressive: false,
            segments: Vec::new(),
        };
        let (rows, columns) = frame.most();
        if frame.components.iter().any(|c| rows % c.rows > 0 || columns % c.columns > 0) {
            return kind("a JPEG with fractional subsampling".to_owned());
        }
        Ok(frame)
    }

    /// The most blocks that an MCU has of a component, one below and beside the other.
    fn most(&self) -> (usize, usize) {
        let most = |side: fn(&Component) -> usize| self.components.iter().map(side).max().unwrap_or(1);
        (most(|component| component.rows), most(|component| component.columns))
    }

    /// The MCUs of a scan of all components, down and across.
    pub(super) fn mcus(&self) -> (usize, usize) {
        let (rows, columns) = self.most();
        (self.height.div_ceil(8 * rows), self.width.div_ceil(8 * columns))
    }

    /// The blocks of a component in whole MCUs, down and across.
    pub(super) fn blocks(&self, component: &Component) -> (usize, usize) {
        let (down, across) = self.mcus();
        (down * component.rows, across * component.columns)
    }

    /// The samples of a component, down and across.
    pub(super) fn samples(&self, component: &Component) -> (usize, usize) {
        let (rows, columns) = self.most();
        let (height, width) = (self.height * component.rows, self.width * component.columns);
        (height.div_ceil(rows), width.div_ceil(columns))
    }

    /// A plane of a component, from its first sample on.
    pub(super) fn plane(&self, component: &Component, data: Vec<u8>, stride: usize) -> Plane {
        let (height, width) = self.samples(component);
        let (rows, columns) = self.most();
        let pixels = (rows / component.rows, columns / component.columns);
        Plane { data, stride, top: 0, left: 0, height, width, pixels }
    }

    /// The bytes that decoding takes at most, the file aside: pixels, or the coefficients of several scans.
    pub(crate) fn bytes(&self) -> u64 {
        let pixels = 3 * self.height as u64 * self.width as u64;
        let scans = self.segments.iter().filter(|segment| segment.marker == marker::SCAN).count();
        if scans == 1 {
            return pixels;
        }
        let blocks = self.components.iter().map(|component| {
            let (down, across) = self.blocks(component);
            down as u64 * across as u64
        });
        pixels.max(128 * blocks.sum::<u64>())
    }

    /// Decodes `crop`, or more, into `pixels`; returns what they are. They are not turned upright.
    ///
    /// # Shapes
    /// `[H, W, 3]` of what is returned
    pub(crate) fn decode(&self, file: &[u8], crop: Crop, pixels: &mut Vec<u8>) -> Result<Crop, ImageError> {
        if let Some(image) = Baseline::new(file, self) {
            image.decode(crop, pixels).ok_or_else(|| damaged("the data of its scan is damaged"))?;
            return Ok(crop);
        }
        let whole = Crop { top: 0, left: 0, height: self.height, width: self.width };
        let planes = scans::decode(file, self).map_err(damaged)?;
        colour(&planes, self.colours, whole, pixels);
        Ok(whole)
    }
}

pub(crate) fn damaged(message: &str) -> ImageError {
    ImageError::Decoding(DecodingError::new(ImageFormatHint::Exact(ImageFormat::Jpeg), message))
}

/// What an image's components are.
///
/// # Source
/// libjpeg's `default_decompress_parms`.
fn colours(components: &[Component], jfif: bool, adobe: Option<u8>) -> Colours {
    match (components.len(), adobe) {
        (1, _) => Colours::Grey,
        (3, _) if jfif => Colours::YCbCr,
        (3, Some(0)) => Colours::Rgb,
        (3, None) if components.iter().map(|component| component.id).eq(*b"RGB") => Colours::Rgb,
        (3, _) => Colours::YCbCr,
        (_, None | Some(0)) => Colours::Cmyk,
        _ => Colours::Ycck,
    }
}

/// Turns coefficients into 8 samples of each of 8 rows; `end` is behind the last that is not 0.
pub(super) fn transform(coefficients: &Coefficients, end: usize, samples: &mut [u8], stride: usize) {
    let block = coefficients.first_chunk().expect("a block has 64 coefficients");
    if end > 1 {
        return idct::inverse(block, end, samples, stride);
    }
    // Of one coefficient comes one value.
    let value = (((i32::from(block[0]) + 4) >> 3) + 128).clamp(0, 255) as u8;
    for row in samples.chunks_mut(stride).take(8) {
        row[..8].fill(value);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Golden files of every usual chroma subsampling, and one whose scans are decoded as a whole.
    #[test]
    fn a_crop_is_that_of_the_whole_image() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/decode");
        for name in ["full-chroma", "half-chroma", "quarter-chroma", "progressive", "orientation-1"] {
            let file = std::fs::read(folder.join(name).with_extension("jpg")).unwrap();
            let frame = Markers::find(&file).frame(&file).unwrap();
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
        for name in ["full-chroma", "half-chroma", "quarter-chroma", "progressive", "grey", "ycck"] {
            let whole = std::fs::read(folder.join(name).with_extension("jpg")).unwrap();
            for _ in 0..300 {
                let mut file = whole.clone();
                for _ in 0..1 + below(4) {
                    let at = below(file.len());
                    file[at] = below(256) as u8;
                }
                let Some(frame) = Markers::find(&file)
                    .frame(&file)
                    .ok()
                    .filter(|frame| frame.height * frame.width < 1 << 16)
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
