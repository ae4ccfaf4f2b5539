//! Rows of numbers in a file that is written bit by bit and can be continued: NumPy's `.npy`, or safetensors.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use mae_data::ImageSource;
use serde_json::{Value, json};

/// A file of so many rows of one shape, in f32.
pub struct Table<'a> {
    pub path: &'a Path,
    /// The shape of a row.
    pub row: &'a [usize],
    /// What the rows are of, in its order.
    pub source: &'a dyn ImageSource,
    /// What the rows depend on besides.
    pub about: Value,
}

/// Appends rows to the part that there is.
pub struct Writer {
    path: PathBuf,
    part: PathBuf,
    about: PathBuf,
    file: BufWriter<File>,
}

impl Table<'_> {
    /// Where the names of the rows are written, a line each.
    pub fn list(&self) -> PathBuf {
        beside(self.path, ".txt")
    }

    /// Begins the file, or goes on with what an earlier process has left; says how many rows there are.
    ///
    /// # Errors
    /// If the file is there and complete, or a part of another one is; if it is neither .npy nor .safetensors.
    pub fn begin(&self) -> Result<(Writer, usize)> {
        let (path, rows) = (self.path, self.source.len());
        ensure!(!path.exists(), "{} is there already", path.display());
        let header = self.header()?;
        let (part, about) = (beside(path, ".part"), beside(path, ".part.json"));
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
        Ok((Writer { path: path.into(), part, about, file: BufWriter::with_capacity(1 << 20, file) }, done))
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
        let path = self.list();
        let mut list = BufWriter::new(on(&path, File::create(&path))?);
        for index in 0..self.source.len() {
            on(&path, writeln!(list, "{}", self.source.name(index)))?;
        }
        on(&path, list.flush())
    }

    fn header(&self) -> Result<Vec<u8>> {
        let shape: Vec<usize> = [self.source.len()].into_iter().chain(self.row.iter().copied()).collect();
        match self.path.extension().and_then(|extension| extension.to_str()) {
            Some("npy") => Ok(npy(&shape)),
            Some("safetensors") => Ok(safetensors(&shape)),
            _ => bail!("{} is neither .npy nor .safetensors", self.path.display()),
        }
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

    /// Gives the file its name.
    pub fn finish(mut self) -> Result<()> {
        on(&self.part, self.file.flush())?;
        on(&self.part, self.file.get_ref().sync_all())?;
        on(&self.path, fs::rename(&self.part, &self.path))?;
        fs::remove_file(&self.about).with_context(|| format!("cannot remove {}", self.about.display()))
    }
}

/// A name beside another file's.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Says which file an operation failed on.
fn on<T>(path: &Path, result: std::io::Result<T>) -> Result<T> {
    result.with_context(|| format!("cannot write {}", path.display()))
}
