//! Parquet files. A feature file has a column of paths, one of labels and one of lists of values. A prediction file has
//! a column of paths and two columns for each of the most probable classes.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use ::parquet::data_type::{ByteArray, ByteArrayType, FloatType};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use ::parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter, SerializedRowGroupWriter};
use ::parquet::schema::parser::parse_message_type;
use ::parquet::schema::types::ColumnPath;
use anyhow::{Context, Result};
use serde_json::json;

use super::predicted::{Predicted, columns};
use super::rows::{Rows, Table, on};

const FEATURES: &str = "message features {
    required binary path (STRING);
    optional binary label (STRING);
    required group feature (LIST) { repeated group list { required float element; } }
}";

/// Rows per row group of a prediction file.
const GROUP_ROWS: usize = 1 << 16;
/// Bytes of values per row group of a feature file: readers load one row group at a time.
const GROUP_BYTES: usize = 64 << 20;
/// Values passed to the column writer at a time. Their definition and repetition levels take as much memory again.
const BATCH: usize = 1 << 18;

/// Writes the rows in `part`, stored as f32 in their order, to the file `out`.
pub fn write_features(table: &Table<'_>, part: &Path, out: &Path) -> Result<()> {
    write_groups(table, part, out, (GROUP_BYTES / (size_of::<f32>() * table.numbers())).max(1))
}

fn write_groups(table: &Table<'_>, part: &Path, out: &Path, group: usize) -> Result<()> {
    let read = || format!("cannot read {}", part.display());
    let mut rows = BufReader::with_capacity(1 << 20, File::open(part).with_context(read)?);
    let schema = Arc::new(on(out, parse_message_type(FEATURES))?);
    let file = on(out, File::create(out))?;
    let mut writer = on(out, SerializedFileWriter::new(file, schema, Arc::new(properties(table))))?;
    for first in (0..table.source.len()).step_by(group) {
        let range = first..(first + group).min(table.source.len());
        let mut columns = on(out, writer.next_row_group())?;
        let paths: Vec<_> = range.clone().map(|index| Some(table.source.name(index))).collect();
        on(out, write_text(&mut columns, &paths))?;
        let classes = table.source.class_names();
        let label = |index| classes.get(table.source.label(index)? as usize).cloned();
        on(out, write_text(&mut columns, &range.clone().map(label).collect::<Vec<_>>()))?;

        let numbers = table.numbers();
        let mut column = on(out, next_column(&mut columns))?;
        let batch = (BATCH / numbers).max(1);
        for first in range.clone().step_by(batch) {
            let count = batch.min(range.end - first);
            let mut bytes = vec![0; count * numbers * size_of::<f32>()];
            rows.read_exact(&mut bytes).with_context(read)?;
            let values: Vec<f32> = bytes.as_chunks().0.iter().map(|x| f32::from_le_bytes(*x)).collect();
            // No list is null (definition level 1), and each starts at the first value of its row (repetition level 0).
            let there = vec![1; values.len()];
            let goes_on: Vec<i16> = (0..values.len()).map(|i| i16::from(i % numbers > 0)).collect();
            on(out, column.typed::<FloatType>().write_batch(&values, Some(&there), Some(&goes_on)))?;
        }
        on(out, column.close())?;
        on(out, columns.close())?;
    }
    on(out, on(out, writer.into_inner())?.sync_all())
}

/// The column settings and metadata of a feature file.
fn properties(table: &Table<'_>) -> WriterProperties {
    let feature = ColumnPath::new(["feature", "list", "element"].map(str::to_owned).into());
    let pair = |key: &str, value: String| KeyValue::new(key.to_owned(), value);
    builder()
        // Feature values hardly ever repeat, so a dictionary is useless, and nobody queries their minimum and maximum.
        .set_column_dictionary_enabled(feature.clone(), false)
        .set_column_statistics_enabled(feature, EnabledStatistics::None)
        .set_key_value_metadata(Some(vec![
            pair("shape", json!(table.row).to_string()),
            pair("about", table.about.to_string()),
        ]))
        .build()
}

fn builder() -> WriterPropertiesBuilder {
    WriterProperties::builder().set_created_by(concat!("mae ", env!("CARGO_PKG_VERSION")).to_owned())
}

