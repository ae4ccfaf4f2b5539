//! Unpacks the strips and tiles of a page and writes their values into an image.
//!
//! The `tiff` crate unpacks one chunk at a time, from a small file that we make for it: an image of one strip, grey or
//! of many bands. This way, the crate drops no band and changes no colour, and it never sees unchecked sizes from a
//! hostile file.

use std::io::Cursor;

use ::tiff::decoder::{Decoder, Limits};
use ::tiff::{TiffError, TiffUnsupportedError};

use super::directory::cut;
use super::page::{JPEG, LZW, NONE, Page};
use crate::Crop;
use crate::source::Source;
use crate::stored::canvas::{Canvas, Spot};
use crate::stored::header::Problem;

/// Uncompressed pixels are read in blocks of this many bytes.
const BLOCK: usize = 1 << 20;
/// Unneeded pixels between two needed ranges are read as well if they take at most this many bytes: that costs less
/// than another call.
const GAP: usize = 16 << 10;
/// A chunk may always take this many bytes: tiles may be larger than a small image.
const LEAST: u64 = 16 << 20;

impl Page {
    /// Refuses chunks that unpack to far more than the image may take.
    pub(super) fn check_chunks(&self, max_bytes: u64) -> Result<(), Problem> {
        let bytes = u128::from(self.row_bytes()) * u128::from(self.chunk_height);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        // Uncompressed chunks are read by rows, not as a whole.
        let held = if self.compression == NONE { self.row_bytes() } else { bytes };
        if bytes > isize::MAX as u64 || held > most_held(max_bytes) {
            return Err(Problem::TooLarge { height: self.height, width: self.width, bytes });
        }
        Ok(())
    }

    /// The bytes of one row of a chunk. No overflow: at most 2^32 pixels of 2^16 samples of 8 bytes.
    fn row_bytes(&self) -> u64 {
        self.chunk_width * self.pixel_bytes() as u64
    }

    /// The bytes of one pixel of a chunk.
    fn pixel_bytes(&self) -> usize {
        self.chunk_samples() as usize * self.stored.size()
    }

    /// Refuses a file that ends before the chunks that touch `window` do, and packed chunks that take far more than the
    /// image may. No chunk is read for this.
    pub(super) fn check_places(&self, source: &Source, window: Crop, max_bytes: u64) -> Result<(), Problem> {
        self.each_chunk(window, |place| match self.chunk(source, place.chunk, place.bytes)? {
            Some((_, length)) if self.compression != NONE && length > most_held(max_bytes) => {
                Err(Problem::Unsupported(format!("a {} of {length} packed bytes", self.part())))
            }
            _ => Ok(()),
        })
    }

    /// Writes all samples of `window` into the channels of `canvas` from `first` on.
    pub(super) fn read(
        &self,
        source: &Source,
        window: Crop,
        canvas: &mut Canvas,
        first: usize,
    ) -> Result<(), Problem> {
        let (mut packed, mut unpacked) = (Vec::new(), Vec::new());
        let (row_bytes, samples) = (self.row_bytes() as usize, self.chunk_samples() as usize);
        self.each_chunk(window, |place| {
            let spot =
                |row| Spot { row: place.row + row, column: place.column, channel: first + place.plane };
            let Some((at, length)) = self.chunk(source, place.chunk, place.bytes)? else {
                (0..place.rows).for_each(|row| canvas.leave_out(spot(row), samples, place.columns));
                return Ok(());
            };
            let (start, span) = (place.left * self.pixel_bytes(), place.columns * self.pixel_bytes());
            if self.compression == NONE {
                let block = if row_bytes - span > GAP { 1 } else { (BLOCK / row_bytes).max(1) };
                for top in (0..place.rows).step_by(block) {
                    let rows = block.min(place.rows - top);
                    // The chunk is at least this long, as `Page::chunk` checked.
                    let from = at + (place.top + top) as u64 * row_bytes as u64 + start as u64;
                    let bytes = ((rows - 1) * row_bytes + span) as u64;
                    let bytes = source.part_in(from, bytes, &mut packed)?;
                    let bytes = bytes.ok_or_else(|| cut(source.length()))?;
                    for row in 0..rows {
                        let bytes = self.ordered(&bytes[row * row_bytes..][..span], &mut unpacked);
                        canvas.put(spot(top + row), samples, bytes)?;
                    }
                }
                return Ok(());
            }
            let packed = source.part_in(at, length, &mut packed)?.ok_or_else(|| cut(source.length()))?;
            let rows = place.top + place.rows;
            unpacked.resize(rows * row_bytes, 0);
            self.unpack(packed, rows as u64, &mut unpacked)
                .map_err(|problem| self.in_chunk(place.chunk, problem))?;
            for (row, bytes) in unpacked.chunks_exact(row_bytes).skip(place.top).enumerate() {
                canvas.put(spot(row), samples, &bytes[start..][..span])?;
            }
            Ok(())
        })
    }

