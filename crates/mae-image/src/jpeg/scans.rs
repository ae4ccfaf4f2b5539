//! Decodes whole Huffman-coded JPEG images with any number of scans: progressive, one scan for each component, grey.

use super::bits::{Bits, Coefficients, Huffman, PLACES, Quantisation};
use super::colour::Plane;
use super::frame::{Component, Frame, transform};
use super::marker;
use super::tables::Tables;

/// The coefficients of a component, as decoded by the scans so far.
struct Blocks {
    /// Rows and columns of the stored blocks, which fill whole MCUs.
    rows: usize,
    columns: usize,
    /// 64 for each block, row by row.
    coefficients: Vec<i16>,
    /// The table that was valid when the component's first scan began.
    quantisation: Option<Quantisation>,
}

/// A scan: its components, and which bits of their coefficients it codes.
struct Scan<'a> {
    components: Vec<Part<'a>>,
    /// The first and the last coefficient, in zigzag order.
    first: usize,
    last: usize,
    /// Successive approximation: how many low bits of a coefficient the earlier scans left to later ones (0 in a first
    /// scan), and how many this scan leaves.
    before: u32,
    after: u32,
    restart: usize,
    data: &'a [u8],
}

/// A component of a scan, and the tables of its Huffman codes.
struct Part<'a> {
    component: usize,
    first: Option<&'a Huffman>,
    others: Option<&'a Huffman>,
}

/// The leading coefficients that libjpeg interpolates from neighbouring blocks if the scans of a progressive image
/// leave them incomplete.
const SMOOTHED: usize = 10;

/// Decodes all scans of an image into the planes of its components.
///
/// # Errors
/// A description of what is wrong with the file.
///
/// # Source
/// ITU-T T.81, annexes F and G. Incomplete scans are handled as in libjpeg-turbo: a sequential image ends with the
/// first scan that has all components, and coefficients that no scan codes are 0. Deviation: a progressive image
/// without some of its first coefficients is refused; libjpeg smooths its blocks.
pub(crate) fn decode(file: &[u8], frame: &Frame) -> Result<Vec<Plane>, &'static str> {
    let mut all: Vec<Blocks> =
        frame.components.iter().map(|component| Blocks::new(frame, component)).collect();
    let mut tables = Tables::default();
    let mut open = vec![[true; 64]; all.len()];
    for segment in &frame.segments {
        let data = file.get(segment.data.clone()).ok_or("a segment ends beyond the file")?;
        if segment.marker != marker::SCAN {
            tables.read(segment.marker, data).ok_or("a table is damaged")?;
            continue;
        }
        let rest = file.get(segment.data.end..).unwrap_or_default();
        let scan = Scan::read(frame, &tables, data, rest).ok_or("a scan's header is damaged")?;
        for part in &scan.components {
            let quantisation = tables.quantisations[frame.components[part.component].quantisation];
            let blocks = &mut all[part.component];
            if blocks.quantisation.is_some() && !frame.progressive {
                return Err("a component is in two scans");
            }
            if blocks.quantisation.is_none() {
                blocks.quantisation = Some(quantisation.ok_or("a quantisation table is missing")?);
            }
            if frame.progressive {
                open[part.component][scan.first..=scan.last].fill(scan.after > 0);
            }
        }
        scan.decode(frame, &mut all).ok_or("the data of a scan is damaged")?;
        if !frame.progressive && scan.components.len() == all.len() {
            break;
        }
    }
    if frame.progressive && open.iter().any(|open| open[..SMOOTHED].contains(&true)) {
        return Err("its scans end before the image is complete");
    }
    Ok(frame.components.iter().zip(all).map(|(component, blocks)| blocks.samples(frame, component)).collect())
}

impl Blocks {
    fn new(frame: &Frame, component: &Component) -> Self {
        let (rows, columns) = frame.blocks(component);
        Self { rows, columns, coefficients: vec![0; 64 * rows * columns], quantisation: None }
    }

    fn at(&mut self, row: usize, column: usize) -> Option<&mut [i16; 64]> {
        let begin = 64 * (row * self.columns + column);
        self.coefficients.get_mut(begin..)?.first_chunk_mut()
    }

