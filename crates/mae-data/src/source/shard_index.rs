//! The index beside packed images, which describes them without opening their shards.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{DataError, ImageError};

/// The index's name in its folder.
pub(crate) const INDEX_FILE: &str = "index.jsonl";

/// Distinguishes this index format from others.
const FORMAT: &str = "mae-shards";
const VERSION: u32 = 1;

/// The contents of an index: a header line, and one line per image.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Index {
    pub(crate) header: Header,
    /// Sorted by `index`.
    pub(crate) samples: Vec<Sample>,
}

/// The first line of the index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Header {
    format: String,
    version: u32,
    /// The number of lines that follow.
    samples: usize,
    pub(crate) classes: Vec<String>,
    pub(crate) shards: Vec<Shard>,
}

/// A tar file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shard {
    /// Its name in the folder.
    pub(crate) file: String,
    /// Its length.
    pub(crate) bytes: u64,
}

/// An image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Its position in the packed folder. Samples are sorted by it.
    pub(crate) index: usize,
    /// Its path in that folder.
    pub(crate) path: Box<str>,
    /// Its class, an index into `classes`.
    pub(crate) label: Option<u32>,
    /// Its shard, an index into `shards`.
    pub(crate) shard: u32,
    /// Its file name in the shard.
    pub(crate) entry: Box<str>,
    /// The offset of its first byte in the shard.
    pub(crate) offset: u64,
    /// Its length in bytes.
    pub(crate) bytes: u64,
    /// The checksum of its tar header, if the shard was scanned. Otherwise the header is identified by the file name in
    /// it.
    #[serde(skip)]
    pub(crate) checksum: Option<u32>,
}

impl Index {
    pub(crate) fn new(classes: Vec<String>, shards: Vec<Shard>, mut samples: Vec<Sample>) -> Self {
        samples.sort_by_key(|sample| sample.index);
        let header =
            Header { format: FORMAT.to_owned(), version: VERSION, samples: samples.len(), classes, shards };
        Self { header, samples }
    }

    /// Whether `folder` contains an index.
    pub(crate) fn is_in(folder: &Path) -> bool {
        folder.join(INDEX_FILE).is_file()
    }

    pub(crate) fn read(folder: &Path) -> Result<Self, DataError> {
        let path = folder.join(INDEX_FILE);
        let refuse = |source| ImageError::Read { path: path.clone(), source };
        let mut lines = BufReader::new(File::open(&path).map_err(refuse)?).lines();
        let first = lines.next().transpose().map_err(refuse)?.unwrap_or_default();
        let header: Header = parse(&path, 1, &first)?;
        if header.format != FORMAT {
            return Err(wrong(&path, "format", &header.format, FORMAT.to_owned()));
        }
        if header.version != VERSION {
            return Err(DataError::ShardVersion { path, version: header.version, known: VERSION });
        }
        let mut samples = Vec::new();
        for (number, line) in (2..).zip(lines) {
            samples.push(parse(&path, number, &line.map_err(refuse)?)?);
        }
        let index = Self { header, samples };
        index.check(&path)?;
        Ok(index)
    }

    pub(crate) fn write(&self, into: &mut impl Write) -> std::io::Result<()> {
        serde_json::to_writer(&mut *into, &self.header)?;
        for sample in &self.samples {
            into.write_all(b"\n")?;
            serde_json::to_writer(&mut *into, sample)?;
        }
        into.write_all(b"\n")
    }

    /// Checks that the lines do not contradict each other.
    fn check(&self, path: &Path) -> Result<(), DataError> {
        let Header { samples: expected, classes, shards, .. } = &self.header;
        if self.samples.len() != *expected {
            let bound = format!("the number of lines after the first, {}", self.samples.len());
            return Err(wrong(path, "samples", expected, bound));
        }
        for (number, sample) in self.samples.iter().enumerate() {
            let name = |what| format!("{what} of {}", sample.path);
            let Some(shard) = shards.get(sample.shard as usize) else {
                let bound = format!("below the number of shards, {}", shards.len());
                return Err(wrong(path, name("shard"), sample.shard, bound));
            };
            if let Some(label) = sample.label.filter(|label| *label as usize >= classes.len()) {
                let bound = format!("below the number of classes, {}", classes.len());
                return Err(wrong(path, name("label"), label, bound));
            }
            let end = sample.offset.checked_add(sample.bytes);
            // A tar file ends with padding or an end marker, so its last byte never belongs to an image.
            if sample.offset < 512 || end.is_none_or(|end| end >= shard.bytes) {
                let value = format!("{} to {}", sample.offset, sample.offset.saturating_add(sample.bytes));
                let bound = format!("within {} of {} bytes, after a header of 512", shard.file, shard.bytes);
                return Err(wrong(path, name("place"), value, bound));
            }
            if number > 0 && self.samples[number - 1].index >= sample.index {
                let bound = format!("above that of the line before, {}", self.samples[number - 1].index);
                return Err(wrong(path, name("index"), sample.index, bound));
            }
        }
        Ok(())
    }
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path, line: usize, text: &str) -> Result<T, DataError> {
    let path = PathBuf::from(path);
    serde_json::from_str(text).map_err(|source| DataError::ShardIndex { path, line, source })
}

fn wrong(path: &Path, name: impl Into<String>, value: impl ToString, bound: String) -> DataError {
    DataError::ShardNumber { path: path.into(), name: name.into(), value: value.to_string(), bound }
}
