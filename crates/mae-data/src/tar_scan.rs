//! An index of tar files that come without one.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use tar::{Archive, EntryType};

use crate::DataError;
use crate::folder::IMAGE_EXTENSIONS;
use crate::shard_index::{Index, Sample, Shard};

/// What a file of uncompressed pixels is called.
pub(crate) const RASTER_EXTENSION: &str = ".ppm";

/// More than the digits of any class.
const LABEL_BYTES: u64 = 32;

/// More classes than any data set has: their names are kept.
const MAX_CLASSES: u32 = 1 << 20;

/// Reads the headers of all tar files in `folder`, sorted by name, and the classes.
///
/// # Source
/// WebDataset's conventions: what stands before the first dot of a file's name, with its folder, is the key of a
/// sample, and the files of a sample stand together.
pub(crate) fn scan(folder: &Path) -> Result<Index, DataError> {
    let refuse = |source| DataError::Shard { path: folder.into(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(refuse)? {
        let name = entry.map_err(refuse)?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".tar") && !name.starts_with('.') {
            files.push(name);
        }
    }
    files.sort_unstable();
    let (mut shards, mut samples) = (Vec::new(), Vec::new());
    for file in files {
        let path = folder.join(&file);
        let bytes = scan_shard(&path, shards.len() as u32, &mut samples)
            .map_err(|source| DataError::Shard { path: path.clone(), source })?;
        shards.push(Shard { file, bytes });
    }
    let classes = samples.iter().filter_map(|sample: &Sample| sample.label).max().map_or(0, |most| most + 1);
    Ok(Index::new((0..classes).map(|class| class.to_string()).collect(), shards, samples))
}

/// Adds a shard's images to `samples`; returns the shard's length.
fn scan_shard(path: &Path, shard: u32, samples: &mut Vec<Sample>) -> io::Result<u64> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut archive = Archive::new(file);
    // The last image and class, until the other comes along.
    let mut image: Option<(String, usize)> = None;
    let mut class: Option<(String, u32)> = None;
    for entry in archive.entries_with_seek()? {
        let mut entry = entry?;
        if entry.header().entry_type() != EntryType::Regular {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let (key, extension) = split(&name);
        let (offset, bytes) = (entry.raw_file_position(), entry.size());
        if offset.checked_add(bytes).is_none_or(|end| end > length) {
            let message = format!("{name} ends beyond the file's {length} bytes: it is cut short");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        let known = |known: &&str| extension.eq_ignore_ascii_case(known);
        if extension.eq_ignore_ascii_case("cls") {
            let mut text = String::new();
            (&mut entry).take(LABEL_BYTES).read_to_string(&mut text)?;
            let label = text.trim().parse().ok().filter(|label| *label < MAX_CLASSES).ok_or_else(|| {
                let text = text.trim();
                let message =
                    format!("{name} is '{text}', but must be a class, a number below {MAX_CLASSES}");
                io::Error::new(io::ErrorKind::InvalidData, message)
            })?;
            class = Some((key.to_owned(), label));
        } else if IMAGE_EXTENSIONS.iter().chain([&&RASTER_EXTENSION[1..]]).any(known) {
            image = Some((key.to_owned(), samples.len()));
            let (index, entry) = (samples.len(), Box::from(&*name));
            samples.push(Sample { index, path: name.into(), label: None, shard, entry, offset, bytes });
        }
        if let (Some((of_image, at)), Some((of_class, label))) = (&image, &class)
            && of_image == of_class
        {
            samples[*at].label = Some(*label);
        }
    }
    Ok(length)
}

/// The key of a file's sample, and what the file is of it.
fn split(name: &str) -> (&str, &str) {
    let begin = name.rfind('/').map_or(0, |slash| slash + 1);
    match name[begin..].find('.') {
        Some(dot) => (&name[..begin + dot], &name[begin + dot + 1..]),
        None => (name, ""),
    }
}
