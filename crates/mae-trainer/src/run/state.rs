//! A run's state: how it starts and resumes, what is saved of it, and when it ends.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::Device;
use mae_model::SavedModel;

use super::checkpoint::{
    TrainState, averaged_weights, last_step, list_checkpoints, load_checkpoint, name_of, save_checkpoint,
};
use super::{CHECKPOINTS, RECIPE, Run, lock};
use crate::context::contents;
use crate::device::check_compute;
use crate::{Ema, PublicRecipe, Task, TrainerError, resizing};
use mae_report::{EVALUATIONS, Evaluation, read_evaluations, write_atomic};

/// The weights of a finished run's best evaluation, beside the final ones, if it is not the last evaluation.
const BEST: &str = "best.safetensors";

/// A state from which a run continues.
pub struct Restored<M> {
    /// The state.
    pub state: TrainState<M>,
    /// The errors of newer checkpoints that could not be used.
    pub damaged: Vec<TrainerError>,
}

impl<T: Task> Run<T> {
    /// Initial weights and a fresh optimizer.
    ///
    /// # Errors
    /// If the model's description is inconsistent, or the device does not support the recipe's compute settings.
    pub fn initial_state(&self, device: &Device) -> Result<TrainState<T::Model>, TrainerError> {
        check_compute(self.settings.compute(), device)?;
        self.state_of(self.task.init(self.settings.train.seed, device)?)
    }

    /// The state of a model at the start of training.
    fn state_of(&self, model: T::Model) -> Result<TrainState<T::Model>, TrainerError> {
        if !mae_model::has_path_ids(&model) {
            // The optimizer's state is stored under ids. With other ids, it would not find its parameters when the run
            // is resumed.
            let bound = "those that mae_model::with_path_ids gives";
            return Err(TrainerError::argument("the ids of the model's parameters", "others", bound));
        }
        let optimizer = self.task.optimizer(&self.settings, &model);
        let ema = self.settings.optim.ema.map(|decay| Ema::new(&model, decay));
        let model = model.train();
        Ok(TrainState { model, optimizer, ema, step: 0, elapsed_s: 0.0, skipped: Vec::new() })
    }

    /// The state of the newest intact checkpoint, or the initial state if there is no checkpoint. All ranks get the
    /// main rank's. Weights that a new run starts from are written as its first checkpoint.
    ///
    /// # Errors
    /// If there are checkpoints but all are damaged: the error of the newest. If the weights to start from cannot be
    /// used: a run that was just created is then removed.
    pub fn latest_state(&self, device: &Device) -> Result<Restored<T::Model>, TrainerError> {
        let Restored { state, damaged } = match self.ranks().is_main() {
            true => self.latest_written(device)?,
            false => Restored { state: self.initial_state(device)?, damaged: Vec::new() },
        };
        Ok(Restored { state: self.share(state)?, damaged })
    }

    fn latest_written(&self, device: &Device) -> Result<Restored<T::Model>, TrainerError> {
        let fresh = self.initial_state(device)?;
        let mut damaged = Vec::new();
        for path in list_checkpoints(self.path(CHECKPOINTS))?.iter().rev() {
            match load_checkpoint(path, fresh.clone()) {
                Ok(state) => return Ok(Restored { state, damaged }),
                Err(error) => damaged.push(error),
            }
        }
        if let Some(newest) = damaged.into_iter().next() {
            return Err(newest);
        }
        let start = self.task.start(self.settings.train.seed, device).inspect_err(|_| self.unmake())?;
        let state = match start {
            Some(model) => {
                let state = self.state_of(model)?;
                // From here on, the run needs only its folder and its images.
                self.save(&state)?;
                state
            }
            None => fresh,
        };
        Ok(Restored { state, damaged: Vec::new() })
    }

    /// The best evaluation by the task's [`best`](Task::best) metric, the first of equal ones, with its value.
    ///
    /// # Errors
    /// If the evaluations cannot be read.
    pub fn best(&self) -> Result<Option<(Evaluation, f64)>, TrainerError> {
        Ok(self.task.best().best(read_evaluations(self.path(EVALUATIONS))?))
    }

