//! A JPEG image as its frame describes it.

use ::image::metadata::Orientation;

use super::bits::Coefficients;
use super::colour::{Colours, Plane};
use super::{Markers, Segment, idct, marker};

/// A Huffman-coded image of 8 bits and one, three or four components.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Frame {
    /// Height and width of the image as stored, before it is turned upright.
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
    /// The file is valid, but of an unsupported kind: which, and what to do.
    Kind(String, &'static str),
    Damaged(&'static str),
}

/// A component: luma, a colour or an ink.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Component {
    pub(super) id: u8,
    /// Its blocks in an MCU, down and across.
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) quantisation: usize,
}

impl Frame {
    /// Whether it has one component only.
    pub(crate) fn is_grey(&self) -> bool {
        self.components.len() == 1
    }
}

impl Markers {
    /// The image's frame, if it is of a supported kind.
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

/// Refuses an image that is not coded by a cosine transform and Huffman codes.
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

/// Advice for an image of an unsupported kind.
pub(crate) const CONVERT: &str = "convert it, for instance with ImageMagick's `magick IN OUT.png`";

/// The orientation from the EXIF segments, joined into one, or else from XMP.
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
    /// Reads the frame's header; `adobe` is the colour transform in Adobe's segment.
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

    /// The largest number of blocks that an MCU has of any component, down and across.
    fn most(&self) -> (usize, usize) {
        let most = |side: fn(&Component) -> usize| self.components.iter().map(side).max().unwrap_or(1);
        (most(|component| component.rows), most(|component| component.columns))
    }

    /// The number of MCUs in a scan of all components, down and across.
    pub(super) fn mcus(&self) -> (usize, usize) {
        let (rows, columns) = self.most();
        (self.height.div_ceil(8 * rows), self.width.div_ceil(8 * columns))
    }

    /// The number of blocks of a component in whole MCUs, down and across.
    pub(super) fn blocks(&self, component: &Component) -> (usize, usize) {
        let (down, across) = self.mcus();
        (down * component.rows, across * component.columns)
    }

    /// The number of samples of a component, down and across.
    pub(super) fn samples(&self, component: &Component) -> (usize, usize) {
        let (rows, columns) = self.most();
        let (height, width) = (self.height * component.rows, self.width * component.columns);
        (height.div_ceil(rows), width.div_ceil(columns))
    }

    /// A plane of a component that begins at its first sample.
    pub(super) fn plane(&self, component: &Component, data: Vec<u8>, stride: usize) -> Plane {
        let (height, width) = self.samples(component);
        let (rows, columns) = self.most();
        let pixels = (rows / component.rows, columns / component.columns);
        Plane { data, stride, top: 0, left: 0, height, width, pixels }
    }

    /// The maximum number of bytes that decoding takes, without the file: pixels, or the coefficients of several scans.
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
}

/// The colour space of an image's components.
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

/// Transforms coefficients into 8 rows of 8 samples; `end` is one past the last nonzero coefficient.
pub(super) fn transform(coefficients: &Coefficients, end: usize, samples: &mut [u8], stride: usize) {
    let block = coefficients.first_chunk().expect("a block has 64 coefficients");
    if end > 1 {
        return idct::inverse(block, end, samples, stride);
    }
    // The DC coefficient alone gives a constant block.
    let value = (((i32::from(block[0]) + 4) >> 3) + 128).clamp(0, 255) as u8;
    for row in samples.chunks_mut(stride).take(8) {
        row[..8].fill(value);
    }
}
