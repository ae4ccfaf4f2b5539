//! A run's updates as a data loader of Burn.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;

use crate::{Run, Update, Updates};

/// The updates of a run. Each [`iter`](DataLoader::iter) gives those of one more epoch, the first time from wherever
/// the run goes on.
#[derive(Clone)]
pub struct UpdateLoader {
    run: Arc<Run>,
    /// The update that the next `iter` begins with.
    next: Arc<AtomicU64>,
}

impl UpdateLoader {
    /// Begins with update `step`, counted from 0.
    pub fn new(run: Arc<Run>, step: u64) -> Self {
        Self { run, next: Arc::new(AtomicU64::new(step)) }
    }
}

impl DataLoader<Update> for UpdateLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Update> + 'a> {
        let plan = &self.run.plan;
        let step = self.next.load(Ordering::SeqCst);
        let end = (plan.position(step).0 + 1) * plan.steps_per_epoch;
        self.next.store(end, Ordering::SeqCst);
        Box::new(Epoch { loader: self, updates: self.run.updates(), step, end })
    }

    fn num_items(&self) -> usize {
        self.run.plan.steps_per_epoch as usize * self.run.plan.effective_batch
    }

    /// Updates hold bytes; they go to the model's device as they are used.
    fn to_device(&self, _: &Device) -> Arc<dyn DataLoader<Update>> {
        Arc::new(self.clone())
    }

    /// The updates of a run are not divided: its order is what makes it repeatable.
    fn slice(&self, _: usize, _: usize) -> Arc<dyn DataLoader<Update>> {
        Arc::new(self.clone())
    }
}

/// The updates of one epoch.
struct Epoch<'a> {
    loader: &'a UpdateLoader,
    updates: Updates<'a>,
    step: u64,
    end: u64,
}

impl Iterator for Epoch<'_> {
    type Item = Result<Update, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.step == self.end {
            return None;
        }
        self.step += 1;
        Some(self.updates.at(self.step - 1).map_err(DatasetError::new))
    }
}

impl DataLoaderIterator<Update> for Epoch<'_> {
    fn progress(&self) -> Progress {
        let plan = &self.loader.run.plan;
        let done = plan.steps_per_epoch - (self.end - self.step);
        let items = |steps: u64| steps as usize * plan.effective_batch;
        Progress::new(items(done), items(plan.steps_per_epoch), Some("images".into()))
    }
}
