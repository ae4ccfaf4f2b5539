//! The batches of one epoch, in order, from the worker threads.

use std::collections::VecDeque;
use std::io;
use std::iter::FusedIterator;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::loader::bad::BadFiles;
use crate::loader::batch::{Filled, Filling};
use crate::loader::worker::{Task, Work};
use crate::{Batch, DataError, LoaderConfig};

/// An iterator over the batches of one epoch, created by [`Loader::epoch`](crate::Loader::epoch) and
/// [`Loader::batches`](crate::Loader::batches).
///
/// It ends after an error. Dropping it stops the workers after their current sample.
pub struct Batches {
    work: Arc<Work>,
    batch_size: usize,
    bad_files: BadFiles,
    indices: Vec<usize>,
    /// The batches that have not been sent to the workers.
    ahead: Range<usize>,
    /// The batches that have been sent to the workers, in order.
    pending: VecDeque<Receiver<Filled>>,
    /// The queue of the workers. It is closed when no batch is left, which ends them.
    tasks: Option<Sender<Task>>,
    stopped: Arc<AtomicBool>,
    workers: Vec<JoinHandle<()>>,
    started: Instant,
    elapsed: Duration,
    waiting: Duration,
}

impl Batches {
    pub(crate) fn start(
        work: Work,
        config: &LoaderConfig,
        bad_files: BadFiles,
        indices: Vec<usize>,
        ahead: Range<usize>,
    ) -> Result<Self, DataError> {
        let (sender, tasks) = unbounded();
        let mut batches = Self {
            work: Arc::new(work),
            batch_size: config.batch_size,
            bad_files,
            indices,
            ahead,
            pending: VecDeque::new(),
            tasks: Some(sender),
            stopped: Arc::new(AtomicBool::new(false)),
            workers: Vec::new(),
            started: Instant::now(),
            elapsed: Duration::ZERO,
            waiting: Duration::ZERO,
        };
        for number in 0..config.workers {
            let (work, tasks, stopped) =
                (Arc::clone(&batches.work), tasks.clone(), Arc::clone(&batches.stopped));
            let worker = thread::Builder::new()
                .name(format!("mae-data-{number}"))
                .spawn(move || work.run(&tasks, &stopped))
                .map_err(|source| DataError::Workers { source })?;
            batches.workers.push(worker);
        }
        for _ in 0..config.prefetch_batches {
            batches.order_next();
        }
        Ok(batches)
    }

    /// How long [`next`](Iterator::next) has waited for workers, including for the first batch.
    #[must_use]
    pub fn waiting(&self) -> Duration {
        self.waiting
    }

    /// [`waiting`](Self::waiting) as a share of the time from the start of the epoch to the last `next`: 0 if the
    /// workers are always ahead, near 1 if the caller does nothing but wait.
    #[must_use]
    pub fn waiting_share(&self) -> f64 {
        if self.elapsed.is_zero() { 0.0 } else { self.waiting.as_secs_f64() / self.elapsed.as_secs_f64() }
    }

    /// Sends one more batch to the workers.
    fn order_next(&mut self) {
        let Some(batch) = self.ahead.next() else {
            self.tasks = None;
            return;
        };
        let images = self.batch_size / self.work.repeats;
        let start = batch * images;
        let end = self.indices.len().min(start + images);
        let indices = &self.indices[start..end];
        let sample_bytes = self.work.sample_bytes();
        let (filling, memory, filled) = Filling::new(indices.len(), self.work.repeats * sample_bytes);
        let filling = Arc::new(filling);
        for ((place, &index), bytes) in indices.iter().enumerate().zip(memory) {
            let task = Task { batch: Arc::clone(&filling), place, bytes, index };
            if let Some(tasks) = &self.tasks {
                // Fails if all workers are gone, which `next` detects.
                let _ = tasks.send(task);
            }
        }
        self.pending.push_back(filled);
    }

    /// Assembles a batch from the workers' results, in an order that does not depend on timing.
    fn deliver(&self, filled: Filled) -> Result<Batch, DataError> {
        let source = &self.work.source;
        for (index, error) in filled.outcomes.iter().flat_map(|outcome| &outcome.bad) {
            self.bad_files.record(*index, || source.name(*index), error);
        }
        self.bad_files.check(self.work.policy, source.len())?;
        let repeats = self.work.repeats;
        let (mut images, mut maps) = (Vec::with_capacity(filled.outcomes.len()), Vec::new());
        for outcome in filled.outcomes {
            images.push(outcome.index?);
            maps.push(outcome.maps);
        }
        let maps = self.work.transform.joint().map(|_| maps.concat());
        let indices: Vec<usize> =
            images.iter().flat_map(|index| std::iter::repeat_n(*index, repeats)).collect();
        let [channels, height, width] = self.work.sample_shape();
        Ok(Batch {
            images: filled.images,
            pixel_type: self.work.pixels.pixel_type(),
            shape: [indices.len(), channels, height, width],
            passes: images.iter().flat_map(|_| (0..repeats).map(|i| self.work.pass(i))).collect(),
            labels: indices.iter().map(|&index| source.label(index)).collect(),
            maps,
            indices,
        })
    }

    /// Stops the workers.
    fn stop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.ahead = 0..0;
        self.pending.clear();
        self.tasks = None;
        for worker in self.workers.drain(..) {
            // A worker that panicked left a batch unfinished, which `next` has reported.
            let _ = worker.join();
        }
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let pending = self.pending.pop_front()?;
        let asked = Instant::now();
        let filled = pending.recv();
        self.waiting += asked.elapsed();
        let lost = |_| DataError::Workers { source: io::Error::other("a worker ended before its work") };
        let batch = filled.map_err(lost).and_then(|filled| self.deliver(filled));
        match batch {
            Ok(_) => self.order_next(),
            Err(_) => self.stop(),
        }
        self.elapsed = self.started.elapsed();
        Some(batch)
    }
}

impl FusedIterator for Batches {}

impl Drop for Batches {
    fn drop(&mut self) {
        self.stop();
    }
}
