//! A [`Loader`] as Burn's `DataLoader`, for a training loop or a `burn-train` learner of one's own.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;

use crate::{Batch, Batches, DataError, Loader};

/// A [`Loader`] as Burn's `DataLoader`: each [`iter`](DataLoader::iter) goes through one more epoch, in an order of its own.
///
/// It counts images, of which an item is. A slice has a part of every epoch's order, so that the slices of several devices see all
/// images of an epoch between them, each image once.
/// This crate's README has a training loop on it.
pub struct BurnLoader<O> {
    loader: Loader,
    device: Device,
    batcher: Batcher<O>,
    /// The places in an epoch's order that are its own.
    places: Range<usize>,
    next_epoch: AtomicU64,
}

/// Makes of a batch what a model takes, on a device.
type Batcher<O> = Arc<dyn Fn(Batch, &Device) -> O + Send + Sync>;

impl<O> BurnLoader<O> {
    /// Begins with epoch 0. `batcher` makes of each batch what the model takes.
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

    /// The epoch that the next [`iter`](DataLoader::iter) goes through, to continue a training.
    #[must_use]
    pub fn with_epoch(self, epoch: u64) -> Self {
        Self { next_epoch: AtomicU64::new(epoch), ..self }
    }

    /// The same for other places or another device.
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
        // A rest that fills no batch may be left out.
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

/// An epoch on its way.
struct Epoch<'a, O> {
    loader: &'a BurnLoader<O>,
    batches: Option<Batches>,
    /// Why there are no batches, until it is told.
    failed: Option<DataError>,
    /// Images delivered.
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
