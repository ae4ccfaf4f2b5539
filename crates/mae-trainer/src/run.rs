//! A run: its folder, its data, its plan, and its state to start from or continue with.

use std::fs;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use mae_data::{Batch, Batches, DistributedSampler, Loader};
use mae_masking::{MaskBatch, Masker};

use crate::atomic::write_atomic;
use crate::checkpoint::{TrainState, latest_checkpoint, load_checkpoint, save_checkpoint};
use crate::data::{Data, train_loader};
use crate::{Plan, Recipe, TrainerError};

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
}

const RECIPE: &str = "recipe.toml";

impl Run {
    /// Starts a new run in `folder`, which must not hold one yet.
    ///
    /// # Errors
    /// If the recipe, the data or the folder cannot be used; nothing is written before all is checked.
    pub fn create(recipe: &Recipe, folder: &Path) -> Result<Self, TrainerError> {
        if folder.join(RECIPE).exists() {
            return Err(TrainerError::RunExists { path: folder.into() });
        }
        let run = Self::prepare(recipe, folder)?;
        let write = |source| TrainerError::Write { path: folder.into(), source };
        fs::create_dir_all(folder).map_err(write)?;
        write_atomic(&run.path(RECIPE), |file| file.write_all(run.recipe.to_toml().as_bytes()))?;
        Ok(run)
    }

    /// Opens a run to continue it; its folder is all that is needed.
    ///
    /// # Errors
    /// If the folder holds no run, or its data cannot be used any more.
    pub fn open(folder: &Path) -> Result<Self, TrainerError> {
        Self::prepare(&Recipe::read(&folder.join(RECIPE))?, folder)
    }

    fn prepare(recipe: &Recipe, folder: &Path) -> Result<Self, TrainerError> {
        let image_size = recipe.mae_config()?.geometry.image_size();
        let data = Data::open(&recipe.data, image_size)?;
        let recipe = recipe.clone().resolve(data.train.len())?;
        let plan = Plan::new(&recipe, data.train.len())?;
        let loader = train_loader(&data.train, &recipe, plan.batch_size)?;
        let sampler = DistributedSampler::new(data.train.len(), recipe.seed, 0, 1)?;
        let masker =
            Masker::new(recipe.masking.strategy, plan.config.geometry.grid(), recipe.masking.mask_ratio)?;
        Ok(Self { recipe, plan, data, folder: folder.into(), loader, sampler, masker })
    }

    /// A path in the run's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Initial weights and a fresh optimizer.
    ///
    /// # Errors
    /// If the model's description is inconsistent.
    pub fn initial_state(&self, device: &Device) -> Result<TrainState, TrainerError> {
        let model = self.plan.config.init(self.recipe.seed, device)?;
        let optimizer = self.recipe.optim.adamw.init(&model);
        Ok(TrainState { model: model.train(), optimizer, step: 0, elapsed_s: 0.0 })
    }

    /// The state of the last checkpoint, or the initial one.
    ///
    /// # Errors
    /// If there is a checkpoint and it is damaged.
    pub fn latest_state(&self, device: &Device) -> Result<TrainState, TrainerError> {
        let fresh = self.initial_state(device)?;
        match latest_checkpoint(&self.path("checkpoints"))? {
            Some(path) => load_checkpoint(&path, fresh),
            None => Ok(fresh),
        }
    }

    /// Writes a checkpoint.
    ///
    /// # Errors
    /// If it cannot be written; earlier ones stay.
    pub fn save(&self, state: &TrainState) -> Result<PathBuf, TrainerError> {
        let recipe = self.recipe.to_toml();
        save_checkpoint(&self.path("checkpoints"), state, &self.recipe.data.normalize, &recipe)
    }

    /// The batches from update `step` to the end of its epoch.
    ///
    /// # Errors
    /// If loading cannot start.
    pub fn batches(&self, step: u64) -> Result<Batches, TrainerError> {
        let (epoch, update) = self.plan.position(step);
        let mut indices = self.sampler.indices(epoch);
        // A rest that fills no update is left out.
        indices.truncate(self.plan.steps_per_epoch as usize * self.plan.effective_batch);
        let first = update as usize * self.plan.accum_iter;
        Ok(self.loader.epoch(self.recipe.seed, epoch, indices, first)?)
    }

    /// A batch's images, normalised on the device, and its masks: a function of (seed, epoch, index).
    ///
    /// # Errors
    /// If the batch is empty.
    pub fn inputs(
        &self,
        batch: Batch,
        epoch: u64,
        device: &Device,
    ) -> Result<(Tensor<4>, MaskBatch), TrainerError> {
        let samples: Vec<u64> = batch.indices.iter().map(|i| *i as u64).collect();
        let masks = self.masker.draw_batch(self.recipe.seed, epoch, &samples)?;
        Ok((self.recipe.data.normalize.images(batch.images, batch.shape, device), masks))
    }

    /// Files that could not be read and were replaced, once each.
    pub fn bad_files(&self) -> Vec<mae_data::BadFile> {
        self.loader.bad_files()
    }
}

/// The first folder of `parent` named `name-1`, `name-2`, … that does not exist yet.
pub fn next_folder(parent: &Path, name: &str) -> PathBuf {
    let free = (1..).map(|n| parent.join(format!("{name}-{n}"))).find(|path| !path.exists());
    free.expect("there are more numbers than folders")
}
