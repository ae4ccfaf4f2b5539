//! Prediction files: the most probable classes of each image as CSV, JSON lines or Parquet.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Result, bail};

use super::parquet;
use super::predicted::columns;
use super::rows::{Rows, Table, Writer, on};

/// The format of a prediction file. It is written from the rows of probabilities once all of them are there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PredictionFormat {
    Csv,
    JsonLines,
    Parquet,
}

impl PredictionFormat {
    /// Determines the format from a file's extension.
    pub fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("csv") => Ok(Self::Csv),
            Some("jsonl") => Ok(Self::JsonLines),
            Some("parquet") => Ok(Self::Parquet),
            _ => bail!("{} is neither .csv nor .jsonl nor .parquet", path.display()),
        }
    }

    /// Writes the file from the rows and renames it to its final name. `each` receives all rows first.
    pub fn finish(
        self,
        table: &Table<'_>,
        writer: Writer,
        classes: &[String],
        top_k: usize,
        mut each: impl FnMut(usize, &[f32]),
    ) -> Result<()> {
        table.finish_as(writer, |part, new| {
            for row in Rows::open(table, part)? {
                let row = row?;
                each(row.index, &row.numbers);
            }
            let rows = Rows::open(table, part)?;
            match self {
                Self::Parquet => parquet::write_predictions(rows, classes, top_k, new),
                Self::Csv => {
                    let mut file = csv::Writer::from_writer(on(new, File::create(new))?);
                    on(new, file.write_record(columns(top_k)))?;
                    for row in rows {
                        on(new, file.write_record(row?.predicted(top_k).to_record(classes, top_k)))?;
                    }
                    on(new, on(new, file.into_inner().map_err(|error| error.into_error()))?.sync_all())
                }
                Self::JsonLines => {
                    let mut file = BufWriter::new(on(new, File::create(new))?);
                    for row in rows {
                        on(new, writeln!(file, "{}", row?.predicted(top_k).to_json(classes, top_k)))?;
                    }
                    on(new, on(new, file.into_inner().map_err(|error| error.into_error()))?.sync_all())
                }
            }
        })
    }
}
