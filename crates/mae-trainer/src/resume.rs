//! A run that goes on: from its folder alone, or with what may change on the way.

use std::path::Path;
use std::sync::Arc;

use crate::checkpoint::last_step;
use crate::contents::check_there;
use crate::lock::FolderLock;
use crate::run::single;
use crate::run_folder::{CHECKPOINTS, Kind, RECIPE, read_recipe};
use crate::{Collective, Recipe, Run, TrainerError};

impl Run {
    /// Opens a run to continue it; its folder is all that is needed.
    ///
    /// # Errors
    /// If the folder holds no run, or its data cannot be used any more.
    pub fn open(folder: &Path) -> Result<Self, TrainerError> {
        Self::open_with(folder, |recipe| Ok(recipe.clone())).map(|(run, _)| run)
    }

    /// Opens a run to continue it with another recipe, which `change` makes of the present one; also returns what
    /// differs, a line each.
    ///
    /// # Errors
    /// As [`open`](Self::open); if something differs that the weights, the order of the images or the schedule's
    /// position depend on; the run's own recipe is then as it was.
    pub fn open_with(
        folder: &Path,
        change: impl FnOnce(&Recipe) -> Result<Recipe, TrainerError>,
    ) -> Result<(Self, Vec<String>), TrainerError> {
        Self::open_on(&single(), folder, change)
    }

    /// The same on several ranks, of which the main one alone needs the folder. Another number of ranks than before
    /// keeps the images of an update and their order.
    ///
    /// # Errors
    /// As [`open_with`](Self::open_with); if the ranks are not about to do the same; if the images of an update cannot
    /// be dealt out to so many.
    pub fn open_on(
        ranks: &Arc<dyn Collective>,
        folder: &Path,
        change: impl FnOnce(&Recipe) -> Result<Recipe, TrainerError>,
    ) -> Result<(Self, Vec<String>), TrainerError> {
        let (mut text, mut lock) = (Vec::new(), None);
        if ranks.is_main() {
            text = read_recipe(folder, Kind::Pretrain)?.into_bytes();
            lock = Some(FolderLock::take(folder)?);
        }
        ranks.broadcast(&mut text)?;
        let mut before = Recipe::parse(&String::from_utf8_lossy(&text), &folder.join(RECIPE))?;
        before.ranks.get_or_insert(1);
        let mut recipe = change(&before)?;
        let (data, old) = (&recipe.data, &before.data);
        check_there([
            ("--data", data.path.as_deref().filter(|_| data.path == old.path)),
            ("--val", data.val.as_deref().filter(|_| data.val == old.val)),
        ])?;
        // Counted anew, and compared below with more than their number.
        recipe.data.images = None;
        let mut run = Self::prepare_on(ranks, &recipe, folder)?;
        run.agree()?;
        run.lock = lock;
        let mut changes = before.changes(&run.recipe);
        // The main rank compares; that the others have its images is agreed on.
        let mut images = None;
        if ranks.is_main() {
            images = Some(run.contents().compare(folder, before.data.images)?);
            run.plan.pace.check_reached(last_step(&run.path(CHECKPOINTS))?.unwrap_or(0))?;
        }
        if images.as_ref().is_none_or(|found| found.known) {
            // The same images may lie elsewhere.
            changes
                .iter_mut()
                .filter(|change| change.field == "data.path")
                .for_each(|change| change.fixed = false);
        }
        let fixed: Vec<_> = changes.iter().filter(|change| change.fixed).map(ToString::to_string).collect();
        if !fixed.is_empty() {
            return Err(TrainerError::ResumeWithOptions { path: folder.into(), changes: fixed.join(", ") });
        }
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
