//! Packs a folder of images into tar files. Each image is resized once, so that training decodes less or nothing.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use mae_image::check_size;
use serde::{Deserialize, Serialize};

use crate::loader::bad::reason;
use crate::loader::sampler::shuffled;
use crate::loader::worker::without_panic;
use crate::source::pack_files::{Tar, remove, write};
use crate::source::shard_index::{INDEX_FILE, Index, Sample, Shard};
use crate::source::store::Store;
use crate::{BadFile, DataError, ImageFolder, ImageSource, PixelFormat, path_name};

/// Options of [`pack()`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackOptions {
    /// The shorter side after resizing, in pixels. A smaller image keeps its size.
    pub short_side_px: usize,
    /// The file format: [`Store::Npy`] for images that are not 8-bit RGB, otherwise any of the others.
    pub store: Store,
    /// Number of images per tar file, except in the last one.
    pub images_per_shard: usize,
    /// Number of threads that decode and resize.
    pub threads: usize,
}

impl Default for PackOptions {
    /// 256 px, the size to which evaluation resizes; JPEG; 4096 images per file, which is 1 GB as PPM; one thread per
    /// core.
    fn default() -> Self {
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self { short_side_px: 256, store: Store::Jpeg { quality: 92 }, images_per_shard: 4096, threads }
    }
}

/// The result of [`pack()`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// Number of images packed.
    pub images: usize,
    /// Number of tar files.
    pub shards: usize,
    /// Number of tar files kept from an interrupted call.
    pub kept_shards: usize,
    /// Total size of the tar files in bytes.
    pub bytes: u64,
    /// The images that could not be read and were left out, by their index in the folder.
    pub unreadable: Vec<BadFile>,
}

/// The index entries of a finished shard. They are kept on disk until the index is written.
#[derive(Serialize, Deserialize)]
struct Finished {
    shard: Shard,
    samples: Vec<Sample>,
    unreadable: Vec<BadFile>,
}

/// Packs the images of `folder` into tar files in `out`, in WebDataset's format: `KEY.jpg`, `KEY.ppm` or `KEY.npy`, and
/// `KEY.cls` with the class as a decimal number. Calls `progress(done, total)` from time to time.
///
/// The images are stored in a fixed random order, for readers that read tar files sequentially. The index, which
/// [`ShardSource`](crate::ShardSource) reads, lists them in the order of the folder. The index is written last, so a
/// folder with an index is complete. After an interruption, a call with the same settings resumes after the last
/// complete tar file.
///
/// # Errors
/// [`DataError::Argument`] for a setting out of bounds, for a multi-label folder, and for a store that cannot hold the
/// folder's pixels; [`DataError::PackInto`] if `out` contains anything but an unfinished packing with the same
/// settings, or if no image could be read; [`DataError::Write`] if a file cannot be written.
pub fn pack(
    folder: &ImageFolder,
    out: impl AsRef<Path>,
    options: &PackOptions,
    mut progress: impl FnMut(usize, usize),
) -> Result<Packed, DataError> {
    let out = out.as_ref();
    options.validate(folder.pixels())?;
    if folder.is_multi_label() {
        return Err(DataError::Argument {
            name: "the label type of the folder",
            value: "multi-label".into(),
            bound: "single-label: packed images have one class each".into(),
        });
    }
    begin(folder, out, options)?;
    let order = shuffled(folder.len(), 0, 0);
    let (mut shards, mut samples, mut unreadable) = (Vec::new(), Vec::new(), Vec::new());
    let (mut done, mut kept_shards) = (0, 0);
    for (number, images) in order.chunks(options.images_per_shard).enumerate() {
        let finished = match kept(out, number) {
            Some(finished) => {
                kept_shards += 1;
                finished
            }
            None => {
                let progress = |more| progress(done + more, order.len());
                pack_shard(folder, out, number, images, options, progress)?
            }
        };
        done += images.len();
        progress(done, order.len());
        shards.push(finished.shard);
        samples.extend(finished.samples);
        unreadable.extend(finished.unreadable);
    }
    unreadable.sort_by_key(|file: &BadFile| file.index);
    if samples.is_empty() {
        let reason = unreadable.first().map_or_else(String::new, |file| file.reason.clone());
        return Err(refuse(out, format!("none of {} images can be read: {reason}", folder.len())));
    }
    let bytes = shards.iter().map(|shard: &Shard| shard.bytes).sum();
    let index = Index::new(folder.class_names().to_vec(), shards, samples);
    write(&out.join(INDEX_FILE), |file| index.write(file))?;
    for number in 0..index.header.shards.len() {
        remove(&finished_file(out, number))?;
    }
    remove(&out.join(SETTINGS_FILE))?;
    Ok(Packed {
        images: index.samples.len(),
        shards: index.header.shards.len(),
        kept_shards,
        bytes,
        unreadable,
    })
}

impl PackOptions {
    fn validate(&self, pixels: PixelFormat) -> Result<(), DataError> {
        check_size((self.short_side_px, self.short_side_px))?;
        let refuse = |name, value: usize, bound: &str| {
            Err(DataError::Argument { name, value: value.to_string(), bound: bound.to_owned() })
        };
        self.store.validate(pixels)?;
        match (self.images_per_shard, self.threads) {
            (0, _) => refuse("images_per_shard", 0, "at least 1"),
            (_, 0) => refuse("threads", 0, "at least 1"),
            _ => Ok(()),
        }
    }
}

/// Holds the settings of an unfinished packing.
const SETTINGS_FILE: &str = ".packing";

