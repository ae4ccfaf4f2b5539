//! Recipes: the file in which users describe a run, and the settings that it resolves to.

mod changes;
mod common;
mod named;
mod paths;
mod public;
mod rank_count;
mod section;
mod validate;

use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use mae_data::PixelFormat;
use mae_vit::{Compute, Normalize};
use serde::de::{DeserializeSeed, Error, MapAccess};
use serde::{Deserialize, Deserializer, Serialize};

use crate::TrainerError;

pub use changes::Change;
pub(crate) use changes::changes;
pub use common::{
    DataRecipe, DataSettings, EvalRecipe, EvalSettings, OptimRecipe, OptimSettings, TrainRecipe,
    TrainSettings,
};
pub(crate) use paths::settle;
pub use public::PublicRecipe;
pub(crate) use section::Onto;
pub use section::{Field, Resume, Section};
#[doc(hidden)]
pub use section::{read_section, visit_path};
pub(crate) use validate::within;

/// The requested settings of a run: the sections that all tasks have, and the task's own.
///
/// In TOML, the fields of [`train`](Self::train) are top-level keys, and the sections of [`task`](Self::task) are
/// tables beside the others. Every field has a default; unknown keys are refused.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recipe<S> {
    /// How long to train, in which batches, with which precision.
    #[serde(flatten)]
    pub train: TrainRecipe,
    /// The images.
    pub data: DataRecipe,
    /// The optimizer and its schedule.
    pub optim: OptimRecipe,
    /// What is measured, drawn and saved during training.
    pub eval: EvalRecipe,
    /// The task's own sections.
    #[serde(flatten)]
    pub task: S,
}

/// A resolved recipe: every field is filled in.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Settings<S> {
    /// How long to train, in which batches, with which precision.
    #[serde(flatten)]
    pub train: TrainSettings,
    /// The images.
    pub data: DataSettings,
    /// The optimizer and its schedule.
    pub optim: OptimSettings,
    /// What is measured, drawn and saved during training.
    pub eval: EvalSettings,
    /// The task's own sections.
    #[serde(flatten)]
    pub task: S,
}

/// A task's own sections of a recipe.
pub trait TaskRecipe: Section {
    /// The task's name in recipes, folders and messages, e.g. `pretrain`.
    const TASK: &'static str;

    /// Name and text of each named recipe, small to large.
    const NAMED: &'static [(&'static str, &'static str)] = &[];

    /// Sets the task's own defaults.
    fn defaults(_: &mut Recipe<Self>) {}
}

/// The TOML key that names a recipe's task.
pub(crate) const TASK: &str = "task";

impl<S: TaskRecipe> Default for Recipe<S> {
    fn default() -> Self {
        let mut recipe = Self {
            train: TrainRecipe::default(),
            data: DataRecipe::default(),
            optim: OptimRecipe::default(),
            eval: EvalRecipe::default(),
            task: S::default(),
        };
        S::defaults(&mut recipe);
        recipe
    }
}

impl<S: TaskRecipe> Section for Recipe<S> {
    type Settings = Settings<S::Settings>;

    fn fields() -> Vec<Field> {
        let table = |name, fields| Field { name, resume: Resume::Free, fields };
        let mut fields = vec![Field { name: TASK, resume: Resume::Fixed, fields: Vec::new() }];
        fields.extend(TrainRecipe::fields());
        fields.push(table("data", DataRecipe::fields()));
        fields.push(table("optim", OptimRecipe::fields()));
        fields.push(table("eval", EvalRecipe::fields()));
        fields.extend(S::fields());
        fields
    }

    fn read<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            // The task was checked before everything else.
            TASK => drop(map.next_value::<String>()?),
            "data" => read_section(&mut self.data, map)?,
            "optim" => read_section(&mut self.optim, map)?,
            "eval" => read_section(&mut self.eval, map)?,
            _ => return Ok(self.train.read(key, map)? || self.task.read(key, map)?),
        }
        Ok(true)
    }

    fn visit_paths(
        &mut self,
        prefix: &str,
        visit: &mut dyn FnMut(&str, &mut PathBuf) -> Result<(), TrainerError>,
    ) -> Result<(), TrainerError> {
        self.data.visit_paths(&format!("{prefix}data."), visit)?;
        self.task.visit_paths(prefix, visit)
    }

    fn settle(self) -> Self::Settings {
        Settings {
            train: self.train.settle(),
            data: self.data.settle(),
            optim: self.optim.settle(),
            eval: self.eval.settle(),
            task: self.task.settle(),
        }
    }
}

