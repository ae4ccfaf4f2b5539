//! Rows of f32 values in a file that is written incrementally and that another process can resume.

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use mae_data::ImageSource;
use serde_json::{Value, json};

/// A file of f32 rows of one shape, one for each image. The rows are collected in a partial file beside it.
pub struct Table<'a> {
    pub path: &'a Path,
    /// The shape of a row.
    pub row: &'a [usize],
    /// The images of the rows, in the same order.
    pub source: &'a dyn ImageSource,
    /// What else the rows depend on.
    pub about: Value,
    /// The bytes before the rows.
    pub header: Vec<u8>,
    /// The file that lists the images' names, one per line, unless the table's file contains them.
    pub names: Option<PathBuf>,
}

/// Appends rows to the partial file.
pub struct Writer {
    part: PathBuf,
    file: BufWriter<File>,
}

impl Table<'_> {
    /// Creates the partial file, or reopens the one that an earlier process has left. Returns how many rows it already
    /// has.
    ///
    /// # Errors
    /// If the complete file exists, or a partial file of other weights, images or options does, unless `force` replaces
    /// them.
    pub fn begin(&self, force: bool) -> Result<(Writer, usize)> {
        let rows = self.source.len();
        check_free(self.path, force)?;
        let (part, about) = self.parts();
        let names = self.names_checksum();
        let identity =
            serde_json::to_string_pretty(&json!({ "about": self.about, "images": rows, "names": names }))?;
        let mut done = 0;
        if part.exists() {
            let before = fs::read_to_string(&about).unwrap_or_default();
            ensure!(
                before == identity || force,
                "{} was begun with other weights, images or options; --force replaces it",
                part.display()
            );
            if before != identity {
                remove(&part)?;
            }
        }
        if part.exists() {
            let written = on(&part, part.metadata())?.len() as usize;
            done = (written.saturating_sub(self.header.len()) / self.row_bytes()).min(rows);
        } else {
            // The identity comes first: a partial file without one could not be resumed.
            on(&about, fs::write(&about, &identity))?;
        }
        let mut options = OpenOptions::new();
        let mut file = on(&part, options.create(true).truncate(false).write(true).open(&part))?;
        // A row that was not written completely is written again.
        let keep = if done == 0 { 0 } else { self.header.len() + done * self.row_bytes() };
        on(&part, file.set_len(keep as u64))?;
        match done {
            0 => on(&part, file.write_all(&self.header))?,
            _ => drop(on(&part, file.seek(SeekFrom::End(0)))?),
        }
        Ok((Writer { part, file: BufWriter::with_capacity(1 << 20, file) }, done))
    }

    /// Renames the partial file, which has all rows, to the file's final name.
    pub fn finish(&self, writer: Writer) -> Result<()> {
        let (part, about) = self.parts();
        writer.settle()?;
        self.write_names()?;
        on(self.path, fs::rename(&part, self.path))?;
        remove(&about)
    }

    /// Makes the file from the partial file, which has all rows: `make` reads the first path and writes the second.
    pub fn finish_as(&self, writer: Writer, make: impl FnOnce(&Path, &Path) -> Result<()>) -> Result<()> {
        let (part, about) = self.parts();
        writer.settle()?;
        let new = beside(self.path, ".new");
        make(&part, &new)?;
        self.write_names()?;
        on(self.path, fs::rename(&new, self.path))?;
        remove(&part)?;
        remove(&about)
    }

    fn write_names(&self) -> Result<()> {
        let Some(path) = &self.names else { return Ok(()) };
        let mut list = BufWriter::new(on(path, File::create(path))?);
        for index in 0..self.source.len() {
            on(path, writeln!(list, "{}", self.source.name(index)))?;
        }
        on(path, list.flush())
    }

    /// The number of values per row.
    pub fn numbers(&self) -> usize {
        self.row.iter().product()
    }

    fn row_bytes(&self) -> usize {
        size_of::<f32>() * self.numbers()
    }

    /// The paths of the partial file and of its identity.
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
}

impl Writer {
    pub fn write(&mut self, numbers: &[f32]) -> Result<()> {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        on(&self.part, self.file.write_all(&bytes))
    }

    /// Flushes the rows so far, for another process to resume.
    pub fn pause(mut self) -> Result<()> {
        on(&self.part, self.file.flush())
    }

    fn settle(mut self) -> Result<()> {
        on(&self.part, self.file.flush())?;
        on(&self.part, self.file.get_ref().sync_all())
    }
}

/// Iterates over the rows of a partial file without a header.
pub struct Rows<'a> {
    table: &'a Table<'a>,
    part: &'a Path,
    file: BufReader<File>,
    next: usize,
}

/// A row and the name of its image.
pub struct Row {
    pub index: usize,
    pub name: String,
    pub numbers: Vec<f32>,
}

impl<'a> Rows<'a> {
    pub fn open(table: &'a Table<'a>, part: &'a Path) -> Result<Self> {
        let file = File::open(part).with_context(|| format!("cannot read {}", part.display()))?;
        Ok(Self { table, part, file: BufReader::with_capacity(1 << 20, file), next: 0 })
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Result<Row>> {
        let index = self.next;
        if index == self.table.source.len() {
            return None;
        }
        self.next += 1;
        let mut bytes = vec![0; self.table.row_bytes()];
        let read = self.file.read_exact(&mut bytes);
        let row = read.with_context(|| format!("cannot read {}", self.part.display())).map(|()| Row {
            index,
            name: self.table.source.name(index),
            numbers: bytes.as_chunks().0.iter().map(|x| f32::from_le_bytes(*x)).collect(),
        });
        Some(row)
    }
}

/// Checks that there is no file at a path, or that it may be replaced.
pub fn check_free(path: &Path, force: bool) -> Result<()> {
    ensure!(force || !path.exists(), "{} already exists; --force replaces it", path.display());
    Ok(())
}

/// Adds to an error the file that could not be written.
pub fn on<T, E: std::error::Error + Send + Sync + 'static>(path: &Path, result: Result<T, E>) -> Result<T> {
    result.with_context(|| format!("cannot write {}", path.display()))
}

/// Appends a suffix to the name of a file: the result lies in the same folder.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn remove(path: &Path) -> Result<()> {
    fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))
}
