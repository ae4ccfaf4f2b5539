//! The storages of a checkpoint, which hold the bytes of its tensors.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::sync::{Mutex, PoisonError};

use zip::{CompressionMethod, ZipArchive};

use super::dtype::storage_dtype;
use super::error::invalid;
use super::node::{Node, Pickle};
use super::pickle::{self, MOST_BYTES};

/// The bytes of a checkpoint's tensors.
pub enum Storages {
    /// By key, the index of the entry and its length in bytes.
    Zip(Mutex<ZipArchive<BufReader<File>>>, HashMap<String, (usize, u64)>),
    /// The format before PyTorch 1.6: by key, the offset of the bytes and their number.
    Old(Mutex<File>, HashMap<String, (u64, u64)>),
}

/// Opens an archive, as PyTorch writes since 1.6.
pub fn zip(reader: BufReader<File>) -> io::Result<(Pickle, Storages)> {
    let mut archive = ZipArchive::new(reader)?;
    let (mut sizes, mut root) = (HashMap::new(), None);
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index)?;
        let name = entry.name().map_err(io::Error::from)?.into_owned();
        // Decompression could turn a few bytes into any size; torch.save never compresses.
        if entry.compression() != CompressionMethod::Stored {
            return Err(invalid(format!("the archive's {name} is compressed, which torch.save never does")));
        }
        if let Some(folder) = name.strip_suffix("data.pkl").filter(|f| f.is_empty() || f.ends_with('/')) {
            root = root.or_else(|| Some((folder.to_owned(), index)));
        }
        sizes.insert(name, (index, entry.size()));
    }
    let Some((folder, index)) = root else {
        let first = sizes.keys().min().map_or("nothing", String::as_str);
        return Err(invalid(format!("an archive without data.pkl, which begins with {first}")));
    };
    if let Some((index, _)) = sizes.get(&format!("{folder}byteorder")) {
        let mut order = String::new();
        archive.by_index(*index)?.take(16).read_to_string(&mut order)?;
        if order != "little" {
            return Err(invalid(format!("its bytes are in {order}-endian order")));
        }
    }
    let size = archive.by_index_raw(index)?.size();
    if size > MOST_BYTES {
        return Err(invalid(format!("a pickle of {size} bytes, above the limit of {MOST_BYTES}")));
    }
    let pickle = pickle::read(&mut BufReader::new(archive.by_index(index)?))?;
    let data = format!("{folder}data/");
    let key = |(name, place): (String, _)| Some((name.strip_prefix(&data)?.to_owned(), place));
    let entries = sizes.into_iter().filter_map(key).collect();
    Ok((pickle, Storages::Zip(Mutex::new(archive), entries)))
}

/// Opens the format before 1.6: pickles of a magic number, a version, the system, the object and the keys; then the
/// storages.
pub fn old(mut reader: BufReader<File>, len: u64) -> io::Result<(Pickle, Storages)> {
    let magic = pickle::read(&mut reader)?;
    // The magic number 0x1950a86a20f9469cfc6c takes more than 64 bits.
    if !matches!(magic.node(magic.root), Node::Other) {
        return Err(invalid("a pickle that is not a checkpoint"));
    }
    let version = pickle::read(&mut reader)?;
    if version.number(version.root) != Some(1001) {
        return Err(invalid("a pickle that is not a checkpoint"));
    }
    let system = pickle::read(&mut reader)?;
    let little = system.get(system.root, "little_endian").map(|id| system.node(id));
    if !matches!(little, Some(Node::Bool(true))) {
        return Err(invalid("its bytes are not in little-endian order"));
    }
    let pickle = pickle::read(&mut reader)?;
    let keys = pickle::read(&mut reader)?;
    let sizes = element_sizes(&pickle);
    let mut places = HashMap::new();
    for key in keys.sequence(keys.root).ok_or_else(|| invalid("no list of storages"))? {
        let key = keys.text(*key).ok_or_else(|| invalid("a storage without a name"))?;
        let mut count = [0; 8];
        reader.read_exact(&mut count)?;
        let begin = reader.stream_position()?;
        let size = u64::from_le_bytes(count).checked_mul(sizes.get(key).copied().unwrap_or(1));
        let end = size.and_then(|size| begin.checked_add(size)).filter(|end| *end <= len);
        let end = end.ok_or_else(|| invalid(format!("storage {key} is longer than the file")))?;
        reader.seek(SeekFrom::Start(end))?;
        places.insert(key.to_owned(), (begin, end - begin));
    }
    Ok((pickle, Storages::Old(Mutex::new(reader.into_inner()), places)))
}

/// The element size of each storage in bytes, by key.
fn element_sizes(pickle: &Pickle) -> HashMap<String, u64> {
    let storages = pickle.nodes().filter_map(|node| match node {
        Node::Persistent(id) => pickle.sequence(*id),
        _ => None,
    });
    let sizes = storages.filter_map(|fields| match fields {
        [_, class, key, ..] => {
            let size = storage_dtype(pickle.global(*class)?).map_or(1, |dtype| dtype.bitsize() as u64 / 8);
            Some((pickle.text(*key)?.to_owned(), size))
        }
        _ => None,
    });
    sizes.collect()
}

impl Storages {
    #[cfg(test)]
    pub fn none() -> Self {
        Self::Old(Mutex::new(tempfile::tempfile().expect("a temporary file")), HashMap::new())
    }

    /// The length of a storage in bytes.
    pub fn len(&self, key: &str) -> io::Result<u64> {
        let len = match self {
            Self::Zip(_, entries) => entries.get(key).map(|(_, len)| *len),
            Self::Old(_, places) => places.get(key).map(|(_, len)| *len),
        };
        len.ok_or_else(|| invalid(format!("storage {key} is missing")))
    }

    /// Reads a whole storage. For an archive, this also verifies the entry's checksum.
    pub fn read(&self, key: &str) -> io::Result<Vec<u8>> {
        let missing = || invalid(format!("storage {key} is missing"));
        let mut bytes = Vec::new();
        match self {
            Self::Zip(archive, entries) => {
                let (index, _) = *entries.get(key).ok_or_else(missing)?;
                let mut archive = archive.lock().unwrap_or_else(PoisonError::into_inner);
                archive.by_index(index)?.read_to_end(&mut bytes)?;
            }
            Self::Old(file, places) => {
                let (begin, len) = *places.get(key).ok_or_else(missing)?;
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(begin))?;
                file.by_ref().take(len).read_to_end(&mut bytes)?;
            }
        }
        Ok(bytes)
    }
}
