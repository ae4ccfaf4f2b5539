//! Examines a folder of images before training: decodes every file once and reports what it finds.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::num::NonZeroUsize;
use std::path::Path;
use std::thread;

use crossbeam_channel::bounded;
use mae_image::of_any;

use super::advice::{sub_folders_of_classes, warnings};
use super::report::{DataReport, DuplicateGroup, FoundImage};
use crate::loader::bad::reason;
use crate::loader::worker::without_panic;
use crate::statistics::InOrder;
use crate::{
    AnyImage, BadFile, DataError, Image, ImageFolder, ImageSource, Pixel, PixelStatistics, path_name,
};

/// Options for examining a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doctor {
    /// Number of threads that decode.
    pub threads: usize,
    /// The (height, width) in pixels to which images will be resized, if known. Smaller images are counted.
    pub image_size: Option<(usize, usize)>,
}

impl Default for Doctor {
    /// One thread per core available to the process, no image size.
    fn default() -> Self {
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self { threads, image_size: None }
    }
}

/// The number of files per thread that may be measured ahead of an earlier file.
const AHEAD: usize = 32;

impl Doctor {
    /// Decodes every image of a folder as training would. Calls `progress(done, total)` on the caller's thread after
    /// each file.
    ///
    /// - A file that cannot be read is counted and named, and the examination continues.
    /// - Images are duplicates if their decoded pixels are equal, regardless of file format and metadata. This includes
    ///   byte-identical files. Pixels are compared by size and a 64-bit hash: the probability of a single false pair
    ///   among a million different images is below 1 in 10 million.
    /// - Means, deviations and ranges cover all pixels of all readable images at their own size, so a large image
    ///   weighs more than a small one. They are added in the order of the files, so the report is bit-identical for any
    ///   number of threads.
    ///
    /// Memory: for each thread a decoded image, its file, and 56 bytes per channel of 32 images; 24 bytes per file, and
    /// 32 more while duplicates are grouped; and the names of the unreadable and the duplicate files.
    ///
    /// # Errors
    /// [`DataError::Argument`] for 0 threads, [`DataError::Image`] for an image size with a 0; [`DataError::Folder`] if
    /// the folder can no longer be listed; [`DataError::Workers`] if the system refuses a thread.
    pub fn examine(
        &self,
        folder: &ImageFolder,
        progress: impl FnMut(usize, usize),
    ) -> Result<DataReport, DataError> {
        let name = |index| folder.relative_path(index).map_or_else(String::new, path_name);
        let (mut report, sizes) = self.measure(folder, (folder.root(), &name), progress)?;
        report.table_rows = folder.table_rows();
        report.unused_tables = folder.unused_tables()?;
        report.empty_folders = folder.empty_folders()?;
        report.warnings = warnings(&report, folder, sub_folders_of_classes(folder), sizes);
        Ok(report)
    }

    /// Like [`examine`](Self::examine), for the images of any source, such as a table or packed shards. `path` is its
    /// name in the report.
    ///
    /// # Errors
    /// Those of [`examine`](Self::examine).
    pub fn examine_source(
        &self,
        source: &dyn ImageSource,
        path: &Path,
        progress: impl FnMut(usize, usize),
    ) -> Result<DataReport, DataError> {
        let (mut report, sizes) = self.measure(source, (path, &|index| source.name(index)), progress)?;
        report.warnings = warnings(&report, source, 0, sizes);
        Ok(report)
    }

