//! Builds an index of tar files that have none.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;

use mae_image::byte_name;
use tar::{Archive, Entry, EntryType};

use crate::source::extensions::{ARRAY, is_image_extension};
use crate::source::shard_index::{Index, Sample, Shard};
use crate::{DataError, PassedOver};

/// More digits than any class has.
const LABEL_BYTES: u64 = 32;

/// More classes than any data set has. It bounds the memory for class names.
const MAX_CLASSES: u32 = 1 << 20;

/// Reads the headers of all tar files in `folder`, sorted by name, and the classes. Counts skipped files in
/// `passed_over`, which must be empty. NumPy files are images if there are no others.
///
/// # Source
/// WebDataset's conventions: the key of a sample is the part of a file's path before the first dot of the file name,
/// and the files of a sample are adjacent. Deviation: a class that is not adjacent to its image is matched by key,
/// where WebDataset sees two samples.
pub(crate) fn scan(folder: &Path, passed_over: &mut PassedOver) -> Result<Index, DataError> {
    let index = scan_for(folder, false, passed_over)?;
    if index.samples.is_empty() && passed_over.files.contains_key(&format!(".{ARRAY}")) {
        *passed_over = PassedOver::default();
        return scan_for(folder, true, passed_over);
    }
    Ok(index)
}

fn scan_for(folder: &Path, arrays: bool, passed_over: &mut PassedOver) -> Result<Index, DataError> {
    let refuse = |source| DataError::Shard { path: folder.into(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(refuse)? {
        let name = entry.map_err(refuse)?.file_name();
        if name.as_encoded_bytes().ends_with(b".tar") && !name.as_encoded_bytes().starts_with(b".") {
            files.push(name);
        }
    }
    files.sort_unstable();
    let mut scan = Scan { shard: 0, arrays, samples: Vec::new(), passed_over };
    let mut shards = Vec::new();
    for file in files {
        let path = folder.join(&file);
        let bytes = scan.shard(&path).map_err(|source| DataError::Shard { path: path.clone(), source })?;
        let Some(file) = file.to_str() else {
            let source = io::Error::new(io::ErrorKind::InvalidData, "its name is not UTF-8: rename it");
            return Err(DataError::Shard { path, source });
        };
        shards.push(Shard { file: file.to_owned(), bytes });
        scan.shard += 1;
    }
    let samples = scan.samples;
    let classes = samples.iter().filter_map(|sample: &Sample| sample.label).max().map_or(0, |most| most + 1);
    Ok(Index::new((0..classes).map(|class| class.to_string()).collect(), shards, samples))
}

struct Scan<'a> {
    /// The index of the current tar file.
    shard: u32,
    /// Whether NumPy files are images.
    arrays: bool,
    samples: Vec<Sample>,
    passed_over: &'a mut PassedOver,
}

/// Adjacent files with the same key.
#[derive(Default)]
struct Group {
    key: Vec<u8>,
    extensions: Vec<String>,
    /// The index of its image in the samples.
    image: Option<usize>,
    label: Option<u32>,
}

/// Incomplete groups by key: images without a class, and classes without an image.
#[derive(Default)]
struct Apart {
    images: HashMap<Vec<u8>, Vec<usize>>,
    labels: Vec<(Vec<u8>, u32)>,
}

impl Scan<'_> {
    /// Whether a file with this extension, in lower case, is an image.
    fn is_image(&self, extension: &str) -> bool {
        is_image_extension(extension) || self.arrays && extension == ARRAY
    }

    /// Adds the images of a tar file and returns the file's length.
    fn shard(&mut self, path: &Path) -> io::Result<u64> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        refuse_compressed(&mut file)?;
        let mut archive = Archive::new(file);
        let (mut group, mut apart) = (Group::default(), Apart::default());
        for entry in archive.entries_with_seek()? {
            let mut entry = entry?;
            let other = other_kind(&mut entry)?;
            let name = entry.path_bytes().into_owned();
            let Some((key, extension)) = split(&name) else { continue };
            if is_meta(&name) || name.ends_with(b"/") {
                continue;
            }
            let is_image = self.is_image(&extension);
            if let Some(other) = other {
                if is_image || extension == "cls" {
                    self.passed_over.file(format!("{other} .{extension}"));
                }
                continue;
            }
            if key != group.key {
                apart.take(std::mem::take(&mut group), &mut self.samples);
                group.key = key.to_owned();
            }
            if group.extensions.contains(&extension) {
                return Err(invalid(format!("{} is there twice", byte_name(&name))));
            }
            if extension == "cls" {
                group.label = Some(label_of(&mut entry, &name)?);
            } else if is_image && group.image.is_some() {
                self.passed_over.file(format!("further images of a sample .{extension}"));
            } else if is_image {
                group.image = Some(self.samples.len());
                let sample = self.sample(&entry, &name, length)?;
                self.samples.push(sample);
            } else if extension == ARRAY {
                self.passed_over.file(format!(".{ARRAY}"));
            } else if let Some(image) = extension.rsplit('.').next().filter(|end| self.is_image(end)) {
                self.passed_over.file(format!("files with several dots in their names .{image}"));
            } else {
                self.passed_over.see_file(Path::new(&format!("x.{extension}")));
            }
            group.extensions.push(extension);
        }
        apart.take(group, &mut self.samples);
        self.join(apart)?;
        Ok(length)
    }

    fn sample(&self, entry: &Entry<'_, impl Read>, name: &[u8], length: u64) -> io::Result<Sample> {
        let (offset, bytes) = (entry.raw_file_position(), entry.size());
        let name = byte_name(name).into_boxed_str();
        if offset.checked_add(bytes).is_none_or(|end| end > length) {
            let message = format!("{name} ends beyond the file's {length} bytes: it is cut short");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        Ok(Sample {
            index: self.samples.len(),
            path: name.clone(),
            label: None,
            shard: self.shard,
            entry: name,
            offset,
            bytes,
            checksum: Some(entry.header().cksum()?),
        })
    }

    /// Matches classes with images that are not adjacent to them.
    fn join(&mut self, mut apart: Apart) -> io::Result<()> {
        for (key, label) in apart.labels {
            match apart.images.remove(&key).as_deref() {
                None => self.passed_over.file("classes without an image .cls"),
                Some([image]) => self.samples[*image].label = Some(label),
                Some(_) => {
                    let message = format!("{}.cls is the class of several images", byte_name(&key));
                    return Err(invalid(message));
                }
            }
        }
        Ok(())
    }
}

