//! Loads images for evaluation and divides them among the ranks.

use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor, TensorData};
use mae_data::{Batches, EvalTransform, ImageSource, Loader};

use super::{Context, ImageSet};
use mae_eval::Features;
use mae_report::duration;

use crate::{DataSettings, TrainerError};

/// Images of one forward pass in evaluation.
const BATCH: usize = 64;

/// The interval between progress lines: short enough to show that the work goes on.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// How work besides the updates reports progress and is stopped.
pub struct Aside<'a> {
    /// Receives a progress line every few seconds.
    pub tell: fn(&str),
    /// Whether the work is asked to stop.
    pub stop: &'a dyn Fn() -> bool,
}

impl Aside<'_> {
    /// Reports nothing and is never stopped.
    pub const QUIETLY: Aside<'static> = Aside { tell: |_| (), stop: &|| false };
}

/// A row of values for each readable image of a set.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// `[N, D]`
    pub values: Vec<f32>,
    /// D
    pub dim: usize,
    /// The images, by their index in the source.
    pub indices: Vec<usize>,
}

impl Rows {
    /// The values, `[N, D]`.
    pub fn tensor(&self, device: &Device) -> Tensor<2> {
        Tensor::from_data(TensorData::new(self.values.clone(), [self.indices.len(), self.dim]), device)
    }

    /// The class of each image.
    ///
    /// # Errors
    /// If an image has no class; names it.
    pub fn labels(&self, source: &dyn ImageSource) -> Result<Vec<u32>, TrainerError> {
        self.indices
            .iter()
            .map(|index| source.label(*index).ok_or_else(|| unlabelled(source, *index)))
            .collect()
    }

    /// The classes of each image, any number of them.
    ///
    /// # Errors
    /// If an image is not labelled; names it.
    pub fn label_sets(&self, source: &dyn ImageSource) -> Result<Vec<Vec<u32>>, TrainerError> {
        self.indices
            .iter()
            .map(|index| source.labels(*index).ok_or_else(|| unlabelled(source, *index)))
            .collect()
    }

    /// Converts the rows to features.
    ///
    /// # Errors
    /// If there are no rows.
    pub fn features(self) -> Result<Features, TrainerError> {
        Ok(Features::new(self.values, self.dim)?)
    }
}

fn unlabelled(source: &dyn ImageSource, index: usize) -> TrainerError {
    TrainerError::argument("the class of an image", "none", "given: ".to_owned() + &source.name(index))
}

impl Context {
    /// The transform of evaluation images.
    pub(crate) fn eval_transform(&self) -> Result<EvalTransform, TrainerError> {
        let DataSettings { resize, window, .. } = self.common.data;
        let transform = EvalTransform::new(self.geometry.image_size(), resize)?;
        Ok(match window {
            Some(side) => transform.with_window(side)?,
            None => transform,
        })
    }

    /// A loader of a set's images as evaluation sees them.
    ///
    /// # Errors
    /// If the set is empty.
    pub fn evaluation_loader(&self, set: &ImageSet, batch_size: usize) -> Result<Loader, TrainerError> {
        let mut config = super::data::loader_config(&self.common);
        (config.batch_size, config.repeats, config.drop_last) = (batch_size, 1, false);
        if !self.common.data.strict {
            // A run that has come this far is evaluated on the images that can be read.
            config.bad_files = mae_data::BadFilePolicy::Skip { max_share: 1.0 };
        }
        Ok(Loader::new(set.source.clone(), std::sync::Arc::new(self.eval_transform()?), config)?)
    }

    /// Batches of this rank's share of a set, every `size`-th image, as evaluation sees them, with their loader. `None`
    /// if the share is empty because there are fewer images than ranks.
    ///
    /// # Errors
    /// If loading cannot start.
    pub(crate) fn share_of(
        &self,
        set: &ImageSet,
        epoch: u64,
    ) -> Result<Option<(Loader, Batches)>, TrainerError> {
        let (rank, size) = (self.ranks.rank(), self.ranks.size());
        let indices: Vec<usize> = set.indices.iter().copied().skip(rank).step_by(size).collect();
        if indices.is_empty() {
            return Ok(None);
        }
        let loader = self.evaluation_loader(set, BATCH.min(indices.len()))?;
        let batches = loader.batches(epoch, indices, 0)?;
        Ok(Some((loader, batches)))
    }