    fn samples(self, frame: &Frame, component: &Component) -> Plane {
        let stride = 8 * self.columns;
        let mut plane = frame.plane(component, vec![0; stride * 8 * self.rows], stride);
        let quantisation = self.quantisation.unwrap_or([0; 128]);
        let mut scaled: Coefficients = [0; 128];
        for (block, from) in self.coefficients.as_chunks::<64>().0.iter().enumerate() {
            let mut end = 1;
            for (at, factor) in quantisation[..64].iter().enumerate() {
                let place = usize::from(PLACES[at]);
                scaled[place] = from[place].wrapping_mul(*factor as i16);
                if from[place] != 0 {
                    end = at + 1;
                }
            }
            let (row, column) = (block / self.columns, block % self.columns);
            transform(&scaled, end, &mut plane.data[8 * (row * stride + column)..], stride);
        }
        plane
    }
}

impl<'a> Scan<'a> {
    /// Reads a scan's header.
    fn read(frame: &Frame, tables: &'a Tables, header: &[u8], data: &'a [u8]) -> Option<Self> {
        let count = usize::from(*header.first()?);
        let mut components: Vec<Part<'a>> = Vec::with_capacity(count);
        for named in header.get(1..1 + 2 * count)?.as_chunks::<2>().0 {
            let new = |i: &usize| components.iter().all(|part| part.component != *i);
            let component =
                (0..frame.components.len()).filter(new).find(|i| frame.components[*i].id == named[0])?;
            let table = |kind: usize, at: u8| tables.huffman[kind].get(usize::from(at))?.as_ref();
            components.push(Part {
                component,
                first: table(0, named[1] >> 4),
                others: table(1, named[1] & 15),
            });
        }
        let &[first, last, bits] = header.get(1 + 2 * count..)?.first_chunk()?;
        let scan = Self {
            components,
            first: usize::from(first),
            last: usize::from(last),
            before: u32::from(bits >> 4),
            after: u32::from(bits & 15),
            restart: tables.restart,
            data,
        };
        let parts = scan.components.iter().map(|part| &frame.components[part.component]);
        let blocks: usize = parts.map(|component| component.rows * component.columns).sum();
        // libjpeg's limits.
        let fits = count == 1 || (2..=4).contains(&count) && blocks <= 10;
        (fits && (!frame.progressive || scan.is_progressive())).then_some(scan)
    }

    fn is_progressive(&self) -> bool {
        let spectrum = match self.first {
            0 => self.last == 0,
            first => first <= self.last && self.last < 64 && self.components.len() == 1,
        };
        spectrum && self.after <= 13 && (self.before == 0 || self.before == self.after + 1)
    }

    fn decode(&self, frame: &Frame, all: &mut [Blocks]) -> Option<()> {
        let alone = self.components.len() == 1;
        let (down, across) = match &self.components[..] {
            [part] => {
                let component = &frame.components[part.component];
                let (height, width) = frame.samples(component);
                (height.div_ceil(8), width.div_ceil(8))
            }
            _ => frame.mcus(),
        };
        let mut bits = Bits::new(self.data);
        // The DC coefficient of each component's last block, and the number of blocks to come without a code
        // (end-of-band run).
        let (mut before, mut empty) = ([0_i32; 4], 0_u32);
        for mcu in 0..down * across {
            if self.restart > 0 && mcu > 0 && mcu % self.restart == 0 {
                bits.restart()?;
                (before, empty) = ([0; 4], 0);
            }
            let (row, column) = (mcu / across, mcu % across);
            for part in &self.components {
                let component = &frame.components[part.component];
                let (rows, columns) = if alone { (1, 1) } else { (component.rows, component.columns) };
                for block in 0..rows * columns {
                    let (row, column) = (row * rows + block / columns, column * columns + block % columns);
                    let block = all[part.component].at(row, column)?;
                    let before = &mut before[part.component];
                    match (frame.progressive, self.first, self.before) {
                        (false, ..) => sequential(&mut bits, part, before, block)?,
                        (true, 0, 0) => {
                            *before = before.wrapping_add(difference(&mut bits, part.first?)?);
                            block[0] = (*before << self.after) as i16;
                        }
                        (true, 0, _) => block[0] |= (bits.number(1) << self.after) as i16,
                        (true, _, 0) => self.begin(&mut bits, part.others?, &mut empty, block)?,
                        (true, ..) => self.refine(&mut bits, part.others?, &mut empty, block)?,
                    }
                }
            }
            if (column + 1 == across || mcu % 1024 == 0) && bits.is_beyond_end() {
                return None;
            }
        }
        Some(())
    }

