//! A run: its folder, its data, its plan, and its state to start from or continue with.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use mae_data::{Batch, Batches, DistributedSampler, Loader};
use mae_masking::{MaskBatch, MaskKey, Masker};

use crate::atomic::write_atomic;
use crate::checkpoint::{TrainState, last_step, list_checkpoints, load_checkpoint, name_of, save_checkpoint};
use crate::contents::Contents;
use crate::data::{Data, train_loader};
use crate::device::check_compute;
use crate::disk::no_room;
use crate::lock::FolderLock;
use crate::optimizer::ADAMW_MOMENTS;
use crate::recipe::DataRecipe;
use crate::records::{EVALUATIONS, Evaluation, read_evaluations};
use crate::run_folder::{CHECKPOINTS, RECIPE};
use crate::step::Updates;
use crate::{Collective, Ema, Job, Pace, Plan, PublicRecipe, Recipe, Single, TrainerError, chain};

/// Everything about a run but the model: made once, then only read.
pub struct Run {
    /// The resolved recipe, as it stands in the run's folder.
    pub recipe: Recipe,
    /// What the recipe comes to.
    pub plan: Plan,
    /// The images.
    pub data: Data,
    folder: PathBuf,
    loader: Loader,
    sampler: DistributedSampler,
    masker: Masker,
    ranks: Arc<dyn Collective>,
    pub(crate) lock: Option<FolderLock>,
}

/// A state from which a run goes on.
pub struct Restored {
    /// The state.
    pub state: TrainState,
    /// Newer checkpoints that could not be used, each with what is wrong with it.
    pub damaged: Vec<TrainerError>,
}

impl Run {
    /// Starts a new run in `folder`, which must not hold one yet.
    ///
    /// # Errors
    /// If the recipe, the data or the folder cannot be used; nothing is written before all is checked.
    pub fn create(recipe: &Recipe, folder: &Path) -> Result<Self, TrainerError> {
        Self::create_on(&single(), recipe, folder)
    }

    /// The same on several ranks, of which the main one alone needs the folder.
    ///
    /// # Errors
    /// As [`create`](Self::create); if the ranks are not about to do the same.
    pub fn create_on(
        ranks: &Arc<dyn Collective>,
        recipe: &Recipe,
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
        Ok(run)
    }

    pub(crate) fn write_recipe(&self) -> Result<(), TrainerError> {
        write_atomic(&self.path(RECIPE), |file| file.write_all(self.recipe.to_toml().as_bytes()))
    }

    /// All about a run that is not made: its folder is never touched.
    ///
    /// # Errors
    /// If the recipe or the data cannot be used.
    pub fn prepare(recipe: &Recipe, folder: &Path) -> Result<Self, TrainerError> {
        Self::prepare_on(&single(), recipe, folder)
    }

    pub(crate) fn prepare_on(
        ranks: &Arc<dyn Collective>,
        recipe: &Recipe,
        folder: &Path,
    ) -> Result<Self, TrainerError> {
        // Images have the same names when the run is continued from another folder.
        let mut recipe = recipe.clone();
        recipe.settle_paths()?;
        let image_size = recipe.mae_config()?.geometry.image_size();
        let data = Data::open(&recipe.data, image_size)?;
        Self::assemble(ranks, (ranks.rank(), ranks.size()), &recipe, data, folder)
    }

    /// The run of one of so many sharers of its images.
    pub(crate) fn assemble(
        ranks: &Arc<dyn Collective>,
        (sharer, sharers): (usize, usize),
        recipe: &Recipe,
        data: Data,
        folder: &Path,
    ) -> Result<Self, TrainerError> {
        let recipe = recipe.clone().on_ranks(sharers)?.resolve(data.train.len())?;
        let plan = Plan::new(&recipe, data.train.len())?;
        if let (Some(patience), None) = (recipe.eval.patience, &data.val) {
            let bound = "left out where there are no held-out images (val) to measure the loss on";
            return Err(TrainerError::argument("patience", patience, bound));
        }
        let loader = train_loader(&data.train, &recipe, plan.batch_size)?;
        let sampler = DistributedSampler::new(data.train.len(), recipe.seed, sharer, sharers)?;
        let masker =
            Masker::new(recipe.masking.strategy, plan.config.geometry.grid(), recipe.masking.mask_ratio)?;
        let (folder, ranks) = (folder.into(), ranks.clone());
        Ok(Self { recipe, plan, data, folder, loader, sampler, masker, ranks, lock: None })
    }

