//! A run's updates as a data loader of Burn.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;

use crate::{Pretrain, Run, TrainerError, Update, Updates};

/// The updates of a run. Each [`iter`](DataLoader::iter) returns those of the next epoch; the first call begins where
/// the run continues.
#[derive(Clone)]
pub struct UpdateLoader {
    run: Arc<Run<Pretrain>>,
    /// The update that the next `iter` begins with.
    next: Arc<AtomicU64>,
    /// The error that replaces the updates, until an iterator returns it.
    refused: Arc<Mutex<Option<TrainerError>>>,
}

impl UpdateLoader {
    /// Begins with update `step`, counted from 0.
    pub fn new(run: Arc<Run<Pretrain>>, step: u64) -> Self {
        Self { run, next: Arc::new(AtomicU64::new(step)), refused: Arc::default() }
    }
}

impl DataLoader<Update<Pretrain>> for UpdateLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Update<Pretrain>> + 'a> {
        let pace = &self.run.pace;
        let step = self.next.load(Ordering::SeqCst);
        let end = (pace.position(step).0 + 1) * pace.steps_per_epoch;
        self.next.store(end, Ordering::SeqCst);
        Box::new(Epoch { loader: self, updates: self.run.updates(), step, end })
    }

    fn num_items(&self) -> usize {
        let pace = &self.run.pace;
        pace.steps_per_epoch as usize * pace.effective_batch / self.run.settings.train.ranks
    }

    /// Updates contain bytes, which move to the model's device when they are used.
    fn to_device(&self, _: &Device) -> Arc<dyn DataLoader<Update<Pretrain>>> {
        Arc::new(self.clone())
    }

    /// One device's part of every update. burn-train requests equal slices of all images; the last one includes the
    /// remainder.
    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<Update<Pretrain>>> {
        let items = self.num_items();
        let devices = items / (end - start).clamp(1, items);
        let device = (start * devices).div_ceil(items).min(devices - 1);
        let next = self.next.load(Ordering::SeqCst);
        // The part of every update that one of this process's devices takes; burn-train averages their gradients.
        let (ranks, rank) = (self.run.ranks().size(), self.run.ranks().rank());
        Arc::new(match self.run.part(rank + ranks * device, ranks * devices) {
            Ok(part) => Self::new(Arc::new(part), next),
            // The trait can return an error only in place of an update.
            Err(error) => Self { refused: Arc::new(Mutex::new(Some(error))), ..self.clone() },
        })
    }
}

/// The updates of one epoch.
struct Epoch<'a> {
    loader: &'a UpdateLoader,
    updates: Updates<'a, Pretrain>,
    step: u64,
    end: u64,
}

impl Iterator for Epoch<'_> {
    type Item = Result<Update<Pretrain>, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.loader.refused.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Some(Err(DatasetError::new(error)));
        }
        if self.step == self.end {
            return None;
        }
        self.step += 1;
        Some(self.updates.at(self.step - 1).map_err(DatasetError::new))
    }
}

impl DataLoaderIterator<Update<Pretrain>> for Epoch<'_> {
    fn progress(&self) -> Progress {
        let (pace, ranks) = (&self.loader.run.pace, self.loader.run.settings.train.ranks);
        let done = pace.steps_per_epoch - (self.end - self.step);
        let items = |steps: u64| steps as usize * pace.effective_batch / ranks;
        Progress::new(items(done), items(pace.steps_per_epoch), Some("images".into()))
    }
}