    /// Decodes the first bits of a block's AC coefficients.
    ///
    /// # Source
    /// ITU-T T.81, G.1.2.2.
    fn begin(&self, bits: &mut Bits, table: &Huffman, empty: &mut u32, block: &mut [i16; 64]) -> Option<()> {
        if *empty > 0 {
            *empty -= 1;
            return Some(());
        }
        let mut at = self.first;
        while at <= self.last {
            let symbol = bits.next_symbol(table)?;
            let (zeros, size) = (symbol >> 4, symbol & 15);
            if size == 0 && zeros < 15 {
                *empty = (1 << zeros) - 1 + bits.number(zeros);
                break;
            }
            at += zeros as usize;
            if size > 0 {
                *block.get_mut(usize::from(PLACES[at & 127]))? = (bits.next_value(size) << self.after) as i16;
            }
            at += 1;
        }
        Some(())
    }

    /// Decodes one more bit of a block's AC coefficients.
    ///
    /// # Source
    /// ITU-T T.81, G.1.2.3.
    fn refine(&self, bits: &mut Bits, table: &Huffman, empty: &mut u32, block: &mut [i16; 64]) -> Option<()> {
        let bit = 1_i16 << self.after;
        let mut at = self.first;
        // Refines nonzero coefficients. Stops after the scan's last coefficient, or at a zero once `zeros` zeros were
        // passed.
        let pass = |bits: &mut Bits, block: &mut [i16; 64], at: &mut usize, mut zeros: u32| {
            while *at <= self.last {
                let value = &mut block[usize::from(PLACES[*at])];
                if *value == 0 {
                    if zeros == 0 {
                        break;
                    }
                    zeros -= 1;
                } else if bits.number(1) == 1 && *value & bit == 0 {
                    *value = value.wrapping_add(if *value >= 0 { bit } else { -bit });
                }
                *at += 1;
            }
        };
        if *empty == 0 {
            while at <= self.last {
                let symbol = bits.next_symbol(table)?;
                let (zeros, size) = (symbol >> 4, symbol & 15);
                if size == 0 && zeros < 15 {
                    *empty = (1 << zeros) + bits.number(zeros);
                    break;
                }
                let value = match size {
                    0 => 0,
                    _ if bits.number(1) == 1 => bit,
                    _ => -bit,
                };
                pass(bits, block, &mut at, zeros);
                if value != 0 {
                    *block.get_mut(usize::from(PLACES[at & 127]))? = value;
                }
                at += 1;
            }
        }
        if *empty > 0 {
            pass(bits, block, &mut at, u32::MAX);
            *empty -= 1;
        }
        Some(())
    }
}

/// Reads the difference of a block's DC coefficient from that of the block before.
fn difference(bits: &mut Bits, table: &Huffman) -> Option<i32> {
    let size = bits.next_symbol(table)?;
    (size <= 15).then(|| bits.next_value(size))
}

/// Decodes a whole block of a sequential image.
fn sequential(bits: &mut Bits, part: &Part, before: &mut i32, block: &mut [i16; 64]) -> Option<()> {
    /// Leaves coefficients as they are: they are dequantised after the last scan.
    const ONES: Quantisation = [1; 128];
    let mut coefficients: Coefficients = [0; 128];
    let (difference, _) = bits.block((part.first?, part.others?), &ONES, &mut coefficients)?;
    *before = before.wrapping_add(difference);
    coefficients[0] = *before as i16;
    block.copy_from_slice(&coefficients[..64]);
    Some(())
}