    /// Applies `of`, such as a model, to the images of a set as evaluation sees them. Returns the rows of all readable
    /// images, on every rank. `None` if a rank was asked to stop.
    ///
    /// # Shapes
    /// `of`: normalised images `[B, C, H, W]` → `[B, D]`
    ///
    /// # Errors
    /// If no image can be read, or another rank does not answer.
    pub fn rows(
        &self,
        set: &ImageSet,
        device: &Device,
        aside: &Aside<'_>,
        of: impl Fn(Tensor<4>) -> Tensor<2>,
    ) -> Result<Option<Rows>, TrainerError> {
        self.rows_of_bytes(set, aside, |bytes, shape| {
            let images = self.common.data.normalize.images(bytes, shape, device);
            of(images).into_data().convert::<f32>().try_to_vec::<f32>().expect("converted to f32")
        })
    }

    /// Applies `of` to all held-out images, as [`rows`](Self::rows) does.
    ///
    /// # Errors
    /// If there are none, no image can be read, or another rank does not answer.
    pub fn held_out_rows(
        &self,
        device: &Device,
        of: impl Fn(Tensor<4>) -> Tensor<2>,
    ) -> Result<Rows, TrainerError> {
        let rows = self.rows(&self.data.all_held_out()?, device, &Aside::QUIETLY, of)?;
        Ok(rows.expect("it was not asked to stop"))
    }

    /// [`rows`](Self::rows) for a function of the raw bytes `[B, C, H, W]`.
    pub(crate) fn rows_of_bytes(
        &self,
        set: &ImageSet,
        aside: &Aside<'_>,
        mut of: impl FnMut(Vec<u8>, [usize; 4]) -> Vec<f32>,
    ) -> Result<Option<Rows>, TrainerError> {
        let ranks = &self.ranks;
        let (began, mut told, mut done) = (Instant::now(), Instant::now(), 0);
        // Of the readable images: their positions in the set, and their rows.
        let (mut places, mut rows, mut stopped) = (Vec::new(), Vec::new(), false);
        let mut wanted = set.indices.iter().enumerate().skip(ranks.rank()).step_by(ranks.size());
        let (loader, batches) = self.share_of(set, 0)?.unzip();
        for batch in batches.into_iter().flatten() {
            let batch = batch?;
            done += batch.indices.len();
            let values = of(batch.images, batch.shape);
            let dim = values.len() / batch.indices.len();
            for ((row, index), (place, wanted)) in values.chunks(dim).zip(batch.indices).zip(&mut wanted) {
                // Leave out the replacement of an unreadable image: it may belong to another set.
                if index == *wanted {
                    rows.extend(row.iter().flat_map(|x| x.to_le_bytes()));
                    places.extend((place as u32).to_le_bytes());
                }
            }
            stopped = (aside.stop)();
            if stopped {
                break;
            }
            if ranks.is_main() && told.elapsed() > LINE_EVERY {
                told = Instant::now();
                let (len, done) = (set.indices.len(), (done * ranks.size()).min(set.indices.len()));
                let rate = done as f64 / began.elapsed().as_secs_f64();
                let left = duration((len - done) as f64 / rate);
                (aside.tell)(&format!("{done} of {len} images encoded, {rate:.0} images/s, {left} left"));
            }
        }
        self.log_bad_files(loader.map_or_else(Vec::new, |loader| loader.bad_files()))?;
        if ranks.any(stopped)? {
            return Ok(None);
        }
        let (places, rows) = (ranks.gather(&places)?, ranks.gather(&rows)?);
        let mut all = Vec::new();
        for (places, rows) in places.iter().zip(&rows).filter(|(places, _)| !places.is_empty()) {
            let places = places.as_chunks().0.iter().map(|place| u32::from_le_bytes(*place) as usize);
            all.extend(places.clone().zip(rows.chunks(rows.len() / places.len())));
        }
        all.sort_unstable_by_key(|(place, _)| *place);
        let Some((_, first)) = all.first() else {
            return Err(TrainerError::argument("the number of images that can be read", 0, "at least 1"));
        };
        let dim = first.len() / size_of::<f32>();
        let numbers =
            |row: &[u8]| row.as_chunks().0.iter().map(|x| f32::from_le_bytes(*x)).collect::<Vec<_>>();
        Ok(Some(Rows {
            values: all.iter().flat_map(|(_, row)| numbers(row)).collect(),
            dim,
            indices: all.iter().map(|(place, _)| set.indices[*place]).collect(),
        }))
    }
}
