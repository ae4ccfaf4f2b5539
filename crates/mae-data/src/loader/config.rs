//! How a loader works.

use std::num::NonZeroUsize;

use crate::BadFilePolicy;

/// How a [`Loader`](crate::Loader) works.
#[derive(Clone, Debug, PartialEq)]
pub struct LoaderConfig {
    /// What the order of an epoch and every sample's augmentation are drawn from.
    pub seed: u64,
    /// Samples in a batch.
    pub batch_size: usize,
    /// Samples made of each image: it is decoded once and transformed this many times, and a batch holds
    /// `batch_size / repeats` images, the samples of each one after the other.
    ///
    /// # Source
    /// Repeated augmentation, arXiv 1901.09335; as in MAE for video (arXiv 2205.09113), an epoch sees every image.
    pub repeats: usize,
    /// Threads that decode and transform.
    pub workers: usize,
    /// Batches that wait or are being made at any time, besides those that the caller has been given.
    pub prefetch_batches: usize,
    /// Whether a last batch that is not full is left out.
    pub drop_last: bool,
    /// What becomes of images that cannot be read.
    pub bad_files: BadFilePolicy,
}

impl Default for LoaderConfig {
    /// Seed 0, 64 images, one sample of each, a worker for each core that the process may use, 2 batches ahead:
    /// one is filled while one waits.
    fn default() -> Self {
        Self {
            seed: 0,
            batch_size: 64,
            repeats: 1,
            workers: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            prefetch_batches: 2,
            drop_last: true,
            bad_files: BadFilePolicy::default(),
        }
    }
}
