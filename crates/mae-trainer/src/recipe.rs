//! What a run does, as data: the file that users write and that a run directory keeps.

use std::path::{Path, PathBuf};

use mae_masking::Strategy;
use mae_model::{MaeConfig, Preset};
use mae_vit::{Compute, Geometry, Normalize, Pooling, Precision, StackConfig};
use serde::{Deserialize, Serialize};

use crate::knn::KNN_TEMPERATURE;
use crate::paths::settle;
use crate::{AdamW, OnNan, TrainerError};

/// A pre-training run. Every field has a default; unknown keys are refused.
///
/// Fields that are `None` follow from others; [`resolve`](Self::resolve) fills them in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// Everything random is drawn from it: weights, order, crops, masks.
    pub seed: u64,
    /// Passes over the data set.
    pub epochs: u64,
    /// Images of one forward pass of each rank, each crop counted where `data.repeats` makes several; by default at most
    /// 64 and at most a quarter of the rank's part of an epoch.
    pub batch_size: Option<usize>,
    /// Forward passes whose gradients are averaged for one update.
    pub accum_iter: usize,
    /// Processes that train together; filled in when a run is made. An update takes
    /// `batch_size · accum_iter · ranks` images.
    pub ranks: Option<usize>,
    /// The type of matrix products; f32 by default, and on the command line bf16 where the device is a card that has it.
    pub precision: Option<Precision>,
    /// Whether blocks compute their activations again in the backward pass instead of keeping them.
    pub grad_checkpointing: bool,
    /// Where images come from.
    pub data: DataRecipe,
    /// What is trained.
    pub model: ModelRecipe,
    /// What is hidden from it.
    pub masking: MaskingRecipe,
    /// How it is trained.
    pub optim: OptimRecipe,
    /// What is measured, drawn and saved on the way.
    pub eval: EvalRecipe,
}

/// The data section of a [`Recipe`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataRecipe {
    /// Folder of images or of tar files packed from them; without one, the built-in shapes.
    pub path: Option<PathBuf>,
    /// Folder of held-out images for pictures and kNN accuracy.
    pub val: Option<PathBuf>,
    /// Decoding threads.
    pub workers: usize,
    /// Decoded batches held in memory ahead of the model.
    pub prefetch_batches: usize,
    /// Share of unreadable files that a run puts up with.
    pub max_bad_share: f64,
    /// Stop at the first unreadable file.
    pub strict: bool,
    /// Range of the share of an image's area that a crop keeps.
    pub crop_scale: (f64, f64),
    /// Whether half of the images are mirrored.
    pub flip: bool,
    /// Crops made of each image when it is decoded: all of them are in the same batch, and an epoch is as many times
    /// longer.
    pub repeats: usize,
    /// Whether images that fill no update are left out of an epoch; otherwise its last update is filled up with images
    /// from the epoch's start.
    pub drop_last: bool,
    /// Number of built-in shapes to train on.
    pub shapes: usize,
    /// Pixel means and deviations by channel.
    pub normalize: Normalize,
    /// Number of training images: filled in when a run is made, held against the folder when it is continued.
    pub images: Option<usize>,
}

/// The model section of a [`Recipe`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelRecipe {
    /// Widths and depths.
    pub preset: Preset,
    /// (height, width) in pixels; the preset's by default.
    pub image_size: Option<(usize, usize)>,
    /// Side of a patch in pixels; the preset's by default.
    pub patch_size: Option<usize>,
    /// The encoder's blocks; the preset's by default.
    pub encoder: Option<StackConfig>,
    /// The decoder's blocks; the preset's by default.
    pub decoder: Option<StackConfig>,
    /// Whether target patches are normalised one by one.
    pub norm_pix_loss: bool,
}

/// The masking section of a [`Recipe`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MaskingRecipe {
    /// Which patches are hidden.
    pub strategy: Strategy,
    /// Share of the patches that is hidden.
    pub mask_ratio: f64,
}