/// Writes the `top_k` most probable classes of each row to the file `out`.
pub fn write_predictions(mut rows: Rows<'_>, classes: &[String], top_k: usize, out: &Path) -> Result<()> {
    let fields: String = columns(top_k)
        .skip(1)
        .map(|column| match column.starts_with("class") {
            true => format!("optional binary {column} (STRING); "),
            false => format!("optional float {column}; "),
        })
        .collect();
    let schema = format!("message predictions {{ required binary path (STRING); {fields} }}");
    let schema = Arc::new(on(out, parse_message_type(&schema))?);
    let file = on(out, File::create(out))?;
    let mut writer = on(out, SerializedFileWriter::new(file, schema, Arc::new(builder().build())))?;
    loop {
        let group: Vec<Predicted> =
            rows.by_ref().take(GROUP_ROWS).map(|row| Ok(row?.predicted(top_k))).collect::<Result<_>>()?;
        if group.is_empty() {
            break;
        }
        let mut columns = on(out, writer.next_row_group())?;
        let paths: Vec<_> = group.iter().map(|row| Some(row.name.clone())).collect();
        on(out, write_text(&mut columns, &paths))?;
        for place in 0..top_k {
            let found: Vec<_> = group.iter().map(|row| row.classes.get(place)).collect();
            let names: Vec<_> = found.iter().map(|found| Some(classes[found.as_ref()?.0].clone())).collect();
            on(out, write_text(&mut columns, &names))?;
            let values: Vec<f32> = found.iter().flatten().map(|(_, probability)| *probability).collect();
            let there: Vec<i16> = found.iter().map(|found| i16::from(found.is_some())).collect();
            let mut column = on(out, next_column(&mut columns))?;
            on(out, column.typed::<FloatType>().write_batch(&values, Some(&there), None))?;
            on(out, column.close())?;
        }
        on(out, columns.close())?;
    }
    on(out, on(out, writer.into_inner())?.sync_all())
}

fn next_column<'a>(
    group: &'a mut SerializedRowGroupWriter<'_, File>,
) -> Result<SerializedColumnWriter<'a>, ParquetError> {
    group.next_column()?.ok_or_else(|| ParquetError::General("there is no such column".into()))
}

/// Writes a column of strings, in which `None` becomes null.
fn write_text(
    group: &mut SerializedRowGroupWriter<'_, File>,
    texts: &[Option<String>],
) -> Result<(), ParquetError> {
    let values: Vec<ByteArray> = texts.iter().flatten().map(|text| text.as_str().into()).collect();
    let there: Vec<i16> = texts.iter().map(|text| i16::from(text.is_some())).collect();
    let mut column = next_column(group)?;
    column.typed::<ByteArrayType>().write_batch(&values, Some(&there), None)?;
    column.close()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use mae_data::{AnyImage, DataError, ImageSource};
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::{Field, RowAccessor};

    use super::*;

    /// Images without pixels: the first has no class.
    struct Names([String; 2]);

    impl ImageSource for Names {
        fn len(&self) -> usize {
            5
        }
        fn load(&self, index: usize) -> Result<AnyImage, DataError> {
            Err(DataError::Index { index, len: 0 })
        }
        fn name(&self, index: usize) -> String {
            format!("photos/ä{index}.png")
        }
        fn label(&self, index: usize) -> Option<u32> {
            (index > 0).then_some(index as u32 % 2)
        }
        fn class_names(&self) -> &[String] {
            &self.0
        }
    }

    #[test]
    fn rows_are_read_back_from_several_groups_with_their_names_and_labels() {
        let folder = tempfile::tempdir().unwrap();
        let (part, out) = (folder.path().join("part"), folder.path().join("out"));
        let mut numbers: Vec<f32> = (0..30).map(|i| i as f32 - 7.5).collect();
        numbers[12..18].fill(f32::NAN);
        fs::write(&part, numbers.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>()).unwrap();
        let source = Names(["even", "odd"].map(str::to_owned));
        let table = Table {
            path: &out,
            row: &[2, 3],
            source: &source,
            about: json!({ "weights": "w" }),
            header: Vec::new(),
            names: None,
        };
        write_groups(&table, &part, &out, 2).unwrap();

        let reader = SerializedFileReader::new(File::open(&out).unwrap()).unwrap();
        assert_eq!(reader.num_row_groups(), 3);
        let pairs = reader.metadata().file_metadata().key_value_metadata().unwrap();
        let pairs: Vec<_> = pairs.iter().map(|p| (p.key.as_str(), p.value.as_deref().unwrap())).collect();
        assert_eq!(pairs, [("shape", "[2,3]"), ("about", r#"{"weights":"w"}"#)]);
        let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 5);
        for (index, row) in rows.iter().enumerate() {
            assert_eq!(row.get_string(0).unwrap(), &format!("photos/ä{index}.png"));
            let label = row.get_string(1).ok().map(String::as_str);
            assert_eq!(label, [None, Some("odd"), Some("even"), Some("odd"), Some("even")][index]);
            let list = row.get_list(2).unwrap();
            let values: Vec<u32> = list
                .elements()
                .iter()
                .map(|field| match field {
                    Field::Float(x) => x.to_bits(),
                    other => panic!("{other:?}"),
                })
                .collect();
            let expected: Vec<u32> = numbers[index * 6..][..6].iter().map(|x| x.to_bits()).collect();
            assert_eq!(values, expected);
        }
        // Missing rows are an error.
        fs::write(&part, [0; 100]).unwrap();
        assert!(write_groups(&table, &part, &out, 2).unwrap_err().to_string().contains("cannot read"));
    }
}
