//! Reads single pages of a column of images.

use std::fs::File;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use mae_image::ppm::read_at;
use parquet::basic::Encoding;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::{ParquetError, Result as Outcome};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::page_index::offset_index::PageLocation;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

use super::cache::Values;

/// The images of a row group: its column chunk.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) rows: usize,
    column: ColumnChunkMetaData,
    /// The positions of its pages, from the file's offset index or from the page headers.
    pages: OnceLock<Result<Vec<PageAt>, String>>,
}

/// A page of images.
#[derive(Debug)]
pub(super) struct PageAt {
    pub(super) first_row: usize,
    rows: usize,
    offset: u64,
    bytes: usize,
    /// The positions of the images in the page. Known once the page was read, if nothing is compressed.
    spans: OnceLock<Box<[Span]>>,
}

/// The offset of an image in its page, and its length; `None` for a row without an image.
type Span = (u32, Option<u32>);

/// The position of an image.
pub(super) enum At {
    /// The offset and the length of the image in the file.
    Span(u64, usize),
    /// The index of the page, and the row in the page.
    Page(usize, usize),
    Null,
}

impl Chunk {
    /// The images in a column of a row group. `index` is the offset index of the file, if it has one.
    pub(super) fn new(
        column: &ColumnChunkMetaData,
        rows: usize,
        index: Option<&Vec<PageLocation>>,
    ) -> Result<Self, String> {
        let column = column.clone().into_builder().clear_statistics().build().map_err(|e| e.to_string())?;
        let pages = OnceLock::new();
        if let Some(told) = index.and_then(|locations| told(locations, column.byte_range(), rows)) {
            let _ = pages.set(Ok(told));
        }
        Ok(Self { rows, column, pages })
    }

    /// Finds the image in a row.
    pub(super) fn find(&self, file: &Arc<File>, row: usize) -> Result<At, String> {
        let pages = self.pages.get_or_init(|| self.walk(file)).as_ref().map_err(Clone::clone)?;
        let number = pages.partition_point(|page| page.first_row <= row) - 1;
        let page = &pages[number];
        Ok(match page.spans.get().map(|spans| spans[row - page.first_row]) {
            Some((begin, Some(length))) => At::Span(page.offset + u64::from(begin), length as usize),
            Some((_, None)) => At::Null,
            None => At::Page(number, row - page.first_row),
        })
    }

    /// Reads the images of a page.
    pub(super) fn read(&self, file: &Arc<File>, number: usize) -> Result<Values, String> {
        let pages = self.pages.get_or_init(|| self.walk(file)).as_ref().map_err(Clone::clone)?;
        let at = &pages[number];
        let raw = read_bytes(file, at.offset, at.bytes)?;
        let page = self.page(raw.clone())?;
        let dictionary = match page.encoding() {
            Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY => {
                let (begin, _) = self.column.byte_range();
                let length = pages[0].offset.checked_sub(begin).ok_or("it has no dictionary")?;
                Some(self.page(read_bytes(file, begin, length as usize)?)?)
            }
            _ => None,
        };
        let bytes = page.buffer().len() + dictionary.as_ref().map_or(0, |page| page.buffer().len());
        let values = self.values(dictionary.into_iter().chain([page]).collect(), at.rows)?;
        if let Some(spans) = spans(&raw, &values) {
            let _ = at.spans.set(spans);
        }
        Ok(Values { bytes: bytes + values.len() * size_of::<Option<ByteArray>>(), values })
    }

    /// Decompresses the only page in `raw`.
    fn page(&self, raw: Bytes) -> Result<Page, String> {
        let bytes = uncompressed(&raw).unwrap_or_default();
        let all = self.column.uncompressed_size().max(0) as u64;
        if bytes > all {
            return Err(format!("a page has {bytes} bytes, but all pages of the row group have {all}"));
        }
        let read = || -> Outcome<Option<Page>> {
            let column = self.column.clone().into_builder().set_data_page_offset(0);
            let column = column.set_dictionary_page_offset(None).set_total_compressed_size(raw.len() as i64);
            SerializedPageReader::new(Arc::new(raw), &column.build()?, self.rows, None)?.get_next_page()
        };
        read().map_err(|error| error.to_string())?.ok_or_else(|| "a page is missing".into())
    }