impl<S: TaskRecipe> Recipe<S> {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// If the file cannot be read, is not TOML, or has a key or a value that a recipe cannot have.
    pub fn read_file(path: impl AsRef<Path>) -> Result<Self, TrainerError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|source| TrainerError::Read { path: path.into(), source })?;
        Self::parse(&text, path)
    }

    /// Reads TOML that came from `path`.
    pub(crate) fn parse(text: &str, path: &Path) -> Result<Self, TrainerError> {
        let mut recipe = Self::default();
        recipe
            .take_in(text)
            .map_err(|source| TrainerError::Recipe { path: path.into(), source: source.into() })?;
        Ok(recipe)
    }

    /// Sets one field, named by its path in TOML such as `optim.min_lr`. A value that is not TOML is treated as text.
    ///
    /// # Errors
    /// If there is no such field or the value is not of its type.
    pub fn set(&mut self, field: &str, value: &str) -> Result<(), TrainerError> {
        let is_toml = toml::from_str::<toml::Table>(&format!("value = {value}")).is_ok();
        let value = if is_toml { value.to_owned() } else { toml::Value::from(value).to_string() };
        let text = format!("{field} = {value}");
        self.take_in(&text)
            .map_err(|source| TrainerError::Recipe { path: text.into(), source: source.into() })
    }

    /// Reads TOML into the recipe.
    fn take_in(&mut self, text: &str) -> Result<(), toml::de::Error> {
        // Check the task first: a recipe of another task has other sections, and the error should not be about those.
        let read = toml::from_str::<OfTask<S>>(text)
            .and_then(|_| toml::Deserializer::parse(text))
            .and_then(|toml| Onto(self).deserialize(toml));
        read.map_err(|mut error| {
            error.set_input(Some(text));
            error
        })
    }

    /// The recipe as TOML.
    ///
    /// # Panics
    /// If a path is not UTF-8. A run's recipe has no such path.
    pub fn to_toml(&self) -> String {
        to_toml(S::TASK, self)
    }

    /// Fills in the fields that follow from others, for a data set of `len` images. The task has already filled in
    /// those that follow from its model.
    ///
    /// # Errors
    /// If the normalisation of images other than 8-bit RGB is not given.
    pub(crate) fn fill(&mut self, len: usize) -> Result<(), TrainerError> {
        let Self { train, data, optim, eval, .. } = self;
        let ranks = *train.ranks.get_or_insert(1);
        train.batch_size.get_or_insert_with(|| {
            default_batch(len.saturating_mul(data.crops_per_image) / ranks.max(1), data.repeats)
        });
        train.precision.get_or_insert_default();
        data.images.get_or_insert(len);
        match (*data.pixels.get_or_insert_default(), &data.normalize) {
            (PixelFormat::Rgb8, None) => data.normalize = Some(Normalize::imagenet()),
            (pixels, None) => {
                let reason = "set data.normalize, or let it be measured".into();
                return Err(TrainerError::Pixels { pixels, reason });
            }
            _ => {}
        }
        eval.metric_steps.get_or_insert(1);
        eval.every_epochs.get_or_insert((train.epochs / 10).max(1));
        optim.warmup_epochs.get_or_insert(train.epochs as f64 / 10.0);
        Ok(())
    }

    /// Makes paths absolute, so that images keep their names when the run is resumed from another folder.
    pub(crate) fn settle_paths(&mut self) -> Result<(), TrainerError> {
        self.visit_paths("", &mut settle)
    }

    /// How the model computes.
    pub fn compute(&self) -> Compute {
        let TrainRecipe { precision, grad_checkpointing, .. } = self.train;
        Compute { precision: precision.unwrap_or_default(), grad_checkpointing }
    }
}

impl<S> Settings<S> {
    /// The settings that all tasks have.
    pub fn common(&self) -> Settings<()> {
        let Self { train, data, optim, eval, .. } = self;
        Settings {
            train: train.clone(),
            data: data.clone(),
            optim: optim.clone(),
            eval: eval.clone(),
            task: (),
        }
    }
}

impl<S: Serialize> Settings<S> {
    /// The settings as TOML: a recipe of the same run, where `task` is the [`TaskRecipe::TASK`].
    ///
    /// # Panics
    /// If a path is not UTF-8. A run's settings have no such path.
    pub fn to_toml(&self, task: &'static str) -> String {
        to_toml(task, self)
    }

    /// How the model computes.
    pub fn compute(&self) -> Compute {
        let TrainSettings { precision, grad_checkpointing, .. } = self.train;
        Compute { precision, grad_checkpointing }
    }

