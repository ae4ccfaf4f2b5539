//! Resuming a run: from its folder alone, or with changed settings.

use std::path::Path;
use std::sync::Arc;

use super::checkpoint::last_step;
use super::folder::read_recipe;
use super::lock::FolderLock;
use super::{CHECKPOINTS, RECIPE, Run, single};
use crate::context::contents::check_there;
use crate::recipe::{Change, Resume, changes};
use crate::{Collective, Recipe, Section, Task, TaskRecipe, TrainerError};

impl<T: Task> Run<T> {
    /// Opens a run to resume it; its folder is all that is needed.
    ///
    /// # Errors
    /// If the folder contains no run, or the run's data can no longer be used.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, TrainerError> {
        Self::open_with(folder, |recipe| Ok(recipe.clone())).map(|(run, _)| run)
    }

    /// Opens a run to resume it with another recipe, which `change` makes from the present one. Also returns the
    /// differences, one per line.
    ///
    /// # Errors
    /// As [`open`](Self::open), and if a changed field affects the weights, the order of the images or the position in
    /// the schedule. The run's own recipe then stays as it was.
    pub fn open_with(
        folder: impl AsRef<Path>,
        change: impl FnOnce(&Recipe<T::Recipe>) -> Result<Recipe<T::Recipe>, TrainerError>,
    ) -> Result<(Self, Vec<String>), TrainerError> {
        Self::open_on(&single(), folder, change)
    }

    /// [`open_with`](Self::open_with) on several ranks. Only the main rank needs the folder. Another number of ranks
    /// than before keeps the images of each update and their order.
    ///
    /// # Errors
    /// As [`open_with`](Self::open_with), if the ranks are not about to train the same run, and if the images of an
    /// update cannot be divided among them.
    pub fn open_on(
        ranks: &Arc<dyn Collective>,
        folder: impl AsRef<Path>,
        change: impl FnOnce(&Recipe<T::Recipe>) -> Result<Recipe<T::Recipe>, TrainerError>,
    ) -> Result<(Self, Vec<String>), TrainerError> {
        let folder = folder.as_ref();
        let (mut text, mut lock) = (Vec::new(), None);
        if ranks.is_main() {
            text = read_recipe(folder, T::Recipe::TASK)?.into_bytes();
            lock = Some(FolderLock::take(folder)?);
        }
        ranks.broadcast(&mut text)?;
        let text = String::from_utf8_lossy(&text);
        let mut before = Recipe::<T::Recipe>::parse(&text, &folder.join(RECIPE))?;
        // Versions without these fields trained on one rank and decoded 8-bit RGB.
        before.train.ranks.get_or_insert(1);
        before.data.pixels.get_or_insert_default();
        let mut recipe = change(&before)?;
        let (data, old) = (&recipe.data, &before.data);
        check_there([
            ("data.path", data.path.as_deref().filter(|_| data.path == old.path)),
            ("data.val", data.val.as_deref().filter(|_| data.val == old.val)),
            ("data.labels", data.labels.as_deref().filter(|_| data.labels == old.labels)),
            ("data.val_labels", data.val_labels.as_deref().filter(|_| data.val_labels == old.val_labels)),
        ])?;
        // The images are counted again, and compared below by more than their number.
        recipe.data.images = None;
        let mut run = Self::prepare_on(ranks, &recipe, folder)?;
        run.agree()?;
        run.lock = lock;
        let before_text = before.to_toml();
        let changes = changes(&before_text, &run.recipe_text(), &Recipe::<T::Recipe>::fields());
        let refuse = |refused: Vec<String>| match refused.is_empty() {
            true => Ok(()),
            false => {
                Err(TrainerError::ResumeWithOptions { path: folder.into(), changes: refused.join(", ") })
            }
        };
        // Refuse wrong options first: they may be the reason why the images differ.
        let fixed =
            |change: &&Change| matches!(change.resume, Resume::Fixed) && change.field != "data.images";
        refuse(changes.iter().filter(fixed).map(ToString::to_string).collect())?;
        // Only the main rank compares: the ranks have agreed that they have the same images.
        let mut images = None;
        if ranks.is_main() {
            images = Some(run.contents().compare(folder, before.data.images)?);
            run.pace.check_reached(last_step(&run.path(CHECKPOINTS))?.unwrap_or(0))?;
        }
        let same_images = images.as_ref().is_none_or(|found| found.known);
        let batch = before.train.batch_size.map(|batch| {
            batch.saturating_mul(before.train.accum_iter).saturating_mul(before.train.ranks.unwrap_or(1))
        });
        let same_batch = batch.is_none_or(|batch| batch == run.settings.effective_batch());
        let refused = changes.iter().filter(|change| match change.resume {
            Resume::Fixed => true,
            Resume::Batch => !same_batch,
            Resume::Images => !same_images,
            Resume::Free | Resume::Local => false,
        });
        refuse(refused.map(ToString::to_string).collect())?;
        let mut lines: Vec<_> = changes.iter().map(ToString::to_string).collect();
        if let Some(found) = images {
            lines.extend(found.keep(folder)?);
            if !changes.is_empty() {
                run.write_recipe()?;
            }
        }
        Ok((run, lines))
    }
}
