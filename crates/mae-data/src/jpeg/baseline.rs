//! A part of a JPEG image of the usual kind, to the bit as libjpeg-turbo decodes it, and with it Pillow and torchvision.

use std::ops::Range;

use super::bits::{Bits, Coefficients, Huffman, Quantisation};
use super::idct::inverse;
use super::rows::{double_both, double_columns, to_rgb};
use super::{Segment, marker};
use crate::Crop;

/// An image of brightness and two colours in one scan, Huffman-coded, with colours of half the columns, of half the
/// columns and rows, or of all.
///
/// # Source
/// ITU-T T.81: baseline and extended sequential processes, 8 bits.
pub(crate) struct Baseline<'a> {
    height: usize,
    width: usize,
    components: [Component; 3],
    quantisations: [Option<Quantisation>; 4],
    /// Tables of the first coefficients of blocks, and of the others.
    huffman: [[Option<Huffman>; 4]; 2],
    /// MCUs between restart markers; 0 for all.
    restart: usize,
    scan: &'a [u8],
}

/// Brightness or a colour.
#[derive(Clone, Copy, Default)]
struct Component {
    id: u8,
    /// Blocks of an MCU, one below and beside the other.
    rows: usize,
    columns: usize,
    quantisation: usize,
    first: usize,
    others: usize,
}

/// Samples of a component: those of the MCUs that are wanted.
struct Plane {
    data: Vec<u8>,
    stride: usize,
    /// Where in the whole image's samples they begin.
    top: usize,
    left: usize,
    /// The whole image's samples.
    height: usize,
    width: usize,
}

impl<'a> Baseline<'a> {
    /// Reads the segments of a file; nothing if the image is of another kind.
    pub(crate) fn new(file: &'a [u8], segments: &[Segment]) -> Option<Self> {
        let mut image = Self {
            height: 0,
            width: 0,
            components: Default::default(),
            quantisations: [None; 4],
            huffman: Default::default(),
            restart: 0,
            scan: &[],
        };
        for segment in segments {
            let data = file.get(segment.data.clone())?;
            match segment.marker {
                marker::QUANTISATION => image.read_quantisations(data)?,
                marker::HUFFMAN => image.read_huffman(data)?,
                marker::BASELINE | marker::EXTENDED => image.read_frame(data)?,
                marker::RESTART => image.restart = usize::from(u16::from_be_bytes(*data.first_chunk()?)),
                // Adobe's programs say here that the components are red, green and blue.
                marker::ADOBE if data.starts_with(b"Adobe") && data.get(11) == Some(&0) => return None,
                marker::SCAN if image.scan.is_empty() => image.read_scan(file, segment)?,
                marker::SCAN | marker::PROGRESSIVE => return None,
                _ => {}
            }
        }
        (!image.scan.is_empty()).then_some(image)
    }

    fn read_quantisations(&mut self, mut data: &[u8]) -> Option<()> {
        while let [head, rest @ ..] = data {
            // Of 16 bits, such as a baseline image has none.
            if head >> 4 != 0 {
                return None;
            }
            let values = rest.first_chunk::<64>()?;
            let mut quantisation = [0; 128];
            for (to, from) in quantisation.iter_mut().zip(values) {
                *to = u16::from(*from);
            }
            *self.quantisations.get_mut(usize::from(*head))? = Some(quantisation);
            data = &rest[64..];
        }
        Some(())
    }

    fn read_huffman(&mut self, mut data: &[u8]) -> Option<()> {
        while let [head, rest @ ..] = data {
            let counts = rest.first_chunk::<16>()?;
            let end = 16 + counts.iter().map(|&count| usize::from(count)).sum::<usize>();
            let tables = self.huffman.get_mut(usize::from(head >> 4))?;
            *tables.get_mut(usize::from(head & 15))? = Some(Huffman::new(counts, rest.get(16..end)?)?);
            data = &rest[end..];
        }
        Some(())
    }

    fn read_frame(&mut self, data: &[u8]) -> Option<()> {
        let &[8, high, low, left, right, 3] = data.first_chunk()? else { return None };
        self.height = usize::from(u16::from_be_bytes([high, low]));
        self.width = usize::from(u16::from_be_bytes([left, right]));
        for (component, data) in self.components.iter_mut().zip(data.get(6..15)?.as_chunks::<3>().0) {
            component.id = data[0];
            (component.columns, component.rows) = (usize::from(data[1] >> 4), usize::from(data[1] & 15));
            component.quantisation = usize::from(data[2]);
        }
        let [luma, blue, red] = self.components.map(|component| (component.rows, component.columns));
        // libjpeg interpolates no colours of one or two columns.
        let usual = luma == (1, 1) || matches!(luma, (1, 2) | (2, 2)) && self.width > 4;
        let ids = self.components.map(|component| component.id);
        (usual && blue == (1, 1) && red == (1, 1) && self.height > 0 && self.width > 0 && ids != *b"RGB")
            .then_some(())
    }

    fn read_scan(&mut self, file: &'a [u8], segment: &Segment) -> Option<()> {
        let data = file.get(segment.data.clone())?;
        let &[3, a, a_tables, b, b_tables, c, c_tables] = data.first_chunk()? else { return None };
        for (component, (id, tables)) in
            self.components.iter_mut().zip([(a, a_tables), (b, b_tables), (c, c_tables)])
        {
            if component.id != id {
                return None;
            }
            (component.first, component.others) = (usize::from(tables >> 4), usize::from(tables & 15));
        }
        self.scan = file.get(segment.data.end..)?;
        Some(())
    }

