//! Decodes a part of a JPEG image of the usual kind, bit for bit as libjpeg-turbo, Pillow and torchvision do.

use std::ops::Range;

use super::bits::{Bits, Coefficients};
use super::colour::{Plane, colour};
use super::frame::{Component, Frame, transform};
use super::marker;
use super::tables::Tables;
use crate::Crop;

/// A Huffman-coded image of three components in one scan. The last two are subsampled by 2 in columns, rows or both, or
/// have full resolution.
///
/// # Source
/// ITU-T T.81: baseline and extended sequential processes, 8 bits.
pub(crate) struct Baseline<'a> {
    frame: &'a Frame,
    components: &'a [Component; 3],
    tables: Tables,
    /// The indices of each component's Huffman tables: for the first (DC) coefficients, and for the others (AC).
    huffman: [(usize, usize); 3],
    scan: &'a [u8],
}

impl<'a> Baseline<'a> {
    /// Reads the segments of a file up to its first scan; `None` if the image is of another kind.
    pub(crate) fn new(file: &'a [u8], frame: &'a Frame) -> Option<Self> {
        let components: &[Component; 3] = frame.components[..].try_into().ok()?;
        let [first, second, third] = components;
        let usual = matches!((first.rows, first.columns), (1 | 2, 1 | 2))
            && [second, third].iter().all(|component| (component.rows, component.columns) == (1, 1));
        if !usual || frame.progressive {
            return None;
        }
        let mut tables = Tables::default();
        for segment in &frame.segments {
            let data = file.get(segment.data.clone())?;
            if segment.marker != marker::SCAN {
                tables.read(segment.marker, data)?;
                continue;
            }
            let &[3, a, a_tables, b, b_tables, c, c_tables] = data.first_chunk()? else { return None };
            if [a, b, c] != [first.id, second.id, third.id] {
                return None;
            }
            let both = |tables: u8| (usize::from(tables >> 4), usize::from(tables & 15));
            let huffman = [a_tables, b_tables, c_tables].map(both);
            return Some(Self { frame, components, tables, huffman, scan: file.get(segment.data.end..)? });
        }
        None
    }

    /// Decodes `crop`, which must lie within the image; `None` if the data is damaged before the crop's end.
    ///
    /// All entropy codes up to there must be read, but only the blocks that the crop shows are transformed.
    ///
    /// # Shapes
    /// `[H, W, 3]` of the crop
    pub(crate) fn decode(&self, crop: Crop, pixels: &mut Vec<u8>) -> Option<()> {
        let luma = &self.components[0];
        // Colours are interpolated, so samples beside the crop are needed too.
        let wanted = |start: usize, length: usize, blocks: usize, side: usize| {
            let reach = 2 * (blocks - 1);
            let mcu = 8 * blocks;
            start.saturating_sub(reach) / mcu..(start + length + reach).min(side).div_ceil(mcu)
        };
        let rows = wanted(crop.top, crop.height, luma.rows, self.frame.height);
        let columns = wanted(crop.left, crop.width, luma.columns, self.frame.width);
        let mut planes = self.components.each_ref().map(|component| {
            let stride = columns.len() * 8 * component.columns;
            let data = vec![0; stride * rows.len() * 8 * component.rows];
            Plane {
                top: rows.start * 8 * component.rows,
                left: columns.start * 8 * component.columns,
                ..self.frame.plane(component, data, stride)
            }
        });
        self.read(rows, columns, &mut planes)?;
        colour(&planes, self.frame.colours, crop, pixels);
        Some(())
    }

    /// Reads the scan down to the last MCU row of `rows`, and transforms the MCUs in `rows` and `columns`.
    fn read(&self, rows: Range<usize>, columns: Range<usize>, planes: &mut [Plane; 3]) -> Option<()> {
        let mut tables = Vec::with_capacity(3);
        for (component, (first, others)) in self.components.iter().zip(self.huffman) {
            let huffman = |kind: usize, at: usize| self.tables.huffman[kind].get(at)?.as_ref();
            let quantisation = self.tables.quantisations.get(component.quantisation)?.as_ref()?;
            tables.push(((huffman(0, first)?, huffman(1, others)?), quantisation));
        }
        let (across, restart) = (self.frame.mcus().1, self.tables.restart);
        let mut bits = Bits::new(self.scan);
        let mut first = [0_i32; 3];
        let mut coefficients: Coefficients = [0; 128];
        for mcu in 0..rows.end * across {
            if restart > 0 && mcu > 0 && mcu % restart == 0 {
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
}
