//! A run: its folder, its data, its pace, and its state to start from or continue with.

mod agree;
pub(crate) mod checkpoint;
mod contents;
mod data;
mod describe;
mod disk;
mod folder;
mod lock;
mod resume;
mod share;
mod state;
#[cfg(test)]
pub(crate) mod tests;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mae_data::{Batch, Batches, DistributedSampler, Loader};
use mae_vit::Geometry;

use crate::step::Updates;
use crate::{Collective, Pace, Recipe, Section, SettingsOf, Single, Task, TaskRecipe, TrainerError};
use contents::Contents;
use lock::FolderLock;
use mae_report::write_atomic;

pub use data::{Data, ImageSet};
pub use folder::new_folder;
pub(crate) use folder::{CHECKPOINTS, RECIPE};
pub use share::{Aside, Rows};
pub use state::Restored;

/// Everything about a run but the model: made once, then only read.
pub struct Run<T: Task = crate::Pretrain> {
    /// The resolved recipe, as it stands in the run's folder.
    pub settings: SettingsOf<T>,
    /// Updates and what is due when.
    pub pace: Pace,
    /// What is trained.
    pub task: Arc<T>,
    /// The images.
    pub data: Data,
    /// What images the model takes.
    pub geometry: Geometry,
    /// Which part of the images this process trains on, of as many as `train.ranks`.
    pub(crate) sharer: usize,
    folder: PathBuf,
    loader: Loader,
    sampler: DistributedSampler,
    ranks: Arc<dyn Collective>,
    lock: Option<FolderLock>,
    /// Whether this process has made the folder, and nothing is in it yet that would be missed.
    is_new: bool,
}

impl<T: Task> Run<T> {
    /// What a recipe is resolved to for so many training images. No image is opened, and nothing is made.
    ///
    /// # Errors
    /// Names the field, its value and the bound.
    pub fn resolve(recipe: &Recipe<T::Recipe>, len: usize) -> Result<SettingsOf<T>, TrainerError> {
        let mut recipe = recipe.clone();
        recipe.settle_paths()?;
        resolve::<T>(recipe, len).map(|(settings, _)| settings)
    }

    /// Starts a new run in `folder`, which must not hold one yet.
    ///
    /// # Errors
    /// If the recipe, the data or the folder cannot be used; nothing is written before all is checked.
    pub fn create(recipe: &Recipe<T::Recipe>, folder: &Path) -> Result<Self, TrainerError> {
        Self::create_on(&single(), recipe, folder)
    }

    /// The same on several ranks, of which the main one alone needs the folder.
    ///
    /// # Errors
    /// As [`create`](Self::create); if the ranks are not about to do the same.
    pub fn create_on(
        ranks: &Arc<dyn Collective>,
        recipe: &Recipe<T::Recipe>,
        folder: &Path,
    ) -> Result<Self, TrainerError> {
        if ranks.is_main() && folder.join(RECIPE).exists() {
            return Err(TrainerError::RunExists { path: folder.into() });
        }
        let mut run = Self::prepare_on(ranks, recipe, folder)?;
        run.agree()?;
        if !ranks.is_main() {
            return Ok(run);
        }
        let write = |source| TrainerError::Write { path: folder.into(), source };
        fs::create_dir_all(folder).map_err(write)?;
        run.lock = Some(FolderLock::take(folder)?);
        // Before the recipe, which makes a run of the folder.
        run.contents().write(folder)?;
        run.write_recipe()?;
        run.is_new = true;
        Ok(run)
    }

    /// The settings as TOML.
    pub fn recipe_text(&self) -> String {
        self.settings.to_toml(T::Recipe::TASK)
    }

    fn write_recipe(&self) -> Result<(), TrainerError> {
        Ok(write_atomic(&self.path(RECIPE), |file| file.write_all(self.recipe_text().as_bytes()))?)
    }

    /// All about a run that is not made: its folder is never touched.
    ///
    /// # Errors
    /// If the recipe or the data cannot be used.
    pub fn prepare(recipe: &Recipe<T::Recipe>, folder: &Path) -> Result<Self, TrainerError> {
        Self::prepare_on(&single(), recipe, folder)
    }

    pub(crate) fn prepare_on(
        ranks: &Arc<dyn Collective>,
        recipe: &Recipe<T::Recipe>,
        folder: &Path,
    ) -> Result<Self, TrainerError> {
        let mut recipe = recipe.clone();
        recipe.settle_paths()?;
        let geometry = T::fill(&mut recipe)?;
        let data = Data::open(&recipe.data, geometry.image_size())?;
        Self::assemble(ranks, (ranks.rank(), ranks.size()), recipe, data, folder)
    }

