//! Feature files: NumPy's `.npy`, safetensors or Parquet.

use std::path::Path;

use anyhow::{Result, bail};
use mae_data::ImageSource;
use serde_json::{Value, json};

use super::parquet;
use super::rows::{Table, Writer, beside};

/// The format of a feature file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum FeatureFormat {
    Npy,
    Safetensors,
    /// A Parquet file cannot be appended to, so it is written from the rows once all of them are there.
    Parquet,
}

impl FeatureFormat {
    /// Determines the format from a file's extension.
    pub fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("npy") => Ok(Self::Npy),
            Some("safetensors") => Ok(Self::Safetensors),
            Some("parquet") => Ok(Self::Parquet),
            _ => bail!("{} is neither .npy nor .safetensors nor .parquet", path.display()),
        }
    }

    /// A table of rows in this format.
    pub fn table<'a>(
        self,
        path: &'a Path,
        row: &'a [usize],
        source: &'a dyn ImageSource,
        about: Value,
    ) -> Table<'a> {
        let shape: Vec<usize> = [source.len()].into_iter().chain(row.iter().copied()).collect();
        let header = match self {
            Self::Npy => npy(&shape),
            Self::Safetensors => safetensors(&shape),
            Self::Parquet => Vec::new(),
        };
        // A Parquet file contains the names itself.
        let names = (self != Self::Parquet).then(|| beside(path, ".txt"));
        Table { path, row, source, about, header, names }
    }

    /// Completes the file and renames it to its final name.
    pub fn finish(self, table: &Table<'_>, writer: Writer) -> Result<()> {
        match self {
            Self::Parquet => table.finish_as(writer, |part, new| parquet::write_features(table, part, new)),
            Self::Npy | Self::Safetensors => table.finish(writer),
        }
    }
}

/// A NumPy header for little-endian f32, format version 1.0.
fn npy(shape: &[usize]) -> Vec<u8> {
    let sides: String = shape.iter().map(|side| format!("{side}, ")).collect();
    let mut text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({sides}), }}");
    const BEFORE: usize = 10;
    // The values start at a multiple of 64 bytes.
    let spaces = 64 - (BEFORE + text.len() + 1) % 64;
    text.extend(std::iter::repeat_n(' ', spaces));
    text.push('\n');
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend_from_slice(&(text.len() as u16).to_le_bytes());
    header.extend_from_slice(text.as_bytes());
    header
}

/// The header of a safetensors file with one tensor, `features`.
fn safetensors(shape: &[usize]) -> Vec<u8> {
    let bytes = size_of::<f32>() * shape.iter().product::<usize>();
    let about = json!({ "features": { "dtype": "F32", "shape": shape, "data_offsets": [0, bytes] } });
    let mut text = about.to_string();
    let spaces = text.len().next_multiple_of(8) - text.len();
    text.extend(std::iter::repeat_n(' ', spaces));
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}
