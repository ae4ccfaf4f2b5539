//! Writes Parquet files for tests, column by column.

use std::fs::File;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

/// The schema of the column that `datasets.Image()` writes.
pub const STRUCT: &str = "optional group image { optional binary bytes; optional binary path (STRING); }";

/// The values of a column, and the levels that mark nulls and the starts of lists.
pub struct Column {
    values: Values,
    definitions: Vec<i16>,
    repetitions: Option<Vec<i16>>,
}

enum Values {
    Bytes(Vec<ByteArray>),
    Integers(Vec<i64>),
    Doubles(Vec<f64>),
}

impl Column {
    /// Bytes at a `depth` of optional fields.
    pub fn bytes(rows: impl IntoIterator<Item = Option<Vec<u8>>>, depth: i16) -> Self {
        let rows: Vec<_> = rows.into_iter().collect();
        // A null in a struct that is not null itself.
        let definitions = rows.iter().map(|row| if row.is_some() { depth } else { depth - 1 }).collect();
        let values = Values::Bytes(rows.into_iter().flatten().map(ByteArray::from).collect());
        Self { values, definitions, repetitions: None }
    }

    pub fn integers(rows: impl IntoIterator<Item = Option<i64>>) -> Self {
        let rows: Vec<_> = rows.into_iter().collect();
        let definitions = rows.iter().map(|row| i16::from(row.is_some())).collect();
        Self {
            values: Values::Integers(rows.into_iter().flatten().collect()),
            definitions,
            repetitions: None,
        }
    }

    pub fn doubles(rows: impl IntoIterator<Item = Option<f64>>) -> Self {
        let rows: Vec<_> = rows.into_iter().collect();
        let definitions = rows.iter().map(|row| i16::from(row.is_some())).collect();
        Self { values: Values::Doubles(rows.into_iter().flatten().collect()), definitions, repetitions: None }
    }

    /// Optional lists of optional integers.
    pub fn lists(rows: impl IntoIterator<Item = Option<Vec<i64>>>) -> Self {
        let (mut values, mut definitions, mut repetitions) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            let row = match row {
                Some(row) if !row.is_empty() => row,
                row => {
                    definitions.push(i16::from(row.is_some()));
                    repetitions.push(0);
                    continue;
                }
            };
            definitions.extend(row.iter().map(|_| 3));
            repetitions.extend((0..row.len()).map(|place| i16::from(place > 0)));
            values.extend(row);
        }
        Self { values: Values::Integers(values), definitions, repetitions: Some(repetitions) }
    }
}

/// Writes a file of row groups, with the column features that `datasets` stores.
pub fn write(
    path: &Path,
    schema: &str,
    properties: WriterProperties,
    features: Option<&str>,
    groups: &[Vec<Column>],
) {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer =
        SerializedFileWriter::new(File::create(path).unwrap(), schema, Arc::new(properties)).unwrap();
    for columns in groups {
        let mut group = writer.next_row_group().unwrap();
        for Column { values, definitions, repetitions } in columns {
            let (definitions, repetitions) = (Some(&definitions[..]), repetitions.as_deref());
            let mut column = group.next_column().unwrap().unwrap();
            match values {
                Values::Bytes(values) => {
                    column.typed::<ByteArrayType>().write_batch(values, definitions, repetitions).unwrap()
                }
                Values::Integers(values) => {
                    column.typed::<Int64Type>().write_batch(values, definitions, repetitions).unwrap()
                }
                Values::Doubles(values) => {
                    column.typed::<DoubleType>().write_batch(values, definitions, repetitions).unwrap()
                }
            };
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    if let Some(features) = features {
        writer.append_key_value_metadata(KeyValue::new("huggingface".into(), features.to_owned()));
    }
    writer.close().unwrap();
}

/// A PNG file of one colour.
pub fn png(number: u8) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let image = image::RgbImage::from_pixel(3, 2, image::Rgb([number; 3]));
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}
