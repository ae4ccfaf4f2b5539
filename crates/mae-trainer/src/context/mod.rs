//! What a task sees of its run: the images, the ranks that share them, the folder and the pace.

mod bad_files;
pub(crate) mod contents;
mod data;
mod labelled;
mod measure;
mod share;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mae_data::{Batch, Batches, DistributedSampler, ImageSource, Loader, Transform};
use mae_ranks::Collective;
use mae_vit::Geometry;

use crate::training::pace::Pace;
use crate::{Settings, Shown, TrainerError};
use contents::Contents;

pub(crate) use bad_files::BAD_FILES;
pub(crate) use data::train_transform;
pub use data::{Data, ImageSet};
pub(crate) use measure::fill_pixels;
pub use share::{Aside, Rows};

/// What a task sees of its run: everything except the task and its own settings.
pub struct Context {
    /// The settings that all tasks have.
    pub common: Settings<()>,
    /// The updates, and what is due when.
    pub pace: Pace,
    /// The images.
    pub data: Data,
    /// The training images, each as often as it occurs in an epoch. The indices of batches refer to these.
    pub samples: Arc<dyn ImageSource>,
    /// The geometry of the model's images.
    pub geometry: Geometry,
    /// How pictures show the images.
    pub shown: Shown,
    /// Which of the `train.ranks` shares of the images this process trains on.
    pub(crate) sharer: usize,
    folder: PathBuf,
    loader: Loader,
    sampler: DistributedSampler,
    ranks: Arc<dyn Collective>,
}

impl Context {
    /// Makes the context from resolved settings and open images, which `transform` augments for training. `sharer` is
    /// the index of this process's share of the images.
    pub(crate) fn new(
        common: Settings<()>,
        data: Data,
        geometry: Geometry,
        transform: Arc<dyn Transform>,
        (sharer, ranks): (usize, Arc<dyn Collective>),
        folder: &Path,
    ) -> Result<Self, TrainerError> {
        let pace = Pace::new(&common.train, &common.data, &common.optim, &common.eval)?;
        let samples = data.samples(common.data.crops_per_image);
        let loader = Loader::new(samples.clone(), transform, data::loader_config(&common))?;
        // Deal out whole batches, so that a batch draws the same random numbers on any number of ranks.
        let block = common.train.batch_size / common.data.repeats;
        let sampler = DistributedSampler::new(samples.len(), common.train.seed, sharer, common.train.ranks)?;
        let sampler = sampler.with_block(block)?;
        let shown = Shown::new(common.data.normalize.clone(), common.eval.show.as_deref())?;
        Ok(Self {
            common,
            pace,
            data,
            samples,
            geometry,
            shown,
            sharer,
            folder: folder.into(),
            loader,
            sampler,
            ranks,
        })
    }

    /// A summary of the images in its folders.
    pub(crate) fn contents(&self) -> Contents {
        let settings = &self.common.data;
        let val = settings.val.as_deref().or(settings.path.as_deref());
        let held_out = self.data.val.as_deref().map(|source| (source, val));
        Contents::of((self.data.train.as_ref(), settings.path.as_deref()), held_out)
    }

    /// The processes that train the run together.
    pub fn ranks(&self) -> &Arc<dyn Collective> {
        &self.ranks
    }

    /// A path in the run's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Files that could not be read and were replaced, once each.
    pub fn bad_files(&self) -> Vec<mae_data::BadFile> {
        self.loader.bad_files()
    }

    /// This rank's batches from update `step` to the end of its epoch.
    ///
    /// # Errors
    /// If loading cannot start.
    pub fn batches(&self, step: u64) -> Result<Batches, TrainerError> {
        let (epoch, update) = self.pace.position(step);
        let first = update as usize * self.common.train.accum_iter;
        Ok(self.loader.batches(epoch, self.indices(epoch), first)?)
    }

    /// This rank's images of an epoch, in order. Images that do not fill an update are left out, or the update is
    /// filled up.
    fn indices(&self, epoch: u64) -> Vec<usize> {
        let (train, data) = (&self.common.train, &self.common.data);
        let crops = self.pace.steps_per_epoch as usize * self.pace.effective_batch / train.ranks;
        self.sampler.first_indices(epoch, crops / data.repeats)
    }

    /// The batches of an update without pixels.
    pub(crate) fn unloaded(&self, step: u64) -> Vec<Batch> {
        let (train, data) = (&self.common.train, &self.common.data);
        let (epoch, update) = self.pace.position(step);
        let images = train.batch_size / data.repeats;
        let first = update as usize * train.accum_iter * images;
        let indices = self.indices(epoch).split_off(first);
        let batch = |indices: &[usize]| Batch {
            images: Vec::new(),
            pixel_type: self.samples.pixels().pixel_type(),
            shape: [indices.len(), self.geometry.in_chans(), 0, 0],
            labels: indices.iter().map(|index| self.samples.label(*index)).collect(),
            maps: None,
            passes: vec![epoch; indices.len()],
            indices: indices.to_vec(),
        };
        indices.chunks(images).take(train.accum_iter).map(batch).collect()
    }

    /// The batches of update `step` on all ranks together.
    ///
    /// # Errors
    /// If images cannot be loaded.
    pub(crate) fn whole_update(&self, step: u64) -> Result<Vec<Batch>, TrainerError> {
        let (epoch, update) = self.pace.position(step);
        let (images, seed) = (self.pace.effective_batch / self.common.data.repeats, self.common.train.seed);
        let sampler = DistributedSampler::new(self.samples.len(), seed, 0, 1)?;
        let first = update as usize * images;
        let indices = sampler.first_indices(epoch, first + images).split_off(first);
        Ok(self.loader.batches(epoch, indices, 0)?.collect::<Result<_, _>>()?)
    }
}
