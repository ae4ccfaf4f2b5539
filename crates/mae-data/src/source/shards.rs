//! Images packed into tar files as a data set.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use mae_image::ppm::{self, HEADER_BYTES, Raster, read_at};
use mae_image::{ImageError, format_of};

use crate::source::extensions::is_image;
use crate::source::shard_index::{INDEX_FILE, Index, Sample};
use crate::source::tar_scan::scan;
use crate::{
    AnyImage, DataError, DecodeLimits, Encoded, FolderOptions, ImageSource, PassedOver, PixelFormat,
    path_name,
};

/// Images in the tar files of a folder, as written by [`pack`](crate::pack()) or WebDataset's tools.
///
/// Images are decoded to [`FolderOptions::pixels`]. If that is `None`, images spread over all shards determine the
/// format. A file `KEY.npy` is an image if the tar files contain no images in other formats. Otherwise it is a feature
/// or a mask, and is skipped.
///
/// With the index that `pack` writes, images are found without reading the shards, in the order of the folder that was
/// packed. Without one, the headers of all tar files are read once. A file `KEY.jpg` (or with another of
/// [`IMAGE_EXTENSIONS`](crate::IMAGE_EXTENSIONS)) is an image. `KEY.cls`, anywhere in the tar file, is its class as a
/// decimal number. As in WebDataset, a key has no dot: `a.b.jpg` is not an image. Such files, links, a second image of
/// the same key, classes without an image, and image files beside the tar files are [skipped](ImageSource::passed_over)
/// and counted.
///
/// Images can be read in any order. The loader therefore handles order, resuming and sharding across ranks as for a
/// folder of files: there is no shuffle buffer, and an epoch is one permutation of all images. The price is a seek per
/// image, which matters only on spinning disks and on network file systems without a cache.
#[derive(Debug)]
pub struct ShardSource {
    folder: PathBuf,
    index: Index,
    passed_over: PassedOver,
    limits: DecodeLimits,
    pixels: PixelFormat,
}

impl ShardSource {
    /// Opens the shards in `folder`. Without an index, reads the tar headers. Reads no image, except to determine the
    /// pixel format if `options.pixels` is `None`.
    ///
    /// # Errors
    /// [`DataError::NoShards`] if there are none; [`DataError::Shard`] if one is missing or is not a tar file;
    /// [`DataError::ShardLength`] if one is truncated; [`DataError::ShardIndex`], [`DataError::ShardVersion`] and
    /// [`DataError::ShardNumber`] for an index that is damaged, of another version, or wrong.
    pub fn open(folder: impl Into<PathBuf>, options: FolderOptions) -> Result<Self, DataError> {
        let folder = folder.into();
        let mut passed_over = PassedOver::default();
        let index = match Index::is_in(&folder) {
            true => Index::read(&folder)?,
            false => scan(&folder, &mut passed_over)?,
        };
        see_beside(&folder, &index, &mut passed_over)
            .map_err(|source| DataError::Shard { path: folder.clone(), source })?;
        if index.samples.is_empty() {
            let looked_for = format!("{INDEX_FILE}, or *.tar with images in them");
            return Err(DataError::NoShards { path: folder, looked_for, passed_over });
        }
        for shard in &index.header.shards {
            let path = folder.join(&shard.file);
            let metadata =
                std::fs::metadata(&path).map_err(|source| DataError::Shard { path: path.clone(), source })?;
            if metadata.len() != shard.bytes {
                return Err(DataError::ShardLength { path, bytes: metadata.len(), expected: shard.bytes });
            }
        }
        let FolderOptions { limits, pixels } = options;
        let mut shards = Self { folder, index, passed_over, limits, pixels: PixelFormat::Rgb8 };
        shards.pixels =
            pixels.unwrap_or_else(|| PixelFormat::common(shards.len(), |index| shards.stored_format(index)));
        Ok(shards)
    }

    /// The entry of the image in the index, and the path of its shard.
    fn sample(&self, index: usize) -> Result<(&Sample, PathBuf), DataError> {
        let refuse = || DataError::Index { index, len: self.len() };
        let sample = self.index.samples.get(index).ok_or_else(refuse)?;
        Ok((sample, self.folder.join(&self.index.header.shards[sample.shard as usize].file)))
    }

    /// Opens the image's file in its shard. Reads the tar header together with the image's first bytes, which detects
    /// an index that does not match the shard.
    fn entry(&self, index: usize) -> Result<Entry<'_>, DataError> {
        let (sample, shard) = self.sample(index)?;
        let file = File::open(&shard).map_err(|source| DataError::Shard { path: shard.clone(), source })?;
        let path = shard.join(&*sample.entry);
        let mut head = [0; TAR_HEADER + HEADER_BYTES];
        let begin = sample.offset - TAR_HEADER as u64;
        read_at(&file, &mut head, begin).map_err(|source| ImageError::Read { path: path.clone(), source })?;
        if !is_header_of(&head[..TAR_HEADER], sample) {
            let (entry, offset, bytes) = (sample.entry.to_string(), sample.offset, sample.bytes);
            return Err(DataError::ShardEntry { path: shard, entry, bytes, offset });
        }
        Ok(Entry { sample, path, file, head })
    }
}

