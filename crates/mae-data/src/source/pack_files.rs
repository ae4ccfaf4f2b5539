//! Writes the files of a packing: atomically, and tar files with the offsets of their contents.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::DataError;

/// A tar file that is being written.
pub(crate) struct Tar<W: Write> {
    builder: tar::Builder<W>,
    length: u64,
}

impl<W: Write> Tar<W> {
    pub(crate) fn new(file: W) -> Self {
        Self { builder: tar::Builder::new(file), length: 0 }
    }

    /// Adds a file and returns the offset of its first byte.
    pub(crate) fn append(&mut self, name: &str, contents: &[u8]) -> io::Result<u64> {
        const BLOCK: u64 = 512;
        let mut header = tar::Header::new_ustar();
        header.set_path(name)?;
        header.set_size(contents.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        self.builder.append(&header, contents)?;
        let offset = self.length + BLOCK;
        self.length = offset + (contents.len() as u64).next_multiple_of(BLOCK);
        Ok(offset)
    }

    pub(crate) fn finish(self) -> io::Result<()> {
        self.builder.into_inner().map(|_| ())
    }
}

/// Writes a file atomically: it is complete or absent.
pub(crate) fn write(
    path: &Path,
    contents: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), DataError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = path.with_file_name(format!(".{name}.unfinished"));
    let written = File::create(&unfinished).and_then(|file| {
        let mut file = BufWriter::new(file);
        contents(&mut file)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&unfinished, path)
    });
    written.map_err(|source| DataError::Write { path: path.into(), source })
}

pub(crate) fn remove(path: &Path) -> Result<(), DataError> {
    fs::remove_file(path).map_err(|source| DataError::Write { path: path.into(), source })
}