    /// Returns a report without warnings, and the sizes of the images. `path` is the root in the report, and `name`
    /// gives the names of duplicates.
    fn measure(
        &self,
        source: &dyn ImageSource,
        (path, name): (&Path, &dyn Fn(usize) -> String),
        mut progress: impl FnMut(usize, usize),
    ) -> Result<(DataReport, Vec<(usize, usize)>), DataError> {
        if self.threads == 0 {
            let (value, bound) = (0.to_string(), "at least 1".to_owned());
            return Err(DataError::Argument { name: "threads", value, bound });
        }
        self.image_size.map_or(Ok(()), mae_image::check_size)?;

        let total = source.len();
        let mut images: Vec<Option<FoundImage>> = vec![None; total];
        let mut formats = BTreeMap::new();
        let mut pixels = InOrder::default();
        let mut unreadable = Vec::new();

        // Statistics are added in the order of the files. This bounds how far threads get ahead of the slowest file.
        let ahead = AHEAD.saturating_mul(self.threads.min(total));
        thread::scope(|scope| {
            let (jobs, indices) = bounded(ahead);
            let (sender, results) = bounded(ahead);
            for number in 0..self.threads.min(total) {
                let (indices, sender) = (indices.clone(), sender.clone());
                let work = move || {
                    for index in indices {
                        let measured = without_panic(|| source.name(index), || measure(source, index));
                        if sender.send((index, measured)).is_err() {
                            // Another thread could not be started, so the receiver is gone.
                            return;
                        }
                    }
                };
                let builder = thread::Builder::new().name(format!("mae-doctor-{number}"));
                builder.spawn_scoped(scope, work).map_err(|source| DataError::Workers { source })?;
            }
            drop(sender);
            let mut given = 0;
            for done in 0..total {
                while given < total.min(pixels.next.saturating_add(ahead)) {
                    // The queue has room for all files ahead, and its receiver outlives this loop.
                    let _ = jobs.send(given);
                    given += 1;
                }
                let Ok((index, measured)) = results.recv() else { break };
                let statistics = match measured {
                    Ok(measured) => {
                        images[index] = Some(measured.image);
                        if let Some(format) = measured.format {
                            *formats.entry(format).or_insert(0) += 1;
                        }
                        Some(measured.pixels)
                    }
                    Err(error) => {
                        let (name, reason) = (source.name(index), reason(&error));
                        unreadable.push(BadFile { index, name, reason });
                        None
                    }
                };
                pixels.put(index, statistics)?;
                progress(done + 1, total);
            }
            Ok::<(), DataError>(())
        })?;

        unreadable.sort_unstable_by_key(|file: &BadFile| file.index);
        let duplicates = duplicates(source, name, &images);
        let sizes = images.iter().flatten().map(|image| (image.height as usize, image.width as usize));
        let sizes = sizes.collect();
        let mut report = DataReport::new(source, path, &images, self.image_size, pixels.sum);
        (report.formats, report.duplicates, report.unreadable) = (formats, duplicates, unreadable);
        Ok((report, sizes))
    }
}

/// The contribution of one image to the report.
struct Measured {
    image: FoundImage,
    format: Option<&'static str>,
    pixels: PixelStatistics,
}

fn measure(source: &dyn ImageSource, index: usize) -> Result<Measured, DataError> {
    let encoded = source.open(index)?;
    let format = encoded.file_format();
    let image = encoded.decode()?;
    let (height, width) = (image.height() as u32, image.width() as u32);
    let found = FoundImage { height, width, hash: hash(&image), grey: is_grey(&image) };
    Ok(Measured { image: found, format, pixels: PixelStatistics::of(&image) })
}

/// Hashes the bytes of the pixel values. The keys are fixed, so equal pixels have equal hashes on every thread.
fn hash(image: &AnyImage) -> u64 {
    fn write<T: Pixel>(image: &Image<T>, hasher: &mut DefaultHasher) {
        let mut row = vec![0; image.width() * image.channels() * T::TYPE.bytes()];
        for numbers in image.data().chunks_exact(image.width() * image.channels()) {
            let into = row.chunks_exact_mut(T::TYPE.bytes());
            into.zip(numbers).for_each(|(into, number)| number.write(into));
            hasher.write(&row);
        }
    }
    let mut hasher = DefaultHasher::new();
    of_any!(image, image => write(image, &mut hasher));
    hasher.finish()
}

/// Whether an image is 8-bit RGB with equal channels.
fn is_grey(image: &AnyImage) -> bool {
    let AnyImage::U8(image) = image else { return false };
    let (pixels, _) = image.data().as_chunks();
    image.channels() == 3 && pixels.iter().all(|[red, green, blue]| red == green && green == blue)
}

/// Groups of two or more images with equal pixels, in the order of the source.
fn duplicates(
    source: &dyn ImageSource,
    name: &dyn Fn(usize) -> String,
    images: &[Option<FoundImage>],
) -> Vec<DuplicateGroup> {
    let found = images.iter().enumerate().filter_map(|(index, image)| Some(((*image)?, index)));
    let mut found: Vec<(FoundImage, usize)> = found.collect();
    found.sort_unstable();
    let mut groups: Vec<&[(FoundImage, usize)]> =
        found.chunk_by(|a, b| a.0 == b.0).filter(|group| group.len() > 1).collect();
    groups.sort_unstable_by_key(|group| group[0].1);
    let group = |group: &[(FoundImage, usize)]| {
        let mut labels: Vec<_> = group.iter().filter_map(|&(_, index)| source.labels(index)).collect();
        labels.dedup();
        DuplicateGroup {
            files: group.iter().map(|&(_, index)| name(index)).collect(),
            across_classes: labels.len() > 1,
        }
    };
    groups.into_iter().map(group).collect()
}
