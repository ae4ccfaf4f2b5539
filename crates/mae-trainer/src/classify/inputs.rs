//! What updates learn from: batches of augmented images, or features that were taken once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use mae_data::{Batch, Batches, ImageSource};
use mae_model::Classifier;

use super::ClassifyRun;
use crate::progress::{duration, log_bad_files};
use crate::{TrainerError, output};

/// Numbers of each image of a set, and its class.
pub(super) struct Rows {
    /// `[N, D]`
    pub(super) values: Vec<f32>,
    pub(super) labels: Vec<u32>,
}

impl Rows {
    /// `[N, D]`
    pub(super) fn tensor(&self, device: &Device) -> Tensor<2> {
        let shape = [self.labels.len(), self.values.len() / self.labels.len()];
        Tensor::from_data(TensorData::new(self.values.clone(), shape), device)
    }
}

/// What one update learns from.
pub(super) enum Input {
    Images(Vec<Batch>),
    Features(Rows),
}

/// The inputs of a run's updates, in order, from wherever one begins.
pub(super) struct Inputs<'a> {
    run: &'a ClassifyRun,
    cache: Option<Rows>,
    batches: Option<Batches>,
    /// The update that `batches` comes to next.
    next: u64,
    waited: Duration,
}

impl<'a> Inputs<'a> {
    /// With the features of the training images, if there are any.
    pub(super) fn new(run: &'a ClassifyRun, cache: Option<Rows>) -> Self {
        Self { run, cache, batches: None, next: 0, waited: Duration::ZERO }
    }

    /// What update `step` learns from, counted from 0.
    pub(super) fn at(&mut self, step: u64) -> Result<Input, TrainerError> {
        let (run, pace) = (self.run, &self.run.pace);
        let (epoch, update) = pace.position(step);
        let first = update as usize * pace.effective_batch;
        if let Some(Rows { values, labels }) = &self.cache {
            // Those that could be read.
            let (images, dim) = (labels.len(), values.len() / labels.len());
            let order = run.sampler.indices(epoch).into_iter().map(|i| i as usize % images);
            let indices: Vec<_> = order.skip(first).take(pace.effective_batch).collect();
            let values = indices.iter().flat_map(|i| &values[i * dim..(i + 1) * dim]).copied().collect();
            let labels = indices.into_iter().map(|i| labels[i]).collect();
            return Ok(Input::Features(Rows { values, labels }));
        }
        if self.batches.is_none() || step != self.next || update == 0 {
            self.waited += self.batches.take().map_or(Duration::ZERO, |batches| batches.waiting());
            let seed = run.recipe.seed;
            let start = update as usize * run.recipe.accum_iter;
            self.batches = Some(run.loader.epoch(seed, epoch, run.sampler.indices(epoch), start)?);
        }
        let short = || TrainerError::EpochTooShort { step };
        let batches = self.batches.as_mut().ok_or_else(short)?;
        let batches = (0..run.recipe.accum_iter).map(|_| Ok(batches.next().ok_or_else(short)??));
        let batches = batches.collect::<Result<_, TrainerError>>()?;
        self.next = step + 1;
        Ok(Input::Images(batches))
    }

    /// How long all updates so far have waited for images.
    pub(super) fn waiting(&self) -> Duration {
        self.waited + self.batches.as_ref().map_or(Duration::ZERO, Batches::waiting)
    }
}

/// How long work goes on beside the updates.
pub(super) struct Aside<'a> {
    pub(super) quiet: bool,
    /// Whether it is asked to stop.
    pub(super) stop: &'a dyn Fn() -> bool,
}

/// Often enough to see life.
const LINE_EVERY: Duration = Duration::from_secs(5);

impl ClassifyRun {
    /// What `of` makes of the images of a set as evaluation sees them, of those that can be read; none if it was asked to
    /// stop.
    pub(super) fn rows(
        &self,
        source: &Arc<dyn ImageSource>,
        model: &Classifier,
        device: &Device,
        aside: &Aside<'_>,
        of: impl Fn(&Classifier, Tensor<4>) -> Tensor<2>,
    ) -> Result<Option<Rows>, TrainerError> {
        let model = model.valid();
        let len = source.len();
        let loader = self.evaluation_loader(source)?;
        let (began, mut told) = (Instant::now(), Instant::now());
        let mut rows = Rows { values: Vec::new(), labels: Vec::new() };
        let mut wanted = 0;
        for batch in loader.epoch(0, 0, (0..len as u32).collect(), 0)? {
            let batch = batch?;
            let images = self.normalize.images(batch.images, batch.shape, device);
            let data = of(&model, images).into_data().convert::<f32>();
            let values = data.as_slice::<f32>().expect("converted to f32 above");
            let dim = values.len() / batch.indices.len();
            for (row, index) in values.chunks(dim).zip(&batch.indices) {
                // What stands in for an unreadable image is left out.
                if let Some(label) = source.label(*index).filter(|_| *index == wanted) {
                    rows.values.extend_from_slice(row);
                    rows.labels.push(label);
                }
                wanted += 1;
            }
            if (aside.stop)() && wanted < len {
                return Ok(None);
            }
            if !aside.quiet && told.elapsed() > LINE_EVERY {
                told = Instant::now();
                let rate = wanted as f64 / began.elapsed().as_secs_f64();
                let left = duration((len - wanted) as f64 / rate);
                output::tell(format_args!(
                    "{wanted} of {len} images encoded, {rate:.0} images/s, {left} left\n"
                ));
            }
        }
        log_bad_files(self, loader.bad_files())?;
        match rows.labels.is_empty() {
            true => Err(TrainerError::argument("the number of images that can be read", 0, "at least 1")),
            false => Ok(Some(rows)),
        }
    }
}
