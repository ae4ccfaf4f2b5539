//! A run: its folder, its data, its pace, and the state from which it starts or resumes.

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

/// Everything about a run except the model. It is made once and then only read.
pub struct Run<T: Task> {
    /// The resolved recipe, as stored in the run's folder.
    pub settings: SettingsOf<T>,
    /// The task.
    pub task: Arc<T>,
    /// Everything else.
    pub context: Context,
    lock: Option<FolderLock>,
    /// Whether this process created the run, whose folder contains nothing worth keeping yet.
    is_new: bool,
}

impl<T: Task> Deref for Run<T> {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.context
    }
}

impl<T: Task> Run<T> {
    /// Resolves a recipe for `len` training images. No image is opened, and no file is written.
    ///
    /// # Errors
    /// If a value is out of bounds: names the field, its value and the bound.
    pub fn resolve(recipe: &Recipe<T::Recipe>, len: usize) -> Result<SettingsOf<T>, TrainerError> {
        let mut recipe = recipe.clone();
        recipe.settle_paths()?;
        resolve::<T>(recipe, len).map(|(settings, _)| settings)
    }

    /// Creates a new run in `folder`, which must not contain one yet.
    ///
    /// # Errors
    /// If the recipe, the data or the folder cannot be used. Nothing is written before everything is checked.
    pub fn create(recipe: &Recipe<T::Recipe>, folder: impl AsRef<Path>) -> Result<Self, TrainerError> {
        Self::create_on(&single(), recipe, folder)
    }

    /// [`create`](Self::create) on several ranks. Only the main rank needs the folder.
    ///
    /// # Errors
    /// As [`create`](Self::create), and if the ranks are not about to train the same run.
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
        // Before the recipe, because its presence makes the folder a run.
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

    /// Prepares a run without creating it: its folder is never touched.
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

    /// The same run for one of `sharers` processes or devices that share its images.
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
            let bound = "left out if there are no held-out images (val)";
            return Err(TrainerError::argument("patience", patience, bound));
        }
        let task = Arc::new(T::new(&settings, &data)?);
        let transform = task.transform(&settings, &geometry)?;
        let sharer = (sharer, ranks.clone());
        let context = Context::new(settings.common(), data, geometry, transform, sharer, folder)?;
        Ok(Self { settings, task, context, lock: None, is_new: false })
    }
}

/// Fills in a recipe for a data set of `len` images and checks every value. Also returns the geometry of the model's
/// images.
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

/// A single process, without other ranks.
pub(crate) fn single() -> Arc<dyn Collective> {
    Arc::new(Single)
}
