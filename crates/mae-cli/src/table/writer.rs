//! A file of rows that is written bit by bit and can be continued.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use super::parquet;
use super::rows::{Table, on};

/// What a file of rows is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Npy,
    Safetensors,
    /// Nothing can be added to such a file: it is made of the rows when they are all there.
    Parquet,
}

/// Appends rows to the part that there is.
pub struct Writer {
    part: PathBuf,
    file: BufWriter<File>,
}

impl Table<'_> {
    /// Where the names of the rows are written, a line each; nowhere for a file that has them in it.
    pub fn list(&self) -> Result<Option<PathBuf>> {
        Ok((self.format()? != Format::Parquet).then(|| beside(self.path, ".txt")))
    }

    /// Begins the file, or goes on with what an earlier process has left; says how many rows there are.
    ///
    /// # Errors
    /// If the file is there and complete, or a part of another one is; if its format is not known.
    pub fn begin(&self) -> Result<(Writer, usize)> {
        let (path, rows) = (self.path, self.source.len());
        ensure!(!path.exists(), "{} is there already", path.display());
        let header = self.header()?;
        let (part, about) = self.parts();
        let names = self.names_checksum();
        let identity =
            serde_json::to_string_pretty(&json!({ "about": self.about, "images": rows, "names": names }))?;
        let row_bytes = size_of::<f32>() * self.row.iter().product::<usize>();
        let mut done = 0;
        if part.exists() {
            let before = fs::read_to_string(&about).unwrap_or_default();
            ensure!(
                before == identity,
                "{} was begun with other weights, images or options: remove it to begin anew",
                part.display()
            );
            let written = on(&part, part.metadata())?.len() as usize;
            done = (written.saturating_sub(header.len()) / row_bytes).min(rows);
        } else {
            // The identity first: a part without one would be continued by nobody.
            on(&about, fs::write(&about, &identity))?;
        }
        self.write_list()?;
        let mut options = OpenOptions::new();
        let mut file = on(&part, options.create(true).truncate(false).write(true).open(&part))?;
        // A row that was not written whole is written again.
        let keep = if done == 0 { 0 } else { header.len() + done * row_bytes };
        on(&part, file.set_len(keep as u64))?;
        match done {
            0 => on(&part, file.write_all(&header))?,
            _ => drop(on(&part, std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0)))?),
        }
        Ok((Writer { part, file: BufWriter::with_capacity(1 << 20, file) }, done))
    }

    /// Completes the file and gives it its name.
    pub fn finish(&self, mut writer: Writer) -> Result<()> {
        let (part, about) = self.parts();
        on(&part, writer.file.flush())?;
        on(&part, writer.file.get_ref().sync_all())?;
        drop(writer);
        if self.format()? == Format::Parquet {
            let new = beside(self.path, ".new");
            parquet::write(self, &part, &new)?;
            on(self.path, fs::rename(&new, self.path))?;
            remove(&part)?;
        } else {
            on(self.path, fs::rename(&part, self.path))?;
        }
        remove(&about)
    }

    /// The rows so far, and what they belong to.
    fn parts(&self) -> (PathBuf, PathBuf) {
        (beside(self.path, ".part"), beside(self.path, ".part.json"))
    }

    fn names_checksum(&self) -> u32 {
        let mut crc = crc32fast::Hasher::new();
        for index in 0..self.source.len() {
            crc.update(self.source.name(index).as_bytes());
            crc.update(b"\n");
        }
        crc.finalize()
    }

    fn write_list(&self) -> Result<()> {
        let Some(path) = self.list()? else { return Ok(()) };
        let mut list = BufWriter::new(on(&path, File::create(&path))?);
        for index in 0..self.source.len() {
            on(&path, writeln!(list, "{}", self.source.name(index)))?;
        }
        on(&path, list.flush())
    }

    fn format(&self) -> Result<Format> {
        match self.path.extension().and_then(|extension| extension.to_str()) {
            Some("npy") => Ok(Format::Npy),
            Some("safetensors") => Ok(Format::Safetensors),
            Some("parquet") => Ok(Format::Parquet),
            _ => bail!("{} is neither .npy nor .safetensors nor .parquet", self.path.display()),
        }
    }

    /// What stands before the rows.
    fn header(&self) -> Result<Vec<u8>> {
        let shape: Vec<usize> = [self.source.len()].into_iter().chain(self.row.iter().copied()).collect();
        Ok(match self.format()? {
            Format::Npy => npy(&shape),
            Format::Safetensors => safetensors(&shape),
            Format::Parquet => Vec::new(),
        })
    }
}

/// NumPy's header of little-endian f32, format version 1.0.
fn npy(shape: &[usize]) -> Vec<u8> {
    let sides: String = shape.iter().map(|side| format!("{side}, ")).collect();
    let mut text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({sides}), }}");
    const BEFORE: usize = 10;
    // The numbers begin at a multiple of 64.
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

impl Writer {
    pub fn write(&mut self, numbers: &[f32]) -> Result<()> {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        on(&self.part, self.file.write_all(&bytes))
    }

    /// Leaves what there is for another process to go on with.
    pub fn pause(mut self) -> Result<()> {
        on(&self.part, self.file.flush())
    }
}

/// A name beside another file's.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn remove(path: &Path) -> Result<()> {
    fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))
}