    /// What its folders hold.
    pub(crate) fn contents(&self) -> Contents {
        let DataRecipe { path, val, .. } = &self.recipe.data;
        let held_out = self.data.val.as_deref().map(|source| (source, val.as_deref()));
        Contents::of((self.data.train.as_ref(), path.as_deref()), held_out)
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

    /// Initial weights and a fresh optimizer.
    ///
    /// # Errors
    /// If the model's description is inconsistent, or the device does not compute as the recipe asks.
    pub fn initial_state(&self, device: &Device) -> Result<TrainState, TrainerError> {
        let compute = self.recipe.compute();
        check_compute(compute, device)?;
        let model = self.plan.config.init(self.recipe.seed, device)?.with_compute(compute);
        let optimizer = self.recipe.optim.adamw.init(&model);
        let ema = self.recipe.optim.ema.map(|decay| Ema::new(&model, decay));
        let model = model.train();
        Ok(TrainState { model, optimizer, ema, step: 0, elapsed_s: 0.0, skipped: Vec::new() })
    }

    /// The state of the last checkpoint that is whole, or the initial one where there is none: the main rank's, on
    /// all ranks.
    ///
    /// # Errors
    /// If there are checkpoints and all are damaged: what is wrong with the newest.
    pub fn latest_state(&self, device: &Device) -> Result<Restored, TrainerError> {
        let Restored { state, damaged } = match self.ranks.is_main() {
            true => self.latest_written(device)?,
            false => Restored { state: self.initial_state(device)?, damaged: Vec::new() },
        };
        Ok(Restored { state: self.share(state)?, damaged })
    }

    fn latest_written(&self, device: &Device) -> Result<Restored, TrainerError> {
        let fresh = self.initial_state(device)?;
        let mut damaged = Vec::new();
        for path in list_checkpoints(&self.path(CHECKPOINTS))?.iter().rev() {
            match load_checkpoint(path, fresh.clone()) {
                Ok(state) => return Ok(Restored { state, damaged }),
                Err(error) => damaged.push(error),
            }
        }
        match damaged.into_iter().next() {
            Some(newest) => Err(newest),
            None => Ok(Restored { state: fresh, damaged: Vec::new() }),
        }
    }

    /// The evaluation with the lowest held-out loss so far, the first of equal ones.
    ///
    /// # Errors
    /// If the evaluations cannot be read.
    pub fn best(&self) -> Result<Option<Evaluation>, TrainerError> {
        Ok(lowest(read_evaluations(&self.path(EVALUATIONS))?))
    }

    /// The step of the newest checkpoint, on the main rank.
    pub(crate) fn last_checkpoint(&self) -> Result<Option<u64>, TrainerError> {
        last_step(&self.path(CHECKPOINTS))
    }

    /// The folder of a step's checkpoint.
    pub fn checkpoint(&self, step: u64) -> PathBuf {
        self.path(CHECKPOINTS).join(name_of(step))
    }

    /// Whether the run ends after `step` updates: they were the last ones, or the held-out loss has not been lower in
    /// as many evaluations as the recipe's `patience`.
    ///
    /// # Errors
    /// If the evaluations cannot be read.
    pub fn finished(&self, step: u64) -> Result<bool, TrainerError> {
        let Some(patience) = self.recipe.eval.patience.filter(|_| self.plan.pace.evaluation_due(step)) else {
            return Ok(step >= self.plan.pace.total_steps);
        };
        let mut worse = 0;
        if self.ranks.is_main() {
            let evaluations = read_evaluations(&self.path(EVALUATIONS))?;
            let steps: Vec<u64> = evaluations.iter().map(|e| e.step).collect();
            let best = lowest(evaluations).map_or(0, |best| best.step);
            worse = steps.into_iter().filter(|other| (best + 1..=step).contains(other)).count() as u64;
        }
        Ok(step >= self.plan.pace.total_steps || self.ranks.main_number(worse)? >= patience)
    }

    /// Writes a checkpoint, on the main rank. The newest are kept, and that of the best evaluation.
    ///
    /// # Errors
    /// If it cannot be written; earlier ones stay.
    pub fn save(&self, state: &TrainState) -> Result<PathBuf, TrainerError> {
        let Recipe { data, eval, .. } = &self.recipe;
        let folder = self.path(CHECKPOINTS);
        if !self.ranks.is_main() {
            return Ok(folder.join(name_of(state.step)));
        }
        let best = self.best()?.map(|best| best.step);
        save_checkpoint(&folder, state, &data.normalize, &self.metadata(), eval.keep_checkpoints, best)
    }

    /// What its weight files say of it.
    pub(crate) fn metadata(&self) -> BTreeMap<String, String> {
        [(PublicRecipe::KEY.to_owned(), self.recipe.to_toml())].into()
    }

    /// This rank's batches from update `step` to the end of its epoch.
    ///
    /// # Errors
    /// If loading cannot start.
    pub fn batches(&self, step: u64) -> Result<Batches, TrainerError> {
        let (epoch, update) = self.plan.pace.position(step);
        // A rest that fills no update is left out, or the update filled up.
        let crops =
            self.plan.pace.steps_per_epoch as usize * self.plan.pace.effective_batch / self.plan.ranks;
        let indices = self.sampler.first_indices(epoch, crops / self.recipe.data.repeats);
        let first = update as usize * self.plan.accum_iter;
        Ok(self.loader.epoch(self.recipe.seed, epoch, indices, first)?)
    }

    /// The batches of update `step` on all ranks together.
    ///
    /// # Errors
    /// If images cannot be loaded.
    pub(crate) fn whole_update(&self, step: u64) -> Result<Vec<Batch>, TrainerError> {
        let (epoch, update) = self.plan.pace.position(step);
        let images = self.plan.pace.effective_batch / self.recipe.data.repeats;
        let sampler = DistributedSampler::new(self.data.train.len(), self.recipe.seed, 0, 1)?;
        let first = update as usize * images;
        let indices = sampler.first_indices(epoch, first + images).split_off(first);
        Ok(self.loader.epoch(self.recipe.seed, epoch, indices, 0)?.collect::<Result<_, _>>()?)
    }

    /// The updates of the run.
    pub fn updates(&self) -> Updates<'_> {
        Updates::new(self)
    }

