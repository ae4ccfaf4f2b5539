//! What a classifier's training does, as data.

use std::path::{Path, PathBuf};

use mae_vit::{Compute, Normalize, Pooling, Precision};
use serde::{Deserialize, Serialize};

use super::{Lars, Mix};
use crate::pace::{Pace, PaceConfig};
use crate::paths::settle;
use crate::{AdamW, TrainerError};

/// What is trained of a classifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The encoder too, or its last blocks, by AdamW.
    #[default]
    Finetune,
    /// A linear layer on the features of the encoder as it is, by LARS.
    Probe,
}

/// Training of a classifier. Every field has a default but the weights and the images; unknown keys are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClassifyRecipe {
    /// What is trained.
    pub method: Method,
    /// Everything random is drawn from it: the head, order, crops, mixtures.
    pub seed: u64,
    /// Passes over the data set.
    pub epochs: u64,
    /// Images of one forward pass; by default at most 64 and at most a quarter of an epoch.
    pub batch_size: Option<usize>,
    /// Forward passes that make one update.
    pub accum_iter: usize,
    /// The type of the encoder's matrix products; f32 by default, and on the command line bf16 where the device is a card
    /// that has it.
    pub precision: Option<Precision>,
    /// Whether blocks compute their activations again in the backward pass instead of keeping them.
    pub grad_checkpointing: bool,
    /// What it starts from.
    pub model: ClassifyModel,
    /// The images.
    pub data: ClassifyData,
    /// How they are mixed.
    pub mix: Mix,
    /// How weights are changed.
    pub optim: ClassifyOptim,
    /// What is measured and saved on the way.
    pub eval: ClassifyEval,
}

/// The model section of a [`ClassifyRecipe`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClassifyModel {
    /// A file with an encoder, or a run's folder.
    pub weights: PathBuf,
    /// Which model of a file that holds several; timm's choice by default.
    pub weights_key: Option<String>,
    /// Random weights instead, of the same shape: what pre-training is to be compared with.
    pub from_scratch: bool,
    /// Blocks that are fine-tuned, the last ones; all, and what is before them, by default.
    pub blocks: Option<usize>,
    /// Tokens that make an image's features; by default the patches' mean for fine-tuning, the class token for probes, as
    /// in the paper.
    pub pooling: Option<Pooling>,
    /// Share of the samples for which a branch of the last block is left out; linearly fewer before it.
    pub drop_path: f64,
}

/// The data section of a [`ClassifyRecipe`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClassifyData {
    /// Folder of images to learn from, one sub-folder a class.
    pub train: PathBuf,
    /// Folder of images to be measured on, with the same sub-folders.
    pub val: PathBuf,
    /// Decoding threads.
    pub workers: usize,
    /// Decoded batches held in memory ahead of the model.
    pub prefetch_batches: usize,
    /// Share of unreadable training files that a run puts up with.
    pub max_bad_share: f64,
    /// Range of the share of an image's area that a training crop keeps.
    pub crop_scale: (f64, f64),
    /// Whether half of the training images are mirrored.
    pub flip: bool,
    /// RandAugment's magnitude, 0 to 10; 0 for none. Two operations an image, magnitudes that deviate by half of one.
    pub rand_augment: f64,
    /// Share of the training images of which a rectangle is replaced by noise.
    pub erasing: f64,
    /// Pixels of the model's shorter side before the crop of an evaluation; the model's own by default.
    /// [`EvalTransform::new`](mae_data::EvalTransform::new) says what it does.
    pub resize: Option<usize>,
    /// Pixel means and deviations by channel; as the weights' file says by default, or ImageNet's.
    pub normalize: Option<Normalize>,
    /// For probes: features are taken once, of the centre, rather than of a new crop each time.
    pub cached: bool,
    /// Number of training images: filled in when a run is made, held against the folder when it is continued.
    pub images: Option<usize>,
}

/// The optimizer section of a [`ClassifyRecipe`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClassifyOptim {
    /// Learning rate for an update of 256 images.
    pub base_lr: f64,
    /// Where the cosine ends.
    pub min_lr: f64,
    /// Linear warm-up; a tenth of the epochs by default.
    pub warmup_epochs: Option<f64>,
    /// For fine-tuning: AdamW's numbers.
    pub adamw: AdamW,
    /// For fine-tuning: by what the rate of each layer is multiplied, once for each layer above it.
    pub layer_decay: f64,
    /// For fine-tuning: largest norm of the whole gradient.
    pub clip_grad: Option<f64>,
    /// For probes: LARS's numbers.
    pub lars: Lars,
}