/// A file in a shard.
struct Entry<'a> {
    sample: &'a Sample,
    /// The path that errors report.
    path: PathBuf,
    /// The shard.
    file: File,
    /// The tar header of the file, and the bytes that follow it.
    head: [u8; TAR_HEADER + HEADER_BYTES],
}

impl Entry<'_> {
    fn read(&self, limits: &DecodeLimits) -> Result<Vec<u8>, ImageError> {
        let (length, max_bytes) = (self.sample.bytes, limits.max_bytes);
        if length > max_bytes {
            return Err(ImageError::FileTooLarge { path: self.path.clone(), bytes: length, max_bytes });
        }
        let mut bytes = vec![0; length as usize];
        let refuse = |source| ImageError::Read { path: self.path.clone(), source };
        read_at(&self.file, &mut bytes, self.sample.offset).map_err(refuse)?;
        Ok(bytes)
    }
}

impl ImageSource for ShardSource {
    fn len(&self) -> usize {
        self.index.samples.len()
    }

    fn pixels(&self) -> PixelFormat {
        self.pixels
    }

    fn stored_format(&self, index: usize) -> Option<PixelFormat> {
        let entry = self.entry(index).ok()?;
        format_of(&entry.path, &entry.read(&self.limits).ok()?, &self.limits).ok()
    }

    fn load(&self, index: usize) -> Result<AnyImage, DataError> {
        Ok(self.open(index)?.decode()?)
    }

    fn open(&self, index: usize) -> Result<Encoded, DataError> {
        let entry = self.entry(index)?;
        let header = ppm::Header::read(&entry.head[TAR_HEADER..]).filter(ppm::Header::is_raster);
        let Some(header) = header.filter(|_| self.pixels == PixelFormat::Rgb8) else {
            return Ok(Encoded::new(&entry.path, entry.read(&self.limits)?, self.pixels, &self.limits)?);
        };
        let (Entry { sample, path, file, .. }, size) = (entry, (header.height, header.width));
        let sides = (side(size.0, &path)?, side(size.1, &path)?);
        let pixels = 3 * u64::from(sides.0) * u64::from(sides.1);
        self.limits.check(&path, sides, pixels)?;
        let length = header.length as u64;
        if pixels + length > sample.bytes {
            return Err(ImageError::Truncated { path, bytes: sample.bytes }.into());
        }
        Ok(Encoded::raster(Raster { path, file, offset: sample.offset + length, size }))
    }

    fn name(&self, index: usize) -> String {
        let Ok((sample, shard)) = self.sample(index) else { return String::new() };
        // Without an index, `path` equals `entry`, which `name` already contains.
        let name = path_name(&shard) + "/" + &sample.entry;
        if sample.path == sample.entry { name } else { format!("{name} ({})", sample.path) }
    }

    fn bytes(&self, index: usize) -> Option<u64> {
        self.index.samples.get(index).map(|sample| sample.bytes)
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.index.samples.get(index)?.label
    }

    fn class_names(&self) -> &[String] {
        &self.index.header.classes
    }

    fn passed_over(&self) -> &PassedOver {
        &self.passed_over
    }
}

/// Counts files beside the tar files that may be mistaken for part of the data set.
fn see_beside(folder: &Path, index: &Index, passed_over: &mut PassedOver) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        let shards = &index.header.shards;
        if name.as_encoded_bytes().starts_with(b".") || shards.iter().any(|shard| *shard.file == *name) {
            continue;
        }
        match path.extension().and_then(|end| end.to_str()) {
            Some(end) if is_image(&path) => {
                passed_over.file(format!("outside the tar files .{}", end.to_ascii_lowercase()));
            }
            _ => passed_over.see_file(&path),
        }
    }
    Ok(())
}

const TAR_HEADER: usize = 512;

/// Whether `header` is the tar header of the sample's file.
fn is_header_of(header: &[u8], sample: &Sample) -> bool {
    let header = tar::Header::from_byte_slice(header);
    match sample.checksum {
        Some(checksum) => header.cksum().is_ok_and(|found| found == checksum),
        None => {
            let named = *header.path_bytes() == *sample.entry.as_bytes();
            named && header.entry_size().is_ok_and(|bytes| bytes == sample.bytes)
        }
    }
}

fn side(length: usize, path: &Path) -> Result<u32, ImageError> {
    let refuse = |_| ImageError::Read { path: path.into(), source: io::ErrorKind::InvalidData.into() };
    u32::try_from(length).map_err(refuse)
}