/// Creates `out`, or checks that it contains an unfinished packing of the same folder with the same settings.
fn begin(folder: &ImageFolder, out: &Path, options: &PackOptions) -> Result<(), DataError> {
    let mut hasher = DefaultHasher::new();
    for index in 0..folder.len() {
        folder.relative_path(index).hash(&mut hasher);
    }
    let stored = match folder.pixels() {
        PixelFormat::Rgb8 => format!("{:?}", options.store),
        pixels => format!("{:?} of {pixels}", options.store),
    };
    let settings = format!(
        "{} px, {stored}, {} a shard, {} images, hash {:x}\n",
        options.short_side_px,
        options.images_per_shard,
        folder.len(),
        hasher.finish()
    );
    let failed = |source| DataError::Write { path: out.into(), source };
    fs::create_dir_all(out).map_err(failed)?;
    if fs::read_dir(out).map_err(failed)?.next().is_none() {
        return write(&out.join(SETTINGS_FILE), |file| file.write_all(settings.as_bytes()));
    }
    if Index::is_in(out) {
        return Err(refuse(out, "it holds packed images already".to_owned()));
    }
    match fs::read_to_string(out.join(SETTINGS_FILE)) {
        Ok(found) if found == settings => Ok(()),
        Ok(found) => Err(refuse(
            out,
            format!(
                "it holds an unfinished packing with other settings ({}, not {}): remove it to start again",
                found.trim(),
                settings.trim()
            ),
        )),
        Err(_) => Err(refuse(out, "it is not empty, and holds no unfinished packing".to_owned())),
    }
}

fn shard_file(number: usize) -> String {
    format!("images-{number:06}.tar")
}

fn finished_file(out: &Path, number: usize) -> PathBuf {
    out.join(format!(".{}.json", shard_file(number)))
}

/// Returns the entries of a shard that an earlier call finished, if the shard still has its length.
fn kept(out: &Path, number: usize) -> Option<Finished> {
    let finished: Finished = serde_json::from_slice(&fs::read(finished_file(out, number)).ok()?).ok()?;
    let length = fs::metadata(out.join(&finished.shard.file)).ok()?.len();
    (length == finished.shard.bytes).then_some(finished)
}

/// Packs `images` into a new tar file.
fn pack_shard(
    folder: &ImageFolder,
    out: &Path,
    number: usize,
    images: &[usize],
    options: &PackOptions,
    mut progress: impl FnMut(usize),
) -> Result<Finished, DataError> {
    /// The number of images per thread that may wait to be written.
    const AHEAD: usize = 8;
    let file = shard_file(number);
    let mut finished =
        Finished { shard: Shard { file, bytes: 0 }, samples: Vec::new(), unreadable: Vec::new() };
    let path = out.join(&finished.shard.file);
    let extension = options.store.extension();
    let mut error = None;
    write(&path, |file| {
        let mut tar = Tar::new(file);
        for (round, chunk) in images.chunks(AHEAD * options.threads).enumerate() {
            let contents = match contents_of(folder, chunk, options) {
                Ok(contents) => contents,
                Err(failed) => {
                    error = Some(failed);
                    return Err(std::io::ErrorKind::Other.into());
                }
            };
            for (&index, contents) in chunk.iter().zip(contents) {
                match contents {
                    Ok(contents) => {
                        let path = folder.relative_path(index).map_or_else(String::new, path_name).into();
                        let entry = format!("{index:08}.{extension}").into_boxed_str();
                        let offset = tar.append(&entry, &contents)?;
                        let (label, bytes) = (folder.label(index), contents.len() as u64);
                        if let Some(label) = label {
                            tar.append(&format!("{index:08}.cls"), label.to_string().as_bytes())?;
                        }
                        let shard = number as u32;
                        let checksum = None;
                        finished.samples.push(Sample {
                            index,
                            path,
                            label,
                            shard,
                            entry,
                            offset,
                            bytes,
                            checksum,
                        });
                    }
                    Err(error) => {
                        let (name, reason) = (folder.name(index), reason(&error));
                        finished.unreadable.push(BadFile { index, name, reason });
                    }
                }
            }
            progress((round * AHEAD * options.threads + chunk.len()).min(images.len()));
        }
        tar.finish()
    })
    .map_err(|failed| error.unwrap_or(failed))?;
    let failed = |source| DataError::Write { path: path.clone(), source };
    finished.shard.bytes = fs::metadata(&path).map_err(failed)?.len();
    write(&finished_file(out, number), |file| Ok(serde_json::to_writer(file, &finished)?))?;
    Ok(finished)
}

/// Encodes some images, in order.
fn contents_of(
    folder: &ImageFolder,
    images: &[usize],
    options: &PackOptions,
) -> Result<Vec<Result<Vec<u8>, DataError>>, DataError> {
    let next = &AtomicUsize::new(0);
    let work = move || {
        let places = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        let make = |place: usize| {
            let index = images[place];
            (
                place,
                without_panic(
                    || folder.name(index),
                    || options.store.file(folder.load(index)?, options.short_side_px, || folder.name(index)),
                ),
            )
        };
        places.take_while(|&place| place < images.len()).map(make).collect::<Vec<_>>()
    };
    let mut made = thread::scope(|scope| {
        let spawn = |number| {
            let builder = thread::Builder::new().name(format!("mae-pack-{number}"));
            builder.spawn_scoped(scope, work).map_err(|source| DataError::Workers { source })
        };
        let threads = (0..options.threads).map(spawn).collect::<Result<Vec<_>, _>>()?;
        let lost = |_| DataError::Workers { source: std::io::Error::other("a thread panicked") };
        let made = threads.into_iter().map(|thread| thread.join().map_err(lost));
        Ok::<_, DataError>(made.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect::<Vec<_>>())
    })?;
    made.sort_by_key(|(place, _)| *place);
    Ok(made.into_iter().map(|(_, contents)| contents).collect())
}

fn refuse(out: &Path, reason: String) -> DataError {
    DataError::PackInto { path: out.into(), reason }
}
