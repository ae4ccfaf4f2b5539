//! Unpacks the strips and tiles of a page and puts their numbers into an image.
//!
//! The `tiff` crate unpacks one chunk at a time, from a small file that we make for it: an image of one strip,
//! grey or of many bands. So the crate drops no band and changes no colour, and it never sees the sizes of a
//! hostile file unchecked.

use std::io::Cursor;

use ::tiff::decoder::{Decoder, Limits};
use ::tiff::{TiffError, TiffUnsupportedError};

use super::page::{JPEG, LZW, NONE, Page};
use crate::stored::canvas::{Canvas, Spot};
use crate::stored::header::Problem;

/// Uncompressed pixels are copied in blocks of so many bytes.
const BLOCK: u64 = 1 << 20;
/// A chunk may always take this many bytes: tiles may be larger than a small image.
const LEAST: u64 = 16 << 20;

impl Page<'_> {
    /// Refuses chunks that unpack to far more than the image may take.
    pub(super) fn check_chunks(&self, max_bytes: u64) -> Result<(), Problem> {
        let bytes = u128::from(self.row_bytes()) * u128::from(self.chunk_height);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        // Rows without compression are unpacked one by one.
        let held = if self.compression == NONE { self.row_bytes() } else { bytes };
        if bytes > isize::MAX as u64 || held > max_bytes.saturating_mul(2).saturating_add(LEAST) {
            return Err(Problem::TooLarge { height: self.height, width: self.width, bytes });
        }
        Ok(())
    }

    /// The bytes of one row of a chunk: below 2^32 pixels of 2^16 samples of 8 bytes.
    fn row_bytes(&self) -> u64 {
        self.chunk_width * self.chunk_samples() * self.stored.size() as u64
    }

    /// Refuses a file that ends before its chunks do; pixels are not unpacked for it.
    pub(super) fn check_places(&self) -> Result<(), Problem> {
        self.each_chunk(|place| self.chunk(place.chunk, place.rows * self.row_bytes()).map(|_| ()))
    }

    /// Puts all samples into the channels of `canvas` from `first` on.
    pub(super) fn read(&self, canvas: &mut Canvas, first: usize) -> Result<(), Problem> {
        let mut unpacked = Vec::new();
        let row_bytes = self.row_bytes();
        let samples = self.chunk_samples() as usize;
        self.each_chunk(|place| {
            let channel = first + place.plane;
            let Some(chunk) = self.chunk(place.chunk, place.rows * row_bytes)? else {
                for row in 0..place.rows as usize {
                    let spot = Spot { row: place.row + row, column: place.column, channel };
                    canvas.leave_out(spot, samples, place.columns);
                }
                return Ok(());
            };
            // Rows without compression stand alone.
            let block = if self.compression == NONE { (BLOCK / row_bytes).max(1) } else { place.rows };
            for top in (0..place.rows).step_by(block as usize) {
                let rows = block.min(place.rows - top);
                let packed = match self.compression {
                    // The chunk is at least as long: `Page::chunk` sees to it.
                    NONE => &chunk[(top * row_bytes) as usize..][..(rows * row_bytes) as usize],
                    _ => chunk,
                };
                unpacked.resize((rows * row_bytes) as usize, 0);
                self.unpack(packed, rows, &mut unpacked)
                    .map_err(|problem| self.in_chunk(place.chunk, problem))?;
                for (row, bytes) in unpacked.chunks_exact(row_bytes as usize).enumerate() {
                    let spot = Spot { row: place.row + top as usize + row, column: place.column, channel };
                    canvas.put(spot, samples, &bytes[..place.columns * samples * self.stored.size()])?;
                }
            }
            Ok(())
        })
    }

    fn in_chunk(&self, i: u64, problem: Problem) -> Problem {
        match problem {
            Problem::Damaged(message) => Problem::Damaged(format!("{} {i}: {message}", self.part())),
            other => other,
        }
    }

    /// Visits all chunks.
    fn each_chunk(&self, mut visit: impl FnMut(Place) -> Result<(), Problem>) -> Result<(), Problem> {
        let (down, across) = self.grid();
        let planes = self.samples / self.chunk_samples();
        for plane in 0..planes {
            for y in 0..down {
                for x in 0..across {
                    let (row, column) = (y * self.chunk_height, x * self.chunk_width);
                    visit(Place {
                        chunk: (plane * down + y) * across + x,
                        plane: plane as usize,
                        row: row as usize,
                        column: column as usize,
                        rows: self.chunk_height.min(self.height - row),
                        columns: self.chunk_width.min(self.width - column) as usize,
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Unpacks the first `rows` rows of a chunk, as numbers in the machine's byte order.
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

    /// A BigTIFF file of one strip, in the byte order of the whole file.
    fn small_file(&self, packed: &[u8], rows: u64) -> Vec<u8> {
        let entries = [
            (256, self.chunk_width),
            (257, rows),
            (258, 8 * self.stored.size() as u64),
            (259, self.compression),
            // Black is zero: other kinds make the crate change numbers or drop bands.
            (262, 1),
            (273, HEAD),
            (277, self.chunk_samples()),
            (278, rows),
            (279, packed.len() as u64),
            (317, self.predictor),
            (339, self.format),
        ];
        const HEAD: u64 = 16 + 8 + 11 * 20 + 8;
        let little = self.file.little;
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
        match self.tables {
            Some(tables) if start(tables) && tables.len() >= 4 => {
                Ok([&tables[..tables.len() - 2], &chunk[2..]].concat())
            }
            Some(_) => Err(Problem::Damaged("its JPEG tables have no start marker".into())),
            None => Ok(chunk.to_vec()),
        }
    }

    /// Refuses a JPEG file of another size than the chunk, before it is decoded.
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
                // Tables and restart intervals are no frame.
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

/// One chunk: where its part of the image lies.
struct Place {
    chunk: u64,
    plane: usize,
    row: usize,
    column: usize,
    rows: u64,
    columns: usize,
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