    fn values(&self, pages: Vec<Page>, rows: usize) -> Result<Vec<Option<ByteArray>>, String> {
        let column = self.column.column_descr_ptr();
        let max = column.max_def_level();
        let mut reader = ColumnReaderImpl::<ByteArrayType>::new(column, Box::new(Ready(pages.into_iter())));
        let (mut levels, mut values) = (Vec::new(), Vec::new());
        let read = reader.read_records(rows, Some(&mut levels), None, &mut values);
        let (records, ..) = read.map_err(|error| error.to_string())?;
        if records != rows {
            return Err(format!("a page has {records} rows, but must have {rows}"));
        }
        if max == 0 {
            return Ok(values.into_iter().map(Some).collect());
        }
        let mut values = values.into_iter();
        Ok(levels.into_iter().map(|level| if level == max { values.next() } else { None }).collect())
    }

    /// Finds the pages by their headers.
    fn walk(&self, file: &Arc<File>) -> Result<Vec<PageAt>, String> {
        let refuse = |error: ParquetError| error.to_string();
        let starts = Arc::new(Starts { file: file.clone(), last: Mutex::new(0) });
        let mut reader =
            SerializedPageReader::new(starts.clone(), &self.column, self.rows, None).map_err(refuse)?;
        let mut pages: Vec<PageAt> = Vec::new();
        let (begin, length) = self.column.byte_range();
        let mut first_row = 0;
        while let Some(PageMetadata { num_levels, is_dict, .. }) = reader.peek_next_page().map_err(refuse)? {
            let offset = starts.last();
            if let Some(before) = pages.last_mut() {
                before.bytes = (offset - before.offset) as usize;
            }
            if !is_dict {
                // Without lists, each row has one level.
                let rows = num_levels.unwrap_or_default();
                let bytes =
                    (begin + length).checked_sub(offset).ok_or("a page lies outside of its row group")?;
                let spans = OnceLock::new();
                pages.push(PageAt { first_row, rows, offset, bytes: bytes as usize, spans });
                first_row += rows;
            }
            reader.skip_next_page().map_err(refuse)?;
        }
        pages.retain(|page| page.rows > 0);
        match first_row == self.rows && !pages.is_empty() {
            true => Ok(pages),
            false => {
                Err(format!("a row group has {first_row} rows in its pages, but must have {}", self.rows))
            }
        }
    }
}

/// The page positions according to the file's offset index; `None` if they are impossible.
fn told(locations: &[PageLocation], (begin, length): (u64, u64), rows: usize) -> Option<Vec<PageAt>> {
    let (mut pages, mut end) = (Vec::with_capacity(locations.len()), begin);
    for (number, location) in locations.iter().enumerate() {
        let (offset, bytes) =
            (u64::try_from(location.offset).ok()?, u64::try_from(location.compressed_page_size).ok()?);
        let first_row = usize::try_from(location.first_row_index).ok()?;
        let next = locations
            .get(number + 1)
            .map_or(Some(rows), |next| usize::try_from(next.first_row_index).ok())?;
        let rows = next.checked_sub(first_row)?;
        if offset < end || offset.checked_add(bytes)? > begin.checked_add(length)? {
            return None;
        }
        end = offset + bytes;
        if rows > 0 {
            pages.push(PageAt { first_row, rows, offset, bytes: bytes as usize, spans: OnceLock::new() });
        }
    }
    (pages.first()?.first_row == 0).then_some(pages)
}