    /// The masks of a batch: each a function of (seed, pass, index), as the images are.
    ///
    /// # Errors
    /// If the batch is empty.
    pub fn masks(&self, batch: &Batch) -> Result<MaskBatch, TrainerError> {
        let keys = batch.passes.iter().zip(&batch.indices);
        let keys =
            keys.map(|(pass, index)| MaskKey { seed: self.recipe.seed, epoch: *pass, sample: *index as u64 });
        Ok(MaskBatch::new(&keys.map(|key| self.masker.draw(key)).collect::<Vec<_>>())?)
    }

    /// A batch's images, normalised on the device, and its masks.
    ///
    /// # Errors
    /// If the batch is empty.
    pub fn inputs(&self, batch: Batch, device: &Device) -> Result<(Tensor<4>, MaskBatch), TrainerError> {
        let masks = self.masks(&batch)?;
        Ok((self.recipe.data.normalize.images(batch.images, batch.shape, device), masks))
    }

    /// What is about to happen, for people: the plan, the folder, and what is not as before.
    pub fn describe(
        &self,
        state: &TrainState,
        device: &str,
        changes: &[String],
        damaged: &[TrainerError],
    ) -> String {
        let mut text = format!("{}\n\n", self.plan.describe(&self.recipe, &state.model, device));
        let mut line =
            |name: &str, value: String| writeln!(text, "{name:<15} {value}").expect("a string grows");
        line("run", self.path("").display().to_string());
        let size = self.plan.config.geometry.image_size();
        let warnings = mae_data::data_warnings(self.data.train.as_ref(), size);
        warnings.iter().for_each(|warning| line("warning", warning.to_string()));
        no_room(state, ADAMW_MOMENTS, &self.folder).into_iter().for_each(|text| line("warning", text));
        damaged.iter().for_each(|error| line("damaged", chain(error)));
        changes.iter().for_each(|change| line("changed", change.clone()));
        if state.step > 0 {
            line("continuing", format!("after step {} of {}", state.step, self.plan.pace.total_steps));
        }
        text
    }
}

impl Job for Run {
    fn path(&self, name: &str) -> PathBuf {
        Self::path(self, name)
    }

    fn pace(&self) -> &Pace {
        &self.plan.pace
    }

    fn ranks(&self) -> &Arc<dyn Collective> {
        Self::ranks(self)
    }

    fn bad_files(&self) -> Vec<mae_data::BadFile> {
        Self::bad_files(self)
    }
}

/// One process alone.
pub(crate) fn single() -> Arc<dyn Collective> {
    Arc::new(Single)
}

/// The evaluation with the lowest held-out loss, the first of equal ones.
fn lowest(evaluations: Vec<Evaluation>) -> Option<Evaluation> {
    let measured = evaluations.into_iter().filter_map(|e| e.val_loss.map(|loss| (loss, e)));
    measured.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, evaluation)| evaluation)
}