    /// The step of the newest checkpoint, on the main rank.
    pub(crate) fn last_checkpoint(&self) -> Result<Option<u64>, TrainerError> {
        last_step(&self.path(CHECKPOINTS))
    }

    /// The folder of a step's checkpoint.
    pub fn checkpoint(&self, step: u64) -> PathBuf {
        self.path(CHECKPOINTS).join(name_of(step))
    }

    /// Whether the run ends after `step` updates: they were the last ones, or the last `patience` evaluations were no
    /// better than the best one before.
    ///
    /// # Errors
    /// If the evaluations cannot be read.
    pub fn finished(&self, step: u64) -> Result<bool, TrainerError> {
        let Some(patience) = self.settings.eval.patience.filter(|_| self.pace.evaluation_due(step)) else {
            return Ok(step >= self.pace.total_steps);
        };
        let mut worse = 0;
        if self.ranks().is_main() {
            let evaluations = read_evaluations(self.path(EVALUATIONS))?;
            let steps: Vec<u64> = evaluations.iter().map(|e| e.step).collect();
            let best = self.task.best().best(evaluations).map_or(0, |(best, _)| best.step);
            worse = steps.into_iter().filter(|other| (best + 1..=step).contains(other)).count() as u64;
        }
        Ok(step >= self.pace.total_steps || self.ranks().main_number(worse)? >= patience)
    }

    /// Writes a checkpoint, on the main rank. Keeps the newest checkpoints and that of the best evaluation.
    ///
    /// # Errors
    /// If it cannot be written; earlier ones remain.
    pub fn save(&self, state: &TrainState<T::Model>) -> Result<PathBuf, TrainerError> {
        let folder = self.path(CHECKPOINTS);
        if !self.ranks().is_main() {
            return Ok(folder.join(name_of(state.step)));
        }
        let best = self.best()?.map(|(best, _)| best.step);
        let (normalize, keep) = (&self.settings.data.normalize, self.settings.eval.keep_checkpoints);
        save_checkpoint(&folder, state, normalize, &self.metadata()?, keep, best)
    }

    /// Writes a model with everything that is needed to use it.
    ///
    /// # Errors
    /// If it cannot be written; an existing file remains.
    pub fn save_model<M: SavedModel>(&self, model: &M, path: impl AsRef<Path>) -> Result<(), TrainerError> {
        let path = path.as_ref();
        Ok(mae_model::save(model, &self.settings.data.normalize, &self.metadata()?, path)?)
    }

    /// Copies the weights of an evaluation's checkpoint to `best.safetensors`. If there is no such evaluation, or its
    /// checkpoint is gone, removes that file and returns `None`.
    ///
    /// # Errors
    /// If the checkpoint cannot be read, or the file cannot be written or removed.
    pub(crate) fn save_best(&self, best: Option<&Evaluation>) -> Result<Option<PathBuf>, TrainerError> {
        let path = self.path(BEST);
        let open = |best: &Evaluation| {
            let path = averaged_weights(&self.checkpoint(best.step));
            match File::open(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                opened => opened.map(Some).map_err(|source| TrainerError::Read { path, source }),
            }
        };
        let weights = best.map(open).transpose()?.flatten();
        match weights.map_or_else(|| fs::remove_file(&path).map(|()| None), |file| Ok(Some(file))) {
            Ok(Some(mut weights)) => {
                write_atomic(&path, |copy| io::copy(&mut weights, copy).map(drop))?;
                Ok(Some(path))
            }
            Err(source) if source.kind() != ErrorKind::NotFound => Err(TrainerError::Write { path, source }),
            _ => Ok(None),
        }
    }

    /// The metadata of the run's weight files: its recipe, and how evaluation resizes images.
    pub(super) fn metadata(&self) -> Result<BTreeMap<String, String>, TrainerError> {
        let recipe = (PublicRecipe::KEY.to_owned(), self.recipe_text());
        Ok([recipe, resizing::said(&self.eval_transform()?).entry()].into())
    }

    /// Removes the files that a new run has written to its folder.
    fn unmake(&self) {
        if self.is_new {
            for name in [RECIPE, contents::FILE, lock::FILE] {
                // A file that cannot be removed does no harm.
                let _ = fs::remove_file(self.path(name));
            }
            let _ = fs::remove_dir(self.path(""));
        }
    }
}