/// The optimizer section of a [`Recipe`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimRecipe {
    /// Learning rate for an effective batch of 256 images.
    pub base_lr: f64,
    /// Where the cosine ends.
    pub min_lr: f64,
    /// Linear warm-up; a tenth of the epochs by default.
    pub warmup_epochs: Option<f64>,
    /// The optimizer's own numbers.
    pub adamw: AdamW,
    /// Largest norm of the gradient of all parameters together; larger ones are scaled down to it.
    pub clip_grad: Option<f64>,
    /// Decay of a moving average of the weights, which is then what is evaluated, drawn and kept at the end.
    pub ema: Option<f64>,
    /// What happens to an update whose loss or gradient is not finite.
    pub on_nan: OnNan,
    /// Most updates that are left out for that.
    pub max_nan: u64,
}

/// The evaluation section of a [`Recipe`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvalRecipe {
    /// Neighbours that vote.
    pub knn_k: usize,
    /// Temperature of their votes.
    pub knn_temperature: f64,
    /// Tokens that make an image's feature vector.
    pub pooling: Pooling,
    /// Most images used on each side of a kNN evaluation.
    pub max_images: usize,
    /// Images in the pictures.
    pub pictures: usize,
    /// Epochs between evaluations; a tenth of the run and at least 5 by default. The last epoch is always evaluated.
    pub every_epochs: Option<u64>,
    /// Evaluations in a row without a lower held-out loss after which a run ends early.
    pub patience: Option<u64>,
    /// Minutes between checkpoints; one is written at the end in any case.
    pub checkpoint_minutes: f64,
    /// Updates between checkpoints, beside those by time.
    pub checkpoint_steps: Option<u64>,
    /// Updates between readings of loss and gradient norm, for each of which a device that works ahead is waited for; 1
    /// by default, and on the command line 10 where the device is a card. Every update is read where gradients are
    /// clipped or averaged over ranks.
    pub metric_steps: Option<u64>,
    /// Checkpoints that are kept, the newest.
    pub keep_checkpoints: usize,
}

impl Default for Recipe {
    /// For a small run on one machine; see docs for the paper's.
    fn default() -> Self {
        Self {
            seed: 0,
            epochs: 100,
            batch_size: None,
            accum_iter: 1,
            ranks: None,
            precision: None,
            grad_checkpointing: false,
            data: DataRecipe::default(),
            model: ModelRecipe::default(),
            masking: MaskingRecipe::default(),
            optim: OptimRecipe::default(),
            eval: EvalRecipe::default(),
        }
    }
}

impl Default for DataRecipe {
    fn default() -> Self {
        Self {
            path: None,
            val: None,
            workers: 1,
            prefetch_batches: 4,
            max_bad_share: 0.05,
            strict: false,
            // MAE table 8: RandomResizedCrop with torchvision's ratio and this scale.
            crop_scale: (0.2, 1.0),
            flip: true,
            repeats: 1,
            // As the official code's loader does.
            drop_last: true,
            shapes: 8192,
            normalize: Normalize::imagenet(),
            images: None,
        }
    }
}

impl Default for ModelRecipe {
    fn default() -> Self {
        Self {
            preset: Preset::Nano,
            image_size: None,
            patch_size: None,
            encoder: None,
            decoder: None,
            norm_pix_loss: true,
        }
    }
}

impl Default for MaskingRecipe {
    fn default() -> Self {
        Self { strategy: Strategy::Random, mask_ratio: 0.75 }
    }
}

impl Default for OptimRecipe {
    fn default() -> Self {
        // Small batches need a higher rate per image than the paper's 1.5e-4 at 4096 images.
        Self {
            base_lr: 2e-3,
            min_lr: 0.0,
            warmup_epochs: None,
            adamw: AdamW::default(),
            clip_grad: None,
            ema: None,
            on_nan: OnNan::Stop,
            max_nan: 10,
        }
    }
}

impl Default for EvalRecipe {
    fn default() -> Self {
        Self {
            knn_k: 20,
            knn_temperature: KNN_TEMPERATURE,
            pooling: Pooling::MeanPatch,
            max_images: 10_000,
            pictures: 8,
            every_epochs: None,
            patience: None,
            checkpoint_minutes: 5.0,
            checkpoint_steps: None,
            metric_steps: None,
            keep_checkpoints: 2,
        }
    }
}

