//! A run: its folder, its data, its pace, and its state to start from or continue with.

mod agree;
pub(crate) mod checkpoint;
mod describe;
mod disk;
mod folder;
mod lock;
mod memory;
mod resume;
mod state;
#[cfg(test)]
pub(crate) mod tests;

use std::fs;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use mae_vit::Geometry;

use crate::context::{Context, Data, fill_pixels};
use crate::{Collective, Recipe, Section, SettingsOf, Single, Task, TaskRecipe, TrainerError};
use lock::FolderLock;
use mae_report::write_atomic;

pub use folder::new_folder;
pub(crate) use folder::{CHECKPOINTS, RECIPE, check_free};
pub use state::Restored;

/// Everything about a run but the model: made once, then only read.
pub struct Run<T: Task> {
    /// The resolved recipe, as it stands in the run's folder.
    pub settings: SettingsOf<T>,
    /// What is trained.
    pub task: Arc<T>,
    /// All else.
    pub context: Context,
    lock: Option<FolderLock>,
    /// Whether this process has made the folder, and nothing is in it yet that would be missed.
    is_new: bool,
}

impl<T: Task> Deref for Run<T> {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.context
    }
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
    pub fn create(recipe: &Recipe<T::Recipe>, folder: impl AsRef<Path>) -> Result<Self, TrainerError> {
        Self::create_on(&single(), recipe, folder)
    }

    /// The same on several ranks, of which the main one alone needs the folder.
    ///
    /// # Errors
    /// As [`create`](Self::create); if the ranks are not about to do the same.
    pub fn create_on(
        ranks: &Arc<dyn Collective>,
        recipe: &Recipe<T::Recipe>,
        folder: impl AsRef<Path>,
    ) -> Result<Self, TrainerError> {
        let folder = folder.as_ref();
        if ranks.is_main() {
            check_free(folder)?;
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
        Ok(write_atomic(self.path(RECIPE), |file| file.write_all(self.recipe_text().as_bytes()))?)
    }

    /// All about a run that is not made: its folder is never touched.
    ///
    /// # Errors
    /// If the recipe or the data cannot be used.
    pub fn prepare(recipe: &Recipe<T::Recipe>, folder: impl AsRef<Path>) -> Result<Self, TrainerError> {
        Self::prepare_on(&single(), recipe, folder.as_ref())
    }

    pub(crate) fn prepare_on(
        ranks: &Arc<dyn Collective>,
        recipe: &Recipe<T::Recipe>,
        folder: &Path,
    ) -> Result<Self, TrainerError> {
        let mut recipe = recipe.clone();
        recipe.settle_paths()?;
        let geometry = T::fill(&mut recipe)?;
        let data = Data::open(&recipe.data, geometry.image_size(), recipe.train.seed, T::NEEDS_LABELS)?;
        let data = T::join(&recipe, data)?;
        data.check_classes()?;
        fill_pixels(&mut recipe.data, &data, ranks.as_ref())?;
        Self::assemble(ranks, (ranks.rank(), ranks.size()), recipe, data, folder)
    }

    /// The same run for one of so many sharers of its images.
    #[cfg(feature = "managed")]
    pub(crate) fn part(&self, sharer: usize, sharers: usize) -> Result<Self, TrainerError> {
        let recipe = Recipe::parse(&self.recipe_text(), Path::new(RECIPE))?;
        Self::assemble(&single(), (sharer, sharers), recipe, self.data.clone(), &self.path(""))
    }

    fn assemble(
        ranks: &Arc<dyn Collective>,
        (sharer, sharers): (usize, usize),
        recipe: Recipe<T::Recipe>,
        data: Data,
        folder: &Path,
    ) -> Result<Self, TrainerError> {
        let (settings, geometry) = resolve::<T>(recipe.on_ranks(sharers)?, data.train.len())?;
        if let (Some(patience), None) = (settings.eval.patience, &data.val) {
            let bound = "left out where there are no held-out images (val) to measure on";
            return Err(TrainerError::argument("patience", patience, bound));
        }
        let task = Arc::new(T::new(&settings, &data)?);
        let transform = task.transform(&settings, &geometry)?;
        let sharer = (sharer, ranks.clone());
        let context = Context::new(settings.common(), data, geometry, transform, sharer, folder)?;
        Ok(Self { settings, task, context, lock: None, is_new: false })
    }
}

/// Fills in a recipe for a data set of `len` images, and checks every value; also what images the model takes.
fn resolve<T: Task>(
    mut recipe: Recipe<T::Recipe>,
    len: usize,
) -> Result<(SettingsOf<T>, Geometry), TrainerError> {
    let geometry = T::fill(&mut recipe)?;
    recipe.fill(len)?;
    let settings = recipe.settle();
    settings.validate(len, geometry.in_chans())?;
    Ok((settings, geometry))
}

/// One process alone.
pub(crate) fn single() -> Arc<dyn Collective> {
    Arc::new(Single)
}