/// The evaluation section of a [`ClassifyRecipe`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClassifyEval {
    /// Epochs between evaluations; a tenth of the run by default. The last epoch is always evaluated.
    pub every_epochs: Option<u64>,
    /// Minutes between checkpoints; one is written at the end in any case.
    pub checkpoint_minutes: f64,
    /// Updates between checkpoints, beside those by time.
    pub checkpoint_steps: Option<u64>,
    /// Checkpoints that are kept, the newest.
    pub keep_checkpoints: usize,
}

impl Default for ClassifyRecipe {
    /// Fine-tuning of a small model on a small set; [`named`](Self::named) has the paper's.
    fn default() -> Self {
        Self {
            method: Method::Finetune,
            seed: 0,
            epochs: 50,
            batch_size: None,
            accum_iter: 1,
            precision: None,
            grad_checkpointing: false,
            model: ClassifyModel::default(),
            data: ClassifyData::default(),
            mix: Mix::default(),
            optim: ClassifyOptim::default(),
            eval: ClassifyEval::default(),
        }
    }
}

impl Default for ClassifyData {
    fn default() -> Self {
        Self {
            train: PathBuf::new(),
            val: PathBuf::new(),
            workers: 1,
            prefetch_batches: 4,
            max_bad_share: 0.05,
            // MAE §A.1: torchvision's default of RandomResizedCrop, for probes and fine-tuning.
            crop_scale: (0.08, 1.0),
            flip: true,
            rand_augment: 0.0,
            erasing: 0.0,
            resize: None,
            normalize: None,
            cached: false,
            images: None,
        }
    }
}

impl Default for ClassifyOptim {
    fn default() -> Self {
        Self {
            base_lr: 2e-3,
            min_lr: 1e-6,
            warmup_epochs: None,
            // MAE table 9.
            adamw: AdamW { betas: (0.9, 0.999), ..AdamW::default() },
            layer_decay: 0.75,
            clip_grad: None,
            lars: Lars::default(),
        }
    }
}

impl Default for ClassifyEval {
    fn default() -> Self {
        Self { every_epochs: None, checkpoint_minutes: 5.0, checkpoint_steps: None, keep_checkpoints: 1 }
    }
}

impl ClassifyRecipe {
    /// What is taken where nothing is said: small runs on one machine. [`named`](Self::named) has the paper's.
    pub fn default_of(method: Method) -> Self {
        let mut recipe = Self { method, ..Self::default() };
        if method == Method::Probe {
            // MAE table 10.
            (recipe.optim.base_lr, recipe.optim.min_lr) = (0.1, 0.0);
            recipe.epochs = 90;
        }
        recipe
    }

