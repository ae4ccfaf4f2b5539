//! Loads batches of a data set ahead of time with several threads.

use std::sync::Arc;

use crate::loader::bad::BadFiles;
use crate::loader::sampler::shuffled;
use crate::loader::worker::Work;
use crate::{BadFile, Batches, DataError, ImageSource, LoaderConfig, Transform};

/// Loads batches of a data set.
///
/// - Batches follow the order of the requested indices. A sample is a pure function of (seed, pass, its index in
///   [`Batch::indices`](crate::Batch::indices)). Neither depends on the number of workers or on the batch at which an
///   epoch was resumed. The pass is the epoch. With `repeats`, the i-th sample of an image in epoch e belongs to pass
///   `e * repeats + i`, so one epoch has the samples of `repeats` epochs without repetition.
/// - A bad file is replaced by a random image of the whole data set, drawn from the (seed, pass, index) of the bad one.
///   `Batch::indices` and the labels are those of the substitute. If the epoch contains the substitute at its own
///   position too, both samples are the same view. Masks keyed by these indices are pure functions in the same way.
///   Every epoch tries bad files again, so a file that becomes readable is used.
/// - Memory: `prefetch_batches` batches and, for each worker, one decoded image, two copies of its samples, and the
///   buffers of its decoder and transform. The batches that the caller holds are not included.
#[derive(Clone)]
pub struct Loader {
    source: Arc<dyn ImageSource>,
    transform: Arc<dyn Transform>,
    config: LoaderConfig,
    bad_files: BadFiles,
}

impl Loader {
    /// Creates a loader. Checks everything that can be checked before reading an image.
    ///
    /// # Errors
    /// [`DataError::Argument`] if a number in `config` is 0, if a batch exceeds any possible memory, if the share of
    /// bad files is not between 0 and 1, if the data set has more images than 32 bits can count, or if the transform
    /// uses [label maps](crate::Transform::joint) but the data set has none or has pixels that the transform does not
    /// support; [`DataError::BatchLargerThanSet`] if the data set is empty, or is smaller than one batch and
    /// `drop_last` is set.
    pub fn new(
        source: Arc<dyn ImageSource>,
        transform: Arc<dyn Transform>,
        config: LoaderConfig,
    ) -> Result<Self, DataError> {
        let numbers = [
            ("batch_size", config.batch_size),
            ("repeats", config.repeats),
            ("workers", config.workers),
            ("prefetch_batches", config.prefetch_batches),
            ("channels", source.pixels().channels()),
        ];
        if let Some((name, _)) = numbers.into_iter().find(|&(_, value)| value == 0) {
            return Err(argument(name, 0, "at least 1"));
        }
        if !config.batch_size.is_multiple_of(config.repeats) {
            let bound = format!("a multiple of the {} samples of each image", config.repeats);
            return Err(argument("batch_size", config.batch_size, &bound));
        }
        config.bad_files.validate()?;
        let (height, width) = transform.output_size();
        let pixels = source.pixels();
        let (sides, each) = ([pixels.channels(), height, width], pixels.pixel_type());
        let one = sides.iter().try_fold(each.bytes(), |bytes, &side| bytes.checked_mul(side));
        let bytes = one.and_then(|one| one.checked_mul(config.batch_size));
        if bytes.is_none_or(|bytes| bytes > isize::MAX as usize) {
            let bound = format!("few enough for the memory, at {sides:?} values of {each} per image");
            return Err(argument("batch_size", config.batch_size, &bound));
        }
        if u32::try_from(source.len()).is_err() {
            return Err(argument("data set length", source.len(), &format!("at most {}", u32::MAX)));
        }
        if let Some(joint) = transform.joint() {
            if !source.has_label_maps() {
                let (name, value) = ("the data set", "one without label maps".to_owned());
                let bound = "one with a label map for each image, as the transform needs".to_owned();
                return Err(DataError::Argument { name, value, bound });
            }
            joint.check(pixels)?;
        }
        let loader = Self { source, transform, config, bad_files: BadFiles::default() };
        loader.check_fills_a_batch(loader.source.len())?;
        Ok(loader)
    }

    /// The number of images in the data set.
    #[must_use]
    pub fn num_images(&self) -> usize {
        self.source.len()
    }

    /// The number of images in a full batch. Each gives [`LoaderConfig::repeats`] samples.
    #[must_use]
    pub fn images_per_batch(&self) -> usize {
        self.config.batch_size / self.config.repeats
    }

    /// The order of the whole data set in an epoch, as indices.
    #[must_use]
    pub fn order(&self, epoch: u64) -> Vec<usize> {
        shuffled(self.source.len(), self.config.seed, epoch)
    }

    /// The number of batches in an epoch of `images` images.
    #[must_use]
    pub fn num_batches(&self, images: usize) -> usize {
        let size = self.images_per_batch();
        if self.config.drop_last { images / size } else { images.div_ceil(size) }
    }

    /// Starts loading the batches of one epoch: the whole data set, in a new random order for each epoch.
    ///
    /// # Errors
    /// [`DataError::Workers`] if the system refuses a thread.
    pub fn epoch(&self, epoch: u64) -> Result<Batches, DataError> {
        self.batches(epoch, self.order(epoch), 0)
    }

    /// Starts loading the batches of the images `indices`, in that order and from batch `start_batch` on. The indices
    /// may be a rank's share of an epoch from [`DistributedSampler`](crate::DistributedSampler). Skipped batches cost
    /// nothing.
    ///
    /// # Errors
    /// [`DataError::BatchLargerThanSet`] if there are no indices, or fewer than one batch needs and `drop_last` is set;
    /// [`DataError::Index`] for an index past the end of the data set; [`DataError::Argument`] for a `start_batch` past
    /// the end of the epoch; [`DataError::Workers`] if the system refuses a thread.
    pub fn batches(&self, epoch: u64, indices: Vec<usize>, start_batch: usize) -> Result<Batches, DataError> {
        self.check_fills_a_batch(indices.len())?;
        let len = self.source.len();
        if let Some(&index) = indices.iter().find(|&&index| index >= len) {
            return Err(DataError::Index { index, len });
        }
        let num_batches = self.num_batches(indices.len());
        if start_batch > num_batches {
            let bound = format!("at most {num_batches}, the batches of the epoch");
            return Err(argument("start_batch", start_batch, &bound));
        }
        let work = Work {
            source: Arc::clone(&self.source),
            transform: Arc::clone(&self.transform),
            policy: self.config.bad_files,
            pixels: self.source.pixels(),
            repeats: self.config.repeats,
            seed: self.config.seed,
            epoch,
        };
        Batches::start(work, &self.config, self.bad_files.clone(), indices, start_batch..num_batches)
    }

    /// The images that could not be read and were replaced so far, each once, in the order in which they were found.
    ///
    /// A bad image is recorded when the batch that requested it is returned, so the list does not depend on the workers
    /// either. Each rank has its own list, and compares its length with that of the whole data set.
    #[must_use]
    pub fn bad_files(&self) -> Vec<BadFile> {
        self.bad_files.files()
    }

    fn check_fills_a_batch(&self, len: usize) -> Result<(), DataError> {
        if self.num_batches(len) == 0 {
            let batch_size = self.images_per_batch();
            return Err(DataError::BatchLargerThanSet { batch_size, len });
        }
        Ok(())
    }
}

fn argument(name: &'static str, value: usize, bound: &str) -> DataError {
    DataError::Argument { name, value: value.to_string(), bound: bound.to_owned() }
}
