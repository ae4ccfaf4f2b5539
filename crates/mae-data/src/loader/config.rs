//! Configuration of a loader.

use std::num::NonZeroUsize;

use crate::BadFilePolicy;

/// Configuration of a [`Loader`](crate::Loader).
#[derive(Clone, Debug, PartialEq)]
pub struct LoaderConfig {
    /// The seed of every epoch's order and of every sample's augmentation.
    pub seed: u64,
    /// Samples per batch.
    pub batch_size: usize,
    /// Samples per image. Each image is decoded once and transformed `repeats` times. A batch holds
    /// `batch_size / repeats` images, and the samples of an image are adjacent.
    ///
    /// # Source
    /// Repeated augmentation, arXiv 1901.09335. As in MAE for video (arXiv 2205.09113), an epoch sees every image.
    pub repeats: usize,
    /// Number of threads that decode and transform.
    pub workers: usize,
    /// The number of batches that are ready or being made at any time, not counting those already returned.
    pub prefetch_batches: usize,
    /// Whether to drop the last batch if it is incomplete.
    pub drop_last: bool,
    /// How to treat images that cannot be read.
    pub bad_files: BadFilePolicy,
}

impl Default for LoaderConfig {
    /// Seed 0, 64 images per batch, one sample per image, one worker per core available to the process, and 2 batches
    /// ahead: one waits while the other is filled.
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