impl Apart {
    /// Takes a complete group of adjacent files.
    fn take(&mut self, group: Group, samples: &mut [Sample]) {
        match (group.image, group.label) {
            (Some(image), Some(label)) => samples[image].label = Some(label),
            (Some(image), None) => self.images.entry(group.key).or_default().push(image),
            (None, Some(label)) => self.labels.push((group.key, label)),
            (None, None) => {}
        }
    }
}

/// Reads the class from a `.cls` file.
fn label_of(entry: &mut Entry<'_, impl Read>, name: &[u8]) -> io::Result<u32> {
    let mut text = Vec::new();
    entry.take(LABEL_BYTES + 1).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let number = text.trim().parse().ok().filter(|label| *label < MAX_CLASSES);
    number.filter(|_| text.len() as u64 <= LABEL_BYTES).ok_or_else(|| {
        let (name, text) = (byte_name(name), text.trim());
        invalid(format!("{name} is '{text}', but must be a class, a number below {MAX_CLASSES}"))
    })
}

/// The kind of an entry that is not a regular file stored in one piece; `None` if it is one.
fn other_kind(entry: &mut Entry<'_, impl Read>) -> io::Result<Option<&'static str>> {
    Ok(match entry.header().entry_type() {
        EntryType::Regular | EntryType::Continuous => {
            let mut kind = None;
            for extension in entry.pax_extensions()?.into_iter().flatten() {
                let unread = |error| {
                    invalid(format!(
                        "a PAX header cannot be read, perhaps for a line break in a name: {error}"
                    ))
                };
                if extension.map_err(unread)?.key_bytes().starts_with(b"GNU.sparse.") {
                    kind = Some("sparse files");
                }
            }
            kind
        }
        EntryType::GNUSparse => Some("sparse files"),
        _ => Some("links to"),
    })
}

/// Refuses a compressed tar file.
fn refuse_compressed(file: &mut File) -> io::Result<()> {
    let mut begin = Vec::new();
    file.take(6).read_to_end(&mut begin)?;
    file.rewind()?;
    let kinds: [(&[u8], &str); 4] =
        [(b"\x1f\x8b", "gzip"), (b"BZh", "bzip2"), (b"\xfd7zXZ\0", "xz"), (b"\x28\xb5\x2f\xfd", "zstd")];
    match kinds.into_iter().find(|(magic, _)| begin.starts_with(magic)) {
        Some((_, kind)) => Err(invalid(format!(
            "it is compressed with {kind}: decompress it, because images are read in place"
        ))),
        None => Ok(()),
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// Splits a file's path into the key of its sample and the lower-case extension; `None` for a file without a key.
///
/// # Source
/// WebDataset's `base_plus_ext`, `^((?:.*/|)[^.]+)[.]([^/]*)$`.
fn split(name: &[u8]) -> Option<(&[u8], String)> {
    let begin = memchr::memrchr(b'/', name).map_or(0, |slash| slash + 1);
    let dot = begin + memchr::memchr(b'.', &name[begin..])?;
    // If the file name begins with the dot, the key is the folder's path, unless that contains a dot.
    let is_key = dot > begin || dot > 0 && !name[..dot].contains(&b'.');
    is_key.then(|| (&name[..dot], byte_name(&name[dot + 1..]).to_lowercase()))
}

/// Whether WebDataset treats a file as metadata: `__NAME__`, or a file in such a folder.
fn is_meta(name: &[u8]) -> bool {
    let first = name.split(|byte| *byte == b'/').next().unwrap_or_default();
    first.len() >= 4 && first.starts_with(b"__") && first.ends_with(b"__")
}
