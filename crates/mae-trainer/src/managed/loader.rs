//! A run's updates as a data loader of Burn.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;

use crate::run::single;
use crate::{Run, TrainerError, Update, Updates};

/// The updates of a run. Each [`iter`](DataLoader::iter) gives those of one more epoch, the first time from wherever
/// the run goes on.
#[derive(Clone)]
pub struct UpdateLoader {
    run: Arc<Run>,
    /// The update that the next `iter` begins with.
    next: Arc<AtomicU64>,
    /// Why there are none, until someone asks for them.
    refused: Arc<Mutex<Option<TrainerError>>>,
}

impl UpdateLoader {
    /// Begins with update `step`, counted from 0.
    pub fn new(run: Arc<Run>, step: u64) -> Self {
        Self { run, next: Arc::new(AtomicU64::new(step)), refused: Arc::default() }
    }
}

/// What one of so many devices of this process takes of every update; burn-train averages their gradients.
fn part(run: &Run, device: usize, devices: usize) -> Result<Run, TrainerError> {
    let (ranks, rank) = (run.ranks().size(), run.ranks().rank());
    let sharer = (rank + ranks * device, ranks * devices);
    Run::assemble(&single(), sharer, &run.recipe, run.data.clone(), &run.path(""))
}

impl DataLoader<Update> for UpdateLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Update> + 'a> {
        let plan = &self.run.plan;
        let step = self.next.load(Ordering::SeqCst);
        let end = (plan.pace.position(step).0 + 1) * plan.pace.steps_per_epoch;
        self.next.store(end, Ordering::SeqCst);
        Box::new(Epoch { loader: self, updates: self.run.updates(), step, end })
    }

    fn num_items(&self) -> usize {
        let plan = &self.run.plan;
        plan.pace.steps_per_epoch as usize * plan.pace.effective_batch / plan.ranks
    }

    /// Updates hold bytes; they go to the model's device as they are used.
    fn to_device(&self, _: &Device) -> Arc<dyn DataLoader<Update>> {
        Arc::new(self.clone())
    }

    /// One device's part of every update; burn-train asks for equal parts of all images, the last with their rest.
    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<Update>> {
        let items = self.num_items();
        let devices = items / (end - start).clamp(1, items);
        let device = (start * devices).div_ceil(items).min(devices - 1);
        let next = self.next.load(Ordering::SeqCst);
        Arc::new(match part(&self.run, device, devices) {
            Ok(part) => Self::new(Arc::new(part), next),
            // The trait knows an error only where there would be an update.
            Err(error) => Self { refused: Arc::new(Mutex::new(Some(error))), ..self.clone() },
        })
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

impl DataLoaderIterator<Update> for Epoch<'_> {
    fn progress(&self) -> Progress {
        let plan = &self.loader.run.plan;
        let done = plan.pace.steps_per_epoch - (self.end - self.step);
        let items = |steps: u64| steps as usize * plan.pace.effective_batch / plan.ranks;
        Progress::new(items(done), items(plan.pace.steps_per_epoch), Some("images".into()))
    }
}