    /// Decodes `crop`, which lies within the image; nothing if the data is damaged before the crop's end.
    ///
    /// Everything up to there has to be read, but only what the crop shows is transformed.
    ///
    /// # Shapes
    /// `[H, W, 3]` of the crop
    pub(crate) fn decode(&self, crop: Crop, pixels: &mut Vec<u8>) -> Option<()> {
        let luma = self.components[0];
        // Colours are interpolated from samples beside the crop.
        let wanted = |start: usize, length: usize, blocks: usize, side: usize| {
            let reach = 2 * (blocks - 1);
            let mcu = 8 * blocks;
            start.saturating_sub(reach) / mcu..(start + length + reach).min(side).div_ceil(mcu)
        };
        let rows = wanted(crop.top, crop.height, luma.rows, self.height);
        let columns = wanted(crop.left, crop.width, luma.columns, self.width);
        let mut planes = self.components.map(|component| {
            let stride = columns.len() * 8 * component.columns;
            Plane {
                data: vec![0; stride * rows.len() * 8 * component.rows],
                stride,
                top: rows.start * 8 * component.rows,
                left: columns.start * 8 * component.columns,
                height: (self.height * component.rows).div_ceil(luma.rows),
                width: (self.width * component.columns).div_ceil(luma.columns),
            }
        });
        self.read(rows, columns, &mut planes)?;
        self.colour(&planes, crop, pixels);
        Some(())
    }

    /// Reads the scan up to the last of the rows of MCUs, and transforms those in `rows` and `columns`.
    fn read(&self, rows: Range<usize>, columns: Range<usize>, planes: &mut [Plane; 3]) -> Option<()> {
        let mut tables = Vec::with_capacity(3);
        for component in &self.components {
            let huffman = |kind: usize, at: usize| self.huffman[kind].get(at)?.as_ref();
            let quantisation = self.quantisations.get(component.quantisation)?.as_ref()?;
            tables.push(((huffman(0, component.first)?, huffman(1, component.others)?), quantisation));
        }
        let across = self.width.div_ceil(8 * self.components[0].columns);
        let mut bits = Bits::new(self.scan);
        let mut first = [0_i32; 3];
        let mut coefficients: Coefficients = [0; 128];
        for mcu in 0..rows.end * across {
            if self.restart > 0 && mcu > 0 && mcu % self.restart == 0 {
                bits.restart()?;
                first = [0; 3];
            }
            let (row, column) = (mcu / across, mcu % across);
            let is_wanted = rows.contains(&row) && columns.contains(&column);
            for (i, component) in self.components.iter().enumerate() {
                for block in 0..component.rows * component.columns {
                    let (huffman, quantisation) = tables[i];
                    let (difference, end) = bits.block(huffman, quantisation, &mut coefficients)?;
                    first[i] = first[i].wrapping_add(difference);
                    if is_wanted {
                        let plane = &mut planes[i];
                        let down = (row - rows.start) * component.rows + block / component.columns;
                        let along = (column - columns.start) * component.columns + block % component.columns;
                        let samples = &mut plane.data[8 * (down * plane.stride + along)..];
                        coefficients[0] = (first[i] as i16).wrapping_mul(quantisation[0] as i16);
                        transform(&coefficients, end, samples, plane.stride);
                    }
                    if end > 1 || is_wanted {
                        coefficients[..64].fill(0);
                    }
                }
            }
            if column + 1 == across && bits.is_beyond_end() {
                return None;
            }
        }
        Some(())
    }

    /// Makes the crop's pixels of its samples.
    fn colour(&self, [luma, blue, red]: &[Plane; 3], crop: Crop, pixels: &mut Vec<u8>) {
        let Component { rows, columns, .. } = self.components[0];
        pixels.resize(crop.height * crop.width * 3, 0);
        let mut sums = vec![0; blue.stride];
        let mut doubled = [vec![0; 2 * blue.stride], vec![0; 2 * blue.stride]];
        for (y, pixels) in (crop.top..).zip(pixels.chunks_exact_mut(crop.width * 3)) {
            let cut = |left: usize| crop.left - left..crop.left - left + crop.width;
            let brightness = &luma.row(y)[cut(luma.left)];
            if columns == 1 {
                let [blue, red] = [blue, red].map(|plane| &plane.row(y)[cut(plane.left)]);
                to_rgb(brightness, blue, red, pixels);
                continue;
            }
            for (plane, doubled) in [blue, red].into_iter().zip(&mut doubled) {
                let near = y / rows;
                let far = if y % 2 == 0 { near.saturating_sub(1) } else { (near + 1).min(plane.height - 1) };
                match rows {
                    1 => double_columns(plane.row(y), doubled),
                    _ => double_both(plane.row(near), plane.row(far), &mut sums, doubled),
                }
            }
            let [blue, red] = [0, 1].map(|i| &doubled[i][cut(2 * blue.left)]);
            to_rgb(brightness, blue, red, pixels);
        }
    }
}

impl Plane {
    /// The samples of the whole image's row `y`.
    fn row(&self, y: usize) -> &[u8] {
        let begin = (y - self.top) * self.stride;
        &self.data[begin..begin + self.stride.min(self.width - self.left)]
    }
}

/// Turns coefficients into 8 samples of each of 8 rows.
fn transform(coefficients: &Coefficients, end: usize, samples: &mut [u8], stride: usize) {
    let block = coefficients.first_chunk().expect("a block has 64 coefficients");
    if end > 1 {
        return inverse(block, end, samples, stride);
    }
    // Of one coefficient comes one value.
    let value = (((i32::from(block[0]) + 4) >> 3) + 128).clamp(0, 255) as u8;
    for row in samples.chunks_mut(stride).take(8) {
        row[..8].fill(value);
    }
}