    /// Reads a TOML file.
    ///
    /// # Errors
    /// If it cannot be read, is not TOML or has a key or a value that a recipe has not.
    pub fn read(path: &Path) -> Result<Self, TrainerError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| TrainerError::Read { path: path.into(), source })?;
        Self::parse(&text, path)
    }

    /// Reads TOML that came from `path`.
    pub(super) fn parse(text: &str, path: &Path) -> Result<Self, TrainerError> {
        toml::from_str(text)
            .map_err(|source| TrainerError::Recipe { path: path.into(), source: Box::new(source) })
    }

    /// The recipe as TOML.
    ///
    /// # Panics
    /// If a path is not UTF-8; a resolved recipe has none such.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a recipe has string keys and plain values")
    }

    /// How the encoder computes.
    pub fn compute(&self) -> Compute {
        Compute { precision: self.precision.unwrap_or_default(), grad_checkpointing: self.grad_checkpointing }
    }

    /// Images of an update.
    pub fn effective_batch(&self) -> usize {
        self.batch_size.unwrap_or(1).saturating_mul(self.accum_iter)
    }

    /// Tokens that make an image's features.
    pub fn pooling(&self) -> Pooling {
        self.model.pooling.unwrap_or(match self.method {
            Method::Finetune => Pooling::MeanPatch,
            Method::Probe => Pooling::ClassToken,
        })
    }

    /// Fills in what follows from the rest, for a training set of `len` images, and checks every value.
    ///
    /// # Errors
    /// Names the field, its value and the bound.
    pub fn resolve(mut self, len: usize) -> Result<Self, TrainerError> {
        self.precision.get_or_insert_default();
        self.batch_size.get_or_insert(1 << (len / 4).clamp(1, 64).ilog2());
        self.data.images.get_or_insert(len);
        self.model.pooling = Some(self.pooling());
        self.eval.every_epochs.get_or_insert((self.epochs / 10).max(1));
        self.optim.warmup_epochs.get_or_insert(self.epochs as f64 / 10.0);
        self.settle_paths()?;
        self.validate(len)?;
        Ok(self)
    }

    /// Makes paths absolute.
    pub(super) fn settle_paths(&mut self) -> Result<(), TrainerError> {
        settle("model.weights", &mut self.model.weights)?;
        settle("data.train", &mut self.data.train)?;
        settle("data.val", &mut self.data.val)
    }

    /// Updates and what is due when, of a resolved recipe.
    pub(super) fn pace(&self, len: usize) -> Result<Pace, TrainerError> {
        Pace::new(&PaceConfig {
            epochs: self.epochs,
            warmup_epochs: self.optim.warmup_epochs.unwrap_or(0.0),
            base_lr: self.optim.base_lr,
            min_lr: self.optim.min_lr,
            samples: len,
            effective_batch: self.effective_batch(),
            drop_last: true,
            every_epochs: self.eval.every_epochs.unwrap_or(1),
            checkpoint_steps: self.eval.checkpoint_steps,
        })
    }

    fn validate(&self, len: usize) -> Result<(), TrainerError> {
        let within = |name, ok: bool, value: &dyn ToString, bound: &str| match ok {
            true => Ok(()),
            false => Err(TrainerError::argument(name, value.to_string(), bound)),
        };
        if let Some(images) = self.data.images.filter(|images| *images != len) {
            return Err(TrainerError::DataChanged { images, len });
        }
        let (model, data, mix, optim, eval) = (&self.model, &self.data, &self.mix, &self.optim, &self.eval);
        let (batch, effective) = (self.batch_size.unwrap_or(0), self.effective_batch());
        within("epochs", self.epochs >= 1, &self.epochs, "at least 1")?;
        within("accum_iter", self.accum_iter >= 1, &self.accum_iter, "at least 1")?;
        within("batch_size", batch >= 1, &batch, "at least 1")?;
        let bound = format!("at most the data set's {len} images");
        within("batch_size times accum_iter", effective <= len, &effective, &bound)?;
        let bound = "at least 2 for a probe, whose features are standardised over an update";
        within(
            "batch_size times accum_iter",
            self.method == Method::Finetune || effective > 1,
            &effective,
            bound,
        )?;
        within("drop_path", (0.0..1.0).contains(&model.drop_path), &model.drop_path, "in [0, 1)")?;
        within("workers", data.workers >= 1, &data.workers, "at least 1")?;
        within("prefetch_batches", data.prefetch_batches >= 1, &data.prefetch_batches, "at least 1")?;
        let (low, high) = data.crop_scale;
        let bound = "a range within (0, 1]";
        within("crop_scale", 0.0 < low && low <= high && high <= 1.0, &format!("{low} to {high}"), bound)?;
        within(
            "rand_augment",
            (0.0..=10.0).contains(&data.rand_augment),
            &data.rand_augment,
            "from 0 to 10",
        )?;
        within("resize", data.resize != Some(0), &0, "at least 1")?;
        let cached = data.cached && self.method == Method::Finetune;
        within("cached", !cached, &true, "false for fine-tuning: its features change")?;
        for (name, share) in [
            ("max_bad_share", data.max_bad_share),
            ("erasing", data.erasing),
            ("mix.prob", mix.prob),
            ("switch_prob", mix.switch_prob),
            ("momentum", optim.lars.momentum),
        ] {
            within(name, (0.0..=1.0).contains(&share), &share, "from 0 to 1")?;
        }
        within(
            "label_smoothing",
            (0.0..1.0).contains(&mix.label_smoothing),
            &mix.label_smoothing,
            "in [0, 1)",
        )?;
        // Beyond 1 shares gather around a half, and drawing them takes ever longer.
        for (name, parameter) in [("mixup", mix.mixup), ("cutmix", mix.cutmix)] {
            within(name, (0.0..=2.0).contains(&parameter), &parameter, "from 0 to 2")?;
        }
        let warmup = optim.warmup_epochs.unwrap_or(0.0);
        let bound = format!("from 0 to the {} epochs of the run", self.epochs);
        within("warmup_epochs", (0.0..=self.epochs as f64).contains(&warmup), &warmup, &bound)?;
        optim.adamw.validate()?;
        let decay = optim.layer_decay;
        within("layer_decay", decay > 0.0 && decay <= 1.0, &decay, "in (0, 1]")?;
        for (name, number) in [("clip_grad", optim.clip_grad.unwrap_or(1.0)), ("trust", optim.lars.trust)] {
            within(name, number > 0.0 && number.is_finite(), &number, "positive and finite")?;
        }
        let every = eval.every_epochs.unwrap_or(1);
        within("every_epochs", every >= 1, &every, "at least 1")?;
        let minutes = eval.checkpoint_minutes;
        within("checkpoint_minutes", minutes >= 0.0, &minutes, "at least 0")?;
        let steps = eval.checkpoint_steps.unwrap_or(1);
        within("checkpoint_steps", steps >= 1, &steps, "at least 1")?;
        within("keep_checkpoints", eval.keep_checkpoints >= 1, &eval.keep_checkpoints, "at least 1")?;
        self.pace(len).map(drop)
    }
}