    /// The same run for one of so many sharers of its images.
    #[cfg(feature = "managed")]
    pub(crate) fn part(&self, sharer: usize, sharers: usize) -> Result<Self, TrainerError> {
        let recipe = Recipe::parse(&self.recipe_text(), Path::new(RECIPE))?;
        Self::assemble(&single(), (sharer, sharers), recipe, self.data.clone(), &self.folder)
    }

    fn assemble(
        ranks: &Arc<dyn Collective>,
        (sharer, sharers): (usize, usize),
        recipe: Recipe<T::Recipe>,
        data: Data,
        folder: &Path,
    ) -> Result<Self, TrainerError> {
        let len = data.train.len();
        let (settings, geometry) = resolve::<T>(recipe.on_ranks(sharers)?, len)?;
        if let (Some(patience), None) = (settings.eval.patience, &data.val) {
            let bound = "left out where there are no held-out images (val) to measure on";
            return Err(TrainerError::argument("patience", patience, bound));
        }
        let pace = Pace::new(&settings.train, &settings.data, &settings.optim, &settings.eval)?;
        let task = Arc::new(T::new(&settings, &data)?);
        let loader = data::train_loader(&data.train, &settings, &geometry)?;
        // Whole batches are dealt out, so that what is drawn for a batch is the same on any number of ranks.
        let block = settings.train.batch_size / settings.data.repeats;
        let sampler =
            DistributedSampler::new(len, settings.train.seed, sharer, sharers)?.with_block(block)?;
        let (folder, ranks) = (folder.into(), ranks.clone());
        Ok(Self {
            settings,
            pace,
            task,
            data,
            geometry,
            sharer,
            folder,
            loader,
            sampler,
            ranks,
            lock: None,
            is_new: false,
        })
    }

    /// What its folders hold.
    fn contents(&self) -> Contents {
        let settings = &self.settings.data;
        let held_out = self.data.val.as_deref().map(|source| (source, settings.val.as_deref()));
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
        let first = update as usize * self.settings.train.accum_iter;
        Ok(self.loader.epoch(self.settings.train.seed, epoch, self.indices(epoch), first)?)
    }

    /// This rank's images of an epoch in order: a rest that fills no update is left out, or the update filled up.
    fn indices(&self, epoch: u64) -> Vec<u32> {
        let (train, data) = (&self.settings.train, &self.settings.data);
        let crops = self.pace.steps_per_epoch as usize * self.pace.effective_batch / train.ranks;
        self.sampler.first_indices(epoch, crops / data.repeats)
    }

    /// The batches of an update without pixels.
    pub(crate) fn unloaded(&self, step: u64) -> Vec<Batch> {
        let (train, data) = (&self.settings.train, &self.settings.data);
        let (epoch, update) = self.pace.position(step);
        let images = train.batch_size / data.repeats;
        let first = update as usize * train.accum_iter * images;
        let indices = self.indices(epoch).split_off(first);
        let batch = |indices: &[u32]| {
            let indices: Vec<usize> = indices.iter().map(|index| *index as usize).collect();
            Batch {
                images: Vec::new(),
                shape: [indices.len(), self.geometry.in_chans(), 0, 0],
                labels: indices.iter().map(|index| self.data.train.label(*index)).collect(),
                passes: vec![epoch; indices.len()],
                indices,
            }
        };
        indices.chunks(images).take(train.accum_iter).map(batch).collect()
    }

    /// The batches of update `step` on all ranks together.
    ///
    /// # Errors
    /// If images cannot be loaded.
    pub(crate) fn whole_update(&self, step: u64) -> Result<Vec<Batch>, TrainerError> {
        let (epoch, update) = self.pace.position(step);
        let (images, seed) =
            (self.pace.effective_batch / self.settings.data.repeats, self.settings.train.seed);
        let sampler = DistributedSampler::new(self.data.train.len(), seed, 0, 1)?;
        let first = update as usize * images;
        let indices = sampler.first_indices(epoch, first + images).split_off(first);
        Ok(self.loader.epoch(seed, epoch, indices, 0)?.collect::<Result<_, _>>()?)
    }

    /// The updates of the run.
    pub fn updates(&self) -> Updates<'_, T> {
        Updates::new(self)
    }
}

/// Fills in a recipe for a data set of `len` images, and checks every value; also what images the model takes.
fn resolve<T: Task>(
    mut recipe: Recipe<T::Recipe>,
    len: usize,
) -> Result<(SettingsOf<T>, Geometry), TrainerError> {
    let geometry = T::fill(&mut recipe)?;
    recipe.fill(len);
    let settings = recipe.settle();
    settings.validate(len, geometry.in_chans())?;
    Ok((settings, geometry))
}

/// One process alone.
pub(crate) fn single() -> Arc<dyn Collective> {
    Arc::new(Single)
}