/// The positions of the values in the bytes of their page; `None` if they are not slices of it.
fn spans(raw: &Bytes, values: &[Option<ByteArray>]) -> Option<Box<[Span]>> {
    let all = raw.as_ptr().addr()..=raw.as_ptr().addr() + raw.len();
    let span = |value: &Option<ByteArray>| {
        let Some(value) = value else { return Some((0, None)) };
        let (begin, length) = (value.data().as_ptr().addr(), value.data().len());
        // An empty value may point anywhere.
        if length == 0 {
            return Some((0, Some(0)));
        }
        (all.contains(&begin) && all.contains(&(begin + length))).then_some(())?;
        Some((u32::try_from(begin - all.start()).ok()?, Some(u32::try_from(length).ok()?)))
    };
    values.iter().map(span).collect()
}

/// Reads bytes of a file; an error if the file is too short.
pub(super) fn read_bytes(file: &File, offset: u64, length: usize) -> Result<Bytes, String> {
    let has = file.metadata().map_err(|error| error.to_string())?.len();
    if offset.checked_add(length as u64).is_none_or(|end| end > has) {
        return Err(format!("it has {has} bytes, but {length} at byte {offset} are needed"));
    }
    let mut bytes = vec![0; length];
    read_at(file, &mut bytes, offset).map_err(|error| error.to_string())?;
    Ok(bytes.into())
}

/// The uncompressed length of a page according to its header, a Thrift struct whose second field it is.
fn uncompressed(raw: &[u8]) -> Option<u64> {
    /// The Thrift header of a field that follows the previous one and is a 32-bit integer.
    const NEXT: u8 = 0x15;
    let mut bytes = raw.iter().copied();
    let mut number = || {
        let mut number = 0_u64;
        for shift in (0..35).step_by(7) {
            let byte = bytes.next()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    };
    let heads = [number()?, number()?, number()?, number()?];
    (heads[0] == u64::from(NEXT) && heads[2] == u64::from(NEXT)).then_some(heads[3] >> 1)
}

/// Pages that have already been read.
struct Ready(std::vec::IntoIter<Page>);

impl Iterator for Ready {
    type Item = Outcome<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(Ok)
    }
}

impl PageReader for Ready {
    fn get_next_page(&mut self) -> Outcome<Option<Page>> {
        Ok(self.0.next())
    }

    fn peek_next_page(&mut self) -> Outcome<Option<PageMetadata>> {
        Ok(self.0.as_slice().first().map(|page| PageMetadata {
            num_rows: None,
            num_levels: Some(page.num_values() as usize),
            is_dict: page.is_dictionary_page(),
        }))
    }

    fn skip_next_page(&mut self) -> Outcome<()> {
        self.0.next();
        Ok(())
    }
}

/// A file that records the offset of the last read, where a page begins.
struct Starts {
    file: Arc<File>,
    last: Mutex<u64>,
}

impl Starts {
    fn last(&self) -> u64 {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Length for Starts {
    fn len(&self) -> u64 {
        Length::len(&*self.file)
    }
}

impl ChunkReader for Starts {
    type T = From;

    fn get_read(&self, start: u64) -> Outcome<From> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = start;
        Ok(From { file: self.file.clone(), buffer: Vec::new(), used: 0, offset: start })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Outcome<Bytes> {
        read_bytes(&self.file, start, length).map_err(ParquetError::General)
    }
}

/// Reads a file from an offset on, one page header at a time.
struct From {
    file: Arc<File>,
    buffer: Vec<u8>,
    used: usize,
    offset: u64,
}

/// A length in bytes that is enough for most page headers.
const HEADER: u64 = 256;

impl Read for From {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.used == self.buffer.len() {
            let left = self.file.metadata()?.len().saturating_sub(self.offset);
            self.buffer = vec![0; left.min(HEADER) as usize];
            read_at(&self.file, &mut self.buffer, self.offset)?;
            (self.used, self.offset) = (0, self.offset + self.buffer.len() as u64);
        }
        let bytes = out.len().min(self.buffer.len() - self.used);
        out[..bytes].copy_from_slice(&self.buffer[self.used..][..bytes]);
        self.used += bytes;
        Ok(bytes)
    }
}