    /// Images per update on all ranks; each crop counts.
    pub fn effective_batch(&self) -> usize {
        let TrainSettings { batch_size, accum_iter, ranks, .. } = self.train;
        batch_size.saturating_mul(accum_iter).saturating_mul(ranks)
    }
}

/// Reads only the task of a recipe, which must be that of `S`.
#[derive(Deserialize)]
#[serde(bound = "")]
struct OfTask<S: TaskRecipe> {
    #[serde(default, rename = "task", deserialize_with = "task_of::<S, _>")]
    _task: PhantomData<S>,
}

fn task_of<'de, S: TaskRecipe, D: Deserializer<'de>>(task: D) -> Result<PhantomData<S>, D::Error> {
    match String::deserialize(task)? {
        task if task == S::TASK => Ok(PhantomData),
        task => Err(Error::custom(format_args!("task is {task}, but must be {}", S::TASK))),
    }
}

fn to_toml(task: &'static str, recipe: &impl Serialize) -> String {
    #[derive(Serialize)]
    struct File<'a, R> {
        task: &'static str,
        #[serde(flatten)]
        recipe: &'a R,
    }
    toml::to_string(&File { task, recipe }).expect("a recipe has string keys and plain values")
}

/// The largest power of two that is at most 64 and at most a quarter of an epoch, rounded down to a multiple of
/// `repeats`; at least one image.
fn default_batch(len: usize, repeats: usize) -> usize {
    let most = (len.saturating_mul(repeats) / 4).clamp(1, 64);
    ((1 << most.ilog2()) / repeats.max(1)).max(1) * repeats
}

#[cfg(test)]
mod tests {
    use mae_vit::StackConfig;

    use super::*;
    use crate::PretrainRecipe;
    use crate::run::tests::settled;

    #[test]
    fn a_resolved_recipe_survives_its_file() {
        let mut recipe = Recipe::<PretrainRecipe>::default();
        recipe.task.model.encoder = Some(StackConfig::new(96, 3, 4));
        let settings = settled(&recipe, 60).unwrap();
        assert_eq!(settings.task.model.encoder.embed_dim, 96);
        assert_eq!((settings.train.batch_size, settings.task.model.image_size), (8, (32, 32)));
        let text = settings.to_toml(PretrainRecipe::TASK);
        let again = Recipe::<PretrainRecipe>::parse(&text, Path::new("recipe.toml")).unwrap();
        assert_eq!(again.to_toml(), text);
        assert_eq!(settled(&again, 60).unwrap(), settings);
    }

    #[test]
    fn a_default_batch_is_made_of_whole_images() {
        for (len, repeats, expected) in [(60, 1, 8), (60, 3, 30), (1, 4, 4), (1000, 4, 64), (1000, 100, 100)]
        {
            assert_eq!(default_batch(len, repeats), expected, "{repeats} of {len}");
        }
    }

    #[test]
    fn unknown_keys_are_refused_by_name_and_place() {
        let parse = |text| {
            let parsed = Recipe::<PretrainRecipe>::parse(text, Path::new("recipe.toml"));
            crate::chain(&parsed.unwrap_err())
        };
        let error = parse("epochs = 3\n[optim]\nbase_learning_rate = 1.0\n");
        assert!(error.contains("recipe.toml") && error.contains("line 3"), "{error}");
        assert!(error.contains("`base_learning_rate`, expected one of `base_lr`"), "{error}");
        let error = parse("epoch = 3\n");
        assert!(
            error.contains("line 1") && error.contains("`epochs`") && error.contains("`masking`"),
            "{error}"
        );
        let error = parse("[model]\npatch_size = 'four'\n");
        assert!(error.contains("line 2") && error.contains("four"), "{error}");
        let mut recipe = Recipe::<PretrainRecipe>::default();
        for (field, value) in [
            ("optim.betas", "[0.5, 0.6]"),
            ("model.preset", "tiny"),
            ("model.init_from", "a b"),
            ("epochs", "3"),
        ] {
            recipe.set(field, value).unwrap();
        }
        assert_eq!((recipe.train.epochs, recipe.optim.betas), (3, (0.5, 0.6)));
        assert_eq!(recipe.task.model.init_from.as_deref(), Some(Path::new("a b")));
        let error = crate::chain(&recipe.set("optim.lr", "1").unwrap_err());
        assert!(error.contains("optim.lr = 1") && error.contains("`base_lr`"), "{error}");
        let error = parse("task = 'probe'\n[probe]\ncached = true\n");
        assert!(error.contains("line 1") && error.contains("must be pretrain"), "{error}");
    }
}
