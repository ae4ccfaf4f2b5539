//! Reads small columns of a Parquet file as a whole.

use std::fs::File;
use std::sync::Arc;

use parquet::column::page::PageReader;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::DataType;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::schema::types::ColumnDescriptor;

/// Number of rows read at a time.
const BLOCK: usize = 1 << 13;

/// The values of each row of a column as text: `None` for a null row, exactly one value if the column has no lists.
pub(super) fn texts(
    file: &Arc<File>,
    group: &RowGroupMetaData,
    leaf: usize,
) -> Result<Vec<Option<Vec<String>>>, String> {
    let (chunk, rows) = (group.column(leaf), group.num_rows() as usize);
    let column = chunk.column_descr();
    let name = column.path().string();
    let pages = SerializedPageReader::new(file.clone(), chunk, rows, None)
        .map_err(|e| format!("column {name}: {e}"))?;
    let pages: Box<dyn PageReader> = Box::new(pages);
    let texts = match get_column_reader(chunk.column_descr_ptr(), pages) {
        ColumnReader::Int32ColumnReader(reader) => cells(reader, column, |value| Some(value.to_string())),
        ColumnReader::Int64ColumnReader(reader) => cells(reader, column, |value| Some(value.to_string())),
        ColumnReader::ByteArrayColumnReader(reader) => {
            cells(reader, column, |value| String::from_utf8(value.data().to_vec()).ok())
        }
        _ => Err(format!("is of {}", chunk.column_type())),
    };
    let texts = texts.map_err(|error| format!("column {name}: {error}"))?;
    match texts.len() == rows {
        true => Ok(texts),
        false => Err(format!("column {name} has {} rows, but must have {rows}", texts.len())),
    }
}

fn cells<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    column: &ColumnDescriptor,
    text: impl Fn(T::T) -> Option<String>,
) -> Result<Vec<Option<Vec<String>>>, String> {
    let (max, list) = (column.max_def_level(), column.max_rep_level() > 0);
    let mut rows: Vec<Option<Vec<String>>> = Vec::new();
    loop {
        let (mut definitions, mut repetitions, mut values) = (Vec::new(), Vec::new(), Vec::new());
        let read = reader.read_records(BLOCK, Some(&mut definitions), Some(&mut repetitions), &mut values);
        let (records, _, levels) = read.map_err(|error| error.to_string())?;
        if records == 0 {
            return Ok(rows);
        }
        let mut values = values.into_iter();
        for level in 0..levels {
            let definition = if max == 0 { 0 } else { definitions[level] };
            if !list || repetitions[level] == 0 {
                // A list is not null from the definition level one below that of its elements on.
                let there = if list { column.repeated_ancestor_def_level() - 1 } else { max };
                rows.push((definition >= there).then(Vec::new));
            }
            let row = rows.len().saturating_sub(1);
            if definition == max {
                let value = values.next().and_then(&text);
                let value = value.ok_or_else(|| format!("row {row} of the row group is not UTF-8 text"))?;
                if let Some(Some(row)) = rows.last_mut() {
                    row.push(value);
                }
            } else if list && definition >= column.repeated_ancestor_def_level() {
                return Err(format!("row {row} of the row group has a null in its list"));
            }
        }
    }
}
