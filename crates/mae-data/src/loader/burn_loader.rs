//! Wraps a [`Loader`] as Burn's `DataLoader`, for your own training loop or a `burn-train` learner.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;

use crate::{Batch, Batches, DataError, Loader};

/// A [`Loader`] as Burn's `DataLoader`: each [`iter`](DataLoader::iter) yields the next epoch, in a new order.
///
/// Its items and its progress are counted in images. A slice has a part of every epoch's order, so the slices of
/// several devices together see each image of an epoch once. The README of this crate has a training loop with it.
pub struct BurnLoader<O> {
    loader: Loader,
    device: Device,
    batcher: Batcher<O>,
    /// Its positions in the order of an epoch.
    places: Range<usize>,
    next_epoch: AtomicU64,
}

/// Converts a batch to a model's input on a device.
type Batcher<O> = Arc<dyn Fn(Batch, &Device) -> O + Send + Sync>;

impl<O> BurnLoader<O> {
    /// Starts at epoch 0. `batcher` converts each batch to the model's input.
    pub fn new(
        loader: Loader,
        device: &Device,
        batcher: impl Fn(Batch, &Device) -> O + Send + Sync + 'static,
    ) -> Self {
        let places = 0..loader.num_images();
        Self {
            loader,
            device: device.clone(),
            batcher: Arc::new(batcher),
            places,
            next_epoch: AtomicU64::new(0),
        }
    }

    /// Sets the epoch of the next [`iter`](DataLoader::iter), to resume training.
    #[must_use]
    pub fn with_epoch(self, epoch: u64) -> Self {
        Self { next_epoch: AtomicU64::new(epoch), ..self }
    }

    /// The same loader for other positions or another device.
    fn with(&self, device: &Device, places: Range<usize>) -> Self {
        Self {
            loader: self.loader.clone(),
            device: device.clone(),
            batcher: self.batcher.clone(),
            places,
            next_epoch: AtomicU64::new(self.next_epoch.load(Ordering::SeqCst)),
        }
    }
}

impl<O: 'static> DataLoader<O> for BurnLoader<O> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<O> + 'a> {
        let epoch = self.next_epoch.fetch_add(1, Ordering::SeqCst);
        let indices = self.loader.order(epoch)[self.places.clone()].to_vec();
        let (batches, failed) = match self.loader.batches(epoch, indices, 0) {
            Ok(batches) => (Some(batches), None),
            Err(error) => (None, Some(error)),
        };
        Box::new(Epoch { loader: self, batches, failed, done: 0 })
    }

    fn num_items(&self) -> usize {
        // The last incomplete batch may be dropped.
        let batches = self.loader.num_batches(self.places.len());
        self.places.len().min(batches * self.loader.images_per_batch())
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<O>> {
        Arc::new(self.with(device, self.places.clone()))
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<O>> {
        let within = |place: usize| (self.places.start + place).min(self.places.end);
        Arc::new(self.with(&self.device, within(start)..within(end)))
    }
}

/// The iterator over an epoch.
struct Epoch<'a, O> {
    loader: &'a BurnLoader<O>,
    batches: Option<Batches>,
    /// Why there are no batches, until the error is returned.
    failed: Option<DataError>,
    /// Number of images delivered.
    done: usize,
}

impl<O: 'static> Iterator for Epoch<'_, O> {
    type Item = Result<O, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.failed.take() {
            return Some(Err(DatasetError::new(error)));
        }
        let batch = match self.batches.as_mut()?.next()? {
            Ok(batch) => batch,
            Err(error) => return Some(Err(DatasetError::new(error))),
        };
        let loader = &self.loader;
        self.done = (self.done + loader.loader.images_per_batch()).min(loader.num_items());
        Some(Ok((loader.batcher)(batch, &loader.device)))
    }
}

impl<O: 'static> DataLoaderIterator<O> for Epoch<'_, O> {
    fn progress(&self) -> Progress {
        Progress::new(self.done, self.loader.num_items(), Some("images".into()))
    }
}