impl Recipe {
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
    pub(crate) fn parse(text: &str, path: &Path) -> Result<Self, TrainerError> {
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

    /// Fills in what follows from the rest, for a data set of `len` images, and checks every value.
    ///
    /// # Errors
    /// Names the field, its value and the bound.
    pub fn resolve(mut self, len: usize) -> Result<Self, TrainerError> {
        let model = &mut self.model;
        let side = model.preset.image_size();
        model.image_size.get_or_insert((side, side));
        model.patch_size.get_or_insert(model.preset.patch_size());
        let ranks = *self.ranks.get_or_insert(1);
        self.batch_size.get_or_insert_with(|| default_batch(len / ranks.max(1), self.data.repeats));
        self.data.images.get_or_insert(len);
        self.precision.get_or_insert_default();
        self.eval.metric_steps.get_or_insert(1);
        self.eval.every_epochs.get_or_insert((self.epochs / 10).max(5));
        self.optim.warmup_epochs.get_or_insert(self.epochs as f64 / 10.0);
        self.settle_paths()?;
        self.validate(len)?;
        Ok(self)
    }

    /// Makes paths absolute.
    pub(crate) fn settle_paths(&mut self) -> Result<(), TrainerError> {
        for (field, path) in [("data.path", &mut self.data.path), ("data.val", &mut self.data.val)] {
            path.as_mut().map_or(Ok(()), |path| settle(field, path))?;
        }
        Ok(())
    }

    /// How the model computes.
    pub fn compute(&self) -> Compute {
        Compute { precision: self.precision.unwrap_or_default(), grad_checkpointing: self.grad_checkpointing }
    }

    /// The model's description; sizes are the preset's unless set.
    ///
    /// # Errors
    /// If the patches do not tile the image.
    pub fn mae_config(&self) -> Result<MaeConfig, TrainerError> {
        let preset = self.model.preset;
        let side = preset.image_size();
        let geometry = Geometry::new(
            self.model.image_size.unwrap_or((side, side)),
            self.model.patch_size.unwrap_or(preset.patch_size()),
            IN_CHANS,
        )?;
        let stacks = preset.stacks();
        Ok(MaeConfig {
            encoder: self.model.encoder.unwrap_or(stacks.0),
            decoder: self.model.decoder.unwrap_or(stacks.1),
            norm_pix_loss: self.model.norm_pix_loss,
            ..preset.config(geometry)
        })
    }
}

/// Image folders are decoded to RGB.
const IN_CHANS: usize = 3;

/// The largest power of two that is at most 64 and at most a quarter of an epoch, or the next smaller number that
/// whole images fill; at least one image.
fn default_batch(len: usize, repeats: usize) -> usize {
    let most = (len.saturating_mul(repeats) / 4).clamp(1, 64);
    ((1 << most.ilog2()) / repeats.max(1)).max(1) * repeats
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolved_recipe_survives_its_file() {
        let mut recipe = Recipe::default();
        recipe.model.encoder = Some(StackConfig::new(96, 3, 4));
        let recipe = recipe.resolve(60).unwrap();
        assert_eq!(recipe.mae_config().unwrap().encoder.embed_dim, 96);
        assert_eq!((recipe.batch_size, recipe.model.image_size), (Some(8), Some((32, 32))));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recipe.toml");
        std::fs::write(&path, recipe.to_toml()).unwrap();
        assert_eq!(Recipe::read(&path).unwrap(), recipe);
    }

    #[test]
    fn a_default_batch_is_made_of_whole_images() {
        for (len, repeats, expected) in [(60, 1, 8), (60, 3, 30), (1, 4, 4), (1000, 4, 64), (1000, 100, 100)]
        {
            let mut recipe = Recipe::default();
            recipe.data.repeats = repeats;
            assert_eq!(recipe.resolve(len).unwrap().batch_size, Some(expected), "{repeats} of {len}");
        }
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recipe.toml");
        std::fs::write(&path, "[optim]\nbase_learning_rate = 1.0\n").unwrap();
        let error = crate::chain(&Recipe::read(&path).unwrap_err());
        assert!(error.contains("base_learning_rate") && error.contains("recipe.toml"), "{error}");
    }
}