    /// Returns values in native byte order, in `memory` if their bytes must be swapped.
    fn ordered<'b>(&self, bytes: &'b [u8], memory: &'b mut Vec<u8>) -> &'b [u8] {
        fn turn<const N: usize>(bytes: &mut [u8]) {
            bytes.as_chunks_mut::<N>().0.iter_mut().for_each(|number| number.reverse());
        }
        let size = self.stored.size();
        if size == 1 || self.little == cfg!(target_endian = "little") {
            return bytes;
        }
        memory.clear();
        memory.extend_from_slice(bytes);
        match size {
            2 => turn::<2>(memory),
            4 => turn::<4>(memory),
            _ => turn::<8>(memory),
        }
        memory
    }

    fn in_chunk(&self, i: u64, problem: Problem) -> Problem {
        match problem {
            Problem::Damaged(message) => Problem::Damaged(format!("{} {i}: {message}", self.part())),
            other => other,
        }
    }

    /// Visits the chunks that touch `window`.
    fn each_chunk(
        &self,
        window: Crop,
        mut visit: impl FnMut(Place) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let (down, across) = self.grid();
        let planes = self.samples / self.chunk_samples();
        let ys = overlaps(window.top, window.height, self.chunk_height as usize);
        let xs = overlaps(window.left, window.width, self.chunk_width as usize);
        for plane in 0..planes {
            for y in ys.clone() {
                for x in xs.clone() {
                    // Rows of the chunk that lie in the image.
                    let held = self.chunk_height.min(self.height - y.chunk * self.chunk_height);
                    visit(Place {
                        chunk: (plane * down + y.chunk) * across + x.chunk,
                        plane: plane as usize,
                        bytes: held * self.row_bytes(),
                        top: y.skipped,
                        left: x.skipped,
                        rows: y.length,
                        columns: x.length,
                        row: y.start,
                        column: x.start,
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Unpacks the first `rows` rows of a chunk, as values in native byte order.
    fn unpack(&self, packed: &[u8], rows: u64, unpacked: &mut [u8]) -> Result<(), Problem> {
        let mut packed = packed;
        let joined;
        if self.compression == JPEG {
            joined = self.whole_jpeg(packed)?;
            self.check_jpeg(&joined, rows)?;
            packed = &joined;
        }
        if self.compression == LZW && matches!(packed, [0, second, ..] if second & 1 == 1) {
            return Err(Problem::Unsupported("old-style LZW compression".into()));
        }
        let mut limits = Limits::default();
        limits.decoding_buffer_size = unpacked.len();
        limits.intermediate_buffer_size = packed.len();
        let decoder = Decoder::new(Cursor::new(self.small_file(packed, rows))).map(|d| d.with_limits(limits));
        decoder.and_then(|mut decoder| decoder.read_chunk_bytes(0, unpacked)).map_err(problem)
    }

    /// Builds a BigTIFF file of one strip, in the byte order of the whole file.
    fn small_file(&self, packed: &[u8], rows: u64) -> Vec<u8> {
        let entries = [
            (256, self.chunk_width),
            (257, rows),
            (258, 8 * self.stored.size() as u64),
            (259, self.compression),
            // `BlackIsZero`: other kinds make the crate change values or drop bands.
            (262, 1),
            (273, HEAD),
            (277, self.chunk_samples()),
            (278, rows),
            (279, packed.len() as u64),
            (317, self.predictor),
            (339, self.format),
        ];
        const HEAD: u64 = 16 + 8 + 11 * 20 + 8;
        let little = self.little;
        let short = |number: u16| if little { number.to_le_bytes() } else { number.to_be_bytes() };
        let long = |number: u64| if little { number.to_le_bytes() } else { number.to_be_bytes() };
        let mut file = Vec::with_capacity(HEAD as usize + packed.len());
        file.extend_from_slice(if little { b"II" } else { b"MM" });
        file.extend([short(43), short(8), short(0)].as_flattened());
        file.extend([long(16), long(entries.len() as u64)].as_flattened());
        for (tag, value) in entries {
            // One value of 8 bytes.
            file.extend([short(tag), short(16)].as_flattened());
            file.extend([long(1), long(value)].as_flattened());
        }
        file.extend(long(0));
        file.extend_from_slice(packed);
        file
    }

    /// A chunk as a JPEG file, with the tables that all chunks share.
    fn whole_jpeg(&self, chunk: &[u8]) -> Result<Vec<u8>, Problem> {
        let start = |bytes: &[u8]| bytes.starts_with(&[0xff, 0xd8]);
        if !start(chunk) {
            return Err(Problem::Damaged("its JPEG data has no start marker".into()));
        }
        match &self.tables {
            Some(tables) if start(tables) && tables.len() >= 4 => {
                Ok([&tables[..tables.len() - 2], &chunk[2..]].concat())
            }
            Some(_) => Err(Problem::Damaged("its JPEG tables have no start marker".into())),
            None => Ok(chunk.to_vec()),
        }
    }

    /// Refuses a JPEG file whose size differs from the chunk's, before it is decoded.
    fn check_jpeg(&self, jpeg: &[u8], rows: u64) -> Result<(), Problem> {
        let mut rest = jpeg.get(2..).unwrap_or_default();
        while let [0xff, kind, high, low, body @ ..] = rest {
            match (kind, body) {
                (0xff, _) => {
                    rest = &rest[1..];
                    continue;
                }
                (0xc0..=0xc2, [depth, body @ ..]) => {
                    let [h, height, w, width, samples, ..] = body else { break };
                    let height = u64::from(u16::from_be_bytes([*h, *height]));
                    let width = u64::from(u16::from_be_bytes([*w, *width]));
                    if *depth != 8 {
                        return Err(Problem::Unsupported(format!("JPEG of {depth} bits")));
                    }
                    let fits = width == self.chunk_width && (rows..=self.chunk_height).contains(&height);
                    if fits && u64::from(*samples) == self.chunk_samples() {
                        return Ok(());
                    }
                    let (wide, many) = (self.chunk_width, self.chunk_samples());
                    return Err(Problem::Damaged(format!(
                        "its JPEG data is {height} x {width} x {samples}, but must be {rows} x {wide} x {many}"
                    )));
                }
                // Tables and restart intervals are not frames.
                (0xc4 | 0xc8 | 0xcc, _) | (0xd0.., _) => {}
                (0xc3..=0xcf, _) => return Err(Problem::Unsupported("lossless or arithmetic JPEG".into())),
                _ => {}
            }
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            rest = rest.get(2 + length..).unwrap_or_default();
        }
        Err(Problem::Damaged("its JPEG data has no frame".into()))
    }
}

/// The most bytes that one chunk may take.
fn most_held(max_bytes: u64) -> u64 {
    max_bytes.saturating_mul(2).saturating_add(LEAST)
}

/// The part of a chunk that lies in a window.
struct Place {
    chunk: u64,
    plane: usize,
    /// The unpacked bytes of all rows of the chunk that lie in the image.
    bytes: u64,
    /// Rows and columns of the chunk before the part.
    top: usize,
    left: usize,
    rows: usize,
    columns: usize,
    /// Rows and columns of the window before the part.
    row: usize,
    column: usize,
}

/// The part of a row or column of chunks that lies in a window.
#[derive(Clone, Copy)]
struct Overlap {
    chunk: u64,
    /// Pixels of the chunk before the part.
    skipped: usize,
    length: usize,
    /// Pixels of the window before the part.
    start: usize,
}

/// The chunks of `size` pixels that a window touches, along one side.
fn overlaps(first: usize, length: usize, size: usize) -> impl Iterator<Item = Overlap> + Clone {
    let end = first + length;
    (first / size..end.div_ceil(size)).map(move |chunk| {
        let (from, to) = ((chunk * size).max(first), (chunk + 1).saturating_mul(size).min(end));
        let skipped = from - chunk * size;
        Overlap { chunk: chunk as u64, skipped, length: to - from, start: from - first }
    })
}

fn problem(error: TiffError) -> Problem {
    match error {
        TiffError::UnsupportedError(TiffUnsupportedError::UnsupportedCompressionMethod(method)) => {
            Problem::Unsupported(format!("{method:?} compression"))
        }
        TiffError::UnsupportedError(other) => Problem::Unsupported(other.to_string()),
        other => Problem::Damaged(other.to_string()),
    }
}
