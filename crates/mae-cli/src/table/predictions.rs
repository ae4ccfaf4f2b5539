//! Files of predictions: the most probable classes of each image as CSV, JSON lines or Parquet.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Result, bail};
use serde_json::json;

use super::parquet;
use super::rows::{Row, Rows, Table, Writer, on};

/// What a file of predictions is. It is made of the rows of probabilities when they are all there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PredictionFormat {
    Csv,
    JsonLines,
    Parquet,
}

/// An image and its most probable classes, the first one first; none for an image that cannot be read.
pub struct Predicted {
    pub name: String,
    /// Numbers of classes, and their probabilities.
    pub classes: Vec<(usize, f32)>,
}

/// The names of a file's columns.
pub fn columns(top_k: usize) -> impl Iterator<Item = String> {
    let pair = |place: usize| {
        let end = if place == 1 { String::new() } else { format!("_{place}") };
        [format!("class{end}"), format!("probability{end}")]
    };
    ["path".to_owned()].into_iter().chain((1..=top_k).flat_map(pair))
}

impl Predicted {
    /// The most probable classes of a row of probabilities. Of two that are equally probable the first one comes first.
    pub fn new(name: String, probabilities: &[f32], top_k: usize) -> Self {
        let mut classes: Vec<(usize, f32)> = probabilities.iter().copied().enumerate().collect();
        if probabilities.iter().any(|probability| probability.is_nan()) {
            classes.clear();
        }
        classes.sort_by(|a, b| b.1.total_cmp(&a.1));
        classes.truncate(top_k);
        Self { name, classes }
    }

    /// An object on one line, with null for what is not known.
    pub fn to_json(&self, names: &[String], top_k: usize) -> String {
        let or_null = |text: Option<String>| text.unwrap_or_else(|| "null".into());
        let pairs = self.pairs(names, top_k).flat_map(|pair| {
            let (class, probability) = pair.unzip();
            [or_null(class.map(|class| json!(class).to_string())), or_null(probability)]
        });
        let values = [json!(self.name).to_string()].into_iter().chain(pairs);
        let fields: Vec<_> =
            columns(top_k).zip(values).map(|(key, value)| format!("\"{key}\":{value}")).collect();
        format!("{{{}}}", fields.join(","))
    }

    fn to_record(&self, names: &[String], top_k: usize) -> impl Iterator<Item = String> {
        let pairs = self.pairs(names, top_k).flat_map(|pair| <[String; 2]>::from(pair.unwrap_or_default()));
        [self.name.clone()].into_iter().chain(pairs)
    }

    /// The names of the classes and their probabilities in the fewest digits that tell them from other f32.
    fn pairs(&self, names: &[String], top_k: usize) -> impl Iterator<Item = Option<(String, String)>> {
        (0..top_k).map(|place| {
            let (class, probability) = self.classes.get(place)?;
            Some((names[*class].clone(), probability.to_string()))
        })
    }
}

impl Row {
    pub fn predicted(self, top_k: usize) -> Predicted {
        Predicted::new(self.name, &self.numbers, top_k)
    }
}

impl PredictionFormat {
    /// What a file's name says.
    pub fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("csv") => Ok(Self::Csv),
            Some("jsonl") => Ok(Self::JsonLines),
            Some("parquet") => Ok(Self::Parquet),
            _ => bail!("{} is neither .csv nor .jsonl nor .parquet", path.display()),
        }
    }

    /// Makes the file of the rows and gives it its name; `each` sees all rows first.
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
