//! Examines a folder of images before anything is trained on it: decodes every file once and reports what it found.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crossbeam_channel::bounded;

use super::advice::warnings;
use super::pixels::PixelSums;
use super::report::{DataReport, DuplicateGroup, FoundImage};
use crate::loader::bad::reason;
use crate::loader::worker::without_panic;
use crate::{BadFile, DataError, ImageFolder, ImageSource, path_name};

/// How a folder is examined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doctor {
    /// Threads that decode.
    pub threads: usize,
    /// The (height, width) in pixels that images will be resized to, if it is known: smaller images are counted.
    pub image_size: Option<(usize, usize)>,
}

impl Default for Doctor {
    /// A thread for each core that the process may use, no image size.
    fn default() -> Self {
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self { threads, image_size: None }
    }
}

impl Doctor {
    /// Decodes every image of `folder` as training would, and calls `progress(done, total)` on the caller's thread
    /// after each file.
    ///
    /// - A file that cannot be read is counted and named, and the examination goes on.
    /// - Images are duplicates if their decoded pixels are equal, in whatever format and with whatever metadata they
    ///   are stored; files of the same bytes are among them. Pixels are compared by size and a 64-bit hash: that a
    ///   million different images have one false pair among them has a probability below 1 in 10 million.
    /// - Means and deviations are those of all pixels of all readable images at their own size, so that a large
    ///   image weighs more than a small one. Sums are kept in integers: the report is the same, to the last bit, for
    ///   any number of threads.
    ///
    /// Memory: a decoded image and its file for each thread, 24 bytes for each file, and the names of the unreadable
    /// and the duplicate ones.
    ///
    /// # Errors
    /// [`DataError::Argument`] for no thread, [`DataError::Image`] for an image size with a 0; [`DataError::Folder`] if the folder may not
    /// be listed any more; [`DataError::Workers`] if the system refuses a thread.
    pub fn examine(
        &self,
        folder: &ImageFolder,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<DataReport, DataError> {
        if self.threads == 0 {
            let (value, bound) = (0.to_string(), "at least 1".to_owned());
            return Err(DataError::Argument { name: "threads", value, bound });
        }
        self.image_size.map_or(Ok(()), mae_image::check_size)?;

        let total = folder.len();
        let mut images: Vec<Option<FoundImage>> = vec![None; total];
        let mut formats = BTreeMap::new();
        let mut pixels = PixelSums::default();
        let mut unreadable = Vec::new();

        let next = &AtomicUsize::new(0);
        thread::scope(|scope| {
            let (sender, results) = bounded(self.threads);
            for number in 0..self.threads.min(total) {
                let sender = sender.clone();
                let work = move || {
                    let indices = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
                    for index in indices.take_while(|&index| index < total) {
                        let measured = without_panic(|| folder.name(index), || measure(folder, index));
                        if sender.send((index, measured)).is_err() {
                            // Another thread could not be started: nobody asks any more.
                            return;
                        }
                    }
                };
                let builder = thread::Builder::new().name(format!("mae-doctor-{number}"));
                builder.spawn_scoped(scope, work).map_err(|source| DataError::Workers { source })?;
            }
            drop(sender);
            for (done, (index, measured)) in results.iter().enumerate() {
                match measured {
                    Ok(measured) => {
                        images[index] = Some(measured.image);
                        *formats.entry(measured.format).or_insert(0) += 1;
                        pixels.add(&measured.pixels);
                    }
                    Err(error) => {
                        let (name, reason) = (folder.name(index), reason(&error));
                        unreadable.push(BadFile { index, name, reason });
                    }
                }
                progress(done + 1, total);
            }
            Ok::<(), DataError>(())
        })?;

        unreadable.sort_unstable_by_key(|file: &BadFile| file.index);
        let duplicates = duplicates(folder, &images);
        let sizes = images.iter().flatten().map(|image| (image.height as usize, image.width as usize));
        let sizes = sizes.collect();
        let mut report =
            DataReport::new(folder, &images, self.image_size, formats, pixels, duplicates, unreadable)?;
        report.warnings = warnings(&report, folder, sizes);
        Ok(report)
    }
}

/// What one image adds to the report.
struct Measured {
    image: FoundImage,
    format: &'static str,
    pixels: PixelSums,
}

fn measure(folder: &ImageFolder, index: usize) -> Result<Measured, DataError> {
    let (image, format) = folder.load_with_format(index)?;
    let image = image.into_u8()?;
    // Its keys are fixed, so that equal pixels have equal hashes on every thread.
    let mut hasher = DefaultHasher::new();
    hasher.write(image.data());
    let (height, width) = (image.height() as u32, image.width() as u32);
    let (pixels, _) = image.data().as_chunks();
    let grey = pixels.iter().all(|[red, green, blue]| red == green && green == blue);
    let found = FoundImage { height, width, hash: hasher.finish(), grey };
    Ok(Measured { image: found, format, pixels: PixelSums::of(image.data()) })
}

/// Groups of at least two images of equal pixels, sorted as the folder is.
fn duplicates(folder: &ImageFolder, images: &[Option<FoundImage>]) -> Vec<DuplicateGroup> {
    let found = images.iter().enumerate().filter_map(|(index, image)| Some(((*image)?, index)));
    let mut found: Vec<(FoundImage, usize)> = found.collect();
    found.sort_unstable();
    let mut groups: Vec<&[(FoundImage, usize)]> =
        found.chunk_by(|a, b| a.0 == b.0).filter(|group| group.len() > 1).collect();
    groups.sort_unstable_by_key(|group| group[0].1);
    let name = |&(_, index): &(_, usize)| folder.relative_path(index).map_or_else(String::new, path_name);
    let group = |group: &[(FoundImage, usize)]| {
        let mut labels: Vec<_> = group.iter().filter_map(|&(_, index)| folder.labels(index)).collect();
        labels.dedup();
        DuplicateGroup { files: group.iter().map(name).collect(), across_classes: labels.len() > 1 }
    };
    groups.into_iter().map(group).collect()
}
