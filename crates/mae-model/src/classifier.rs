//! An encoder with a linear classifier on its features, for fine-tuning and linear probing.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData, activation};
use mae_vit::{Compute, DropPath, InitRng, LayerNorm, Linear, Pooling, VisionTransformer, VitConfig};
use serde::{Deserialize, Serialize};

use crate::ModelError;
use crate::features::{FeatureExtractor, Normed, pooled};
use crate::params::with_path_ids;

/// How tokens are turned into the features that the linear classifier sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Head {
    /// For fine-tuning: tokens are pooled, then normalised, then mapped linearly. If they are pooled by their mean, the
    /// norm is a new one.
    FineTuned,
    /// For a frozen encoder: the encoder's own norm is applied to the tokens, which are then pooled. A batch norm
    /// without affine parameters standardises the features before the linear map.
    Probe,
}

/// The configuration of a [`Classifier`]: everything but its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassifierConfig {
    /// The encoder.
    pub vit: VitConfig,
    /// How its tokens are pooled.
    pub pooling: Pooling,
    /// Where the norm is applied, and whether features are standardised.
    pub head: Head,
    /// Names of the classes, in the order of the labels.
    pub classes: Vec<String>,
    /// Whether an image may have several classes or none. Otherwise it has exactly one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub multi_label: bool,
}

/// A vision transformer that classifies images.
///
/// # Source
/// MAE §A.1 and §A.2; the official `models_vit.py` and `main_linprobe.py`.
#[derive(Module, Debug)]
pub struct Classifier {
    /// Encodes images into tokens. Its norm is the one that [`Head`] describes, which may apply to the mean of tokens:
    /// [`features`](Self::features) and [`extractor`](Self::extractor) apply it in the right place.
    pub encoder: VisionTransformer,
    /// Standardises the features of a linear probe.
    pub head_norm: Option<FeatureNorm>,
    /// Maps features to class logits.
    pub head: Linear,
    #[module(skip)]
    config: ClassifierConfig,
}

/// Standardises features by their mean and variance: a batch norm without trained parameters.
#[derive(Module, Debug)]
pub struct FeatureNorm {
    /// `[D]`
    pub running_mean: Param<Tensor<1>>,
    /// `[D]`
    pub running_var: Param<Tensor<1>>,
}

impl FeatureNorm {
    /// Added to the variance.
    ///
    /// # Source
    /// The official `main_linprobe.py`: `BatchNorm1d(…, affine=False, eps=1e-6)`.
    const EPS: f64 = 1e-6;
    /// The weight of a batch in the running statistics: PyTorch's default.
    const MOMENTUM: f64 = 0.1;

    fn new(dim: usize, device: &Device) -> Self {
        let param = |data: TensorData| Param::<Tensor<1>>::from_data(data, device).set_require_grad(false);
        Self {
            running_mean: param(TensorData::zeros::<f32, _>([dim])),
            running_var: param(TensorData::ones::<f32, _>([dim])),
        }
    }

    /// Normalises by the running mean and variance.
    ///
    /// # Shapes
    /// `[B, D]` → `[B, D]`
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let (mean, var) = (self.running_mean.val().unsqueeze(), self.running_var.val().unsqueeze()); // [1, D]
        (x - mean) / var.add_scalar(Self::EPS).sqrt()
    }

    /// Normalises by the batch's mean and variance, and updates the running ones. The batch needs at least two images.
    ///
    /// # Shapes
    /// `[B, D]` → `[B, D]`
    ///
    /// # Source
    /// PyTorch's `BatchNorm1d` in training: it normalises by the biased variance, and updates the running variance with
    /// the unbiased one.
    pub fn train_forward(self, x: Tensor<2>) -> (Tensor<2>, Self) {
        let [batch, _] = x.dims();
        let (var, mean) = x.clone().var_mean(0); // [1, D], unbiased
        let biased = var.clone().mul_scalar((batch - 1) as f64 / batch as f64);
        self.normed(x, mean, biased, var)
    }

    /// Like [`train_forward`](Self::train_forward), with the mean and biased variance of `count` images, of which `x`
    /// is a part.
    ///
    /// # Shapes
    /// `[B, D]`, `[1, D]` twice → `[B, D]`
    pub fn train_forward_by(
        self,
        x: Tensor<2>,
        mean: Tensor<2>,
        biased: Tensor<2>,
        count: usize,
    ) -> (Tensor<2>, Self) {
        let unbiased = biased.clone().mul_scalar(count as f64 / (count - 1) as f64);
        self.normed(x, mean, biased, unbiased)
    }

    fn normed(
        self,
        x: Tensor<2>,
        mean: Tensor<2>,
        biased: Tensor<2>,
        unbiased: Tensor<2>,
    ) -> (Tensor<2>, Self) {
        let [_, dim] = x.dims();
        let normed = (x - mean.clone()) / biased.add_scalar(Self::EPS).sqrt();
        let take_in = |param: Param<Tensor<1>>, new: Tensor<2>| {
            let new = new.reshape([dim]);
            param.map(|old| old.mul_scalar(1.0 - Self::MOMENTUM) + new.mul_scalar(Self::MOMENTUM))
        };
        let norm = Self {
            running_mean: take_in(self.running_mean, mean),
            running_var: take_in(self.running_var, unbiased),
        };
        (normed, norm)
    }
}

impl ClassifierConfig {
    /// Builds a classifier with random weights.
    ///
    /// # Errors
    /// If the description is inconsistent.
    pub fn init(&self, seed: u64, device: &Device) -> Result<Classifier, ModelError> {
        let mut rng = InitRng::new(seed);
        let encoder = self
            .vit
            .init(&mut rng, device)
            .map_err(|source| ModelError::Config { part: "encoder", source })?;
        Ok(Classifier::assemble(encoder, self.clone(), &mut rng, device))
    }

    /// Whether the encoder's norm applies to the mean of tokens, and therefore not to single tokens.
    pub fn norms_mean(&self) -> bool {
        (self.head, self.pooling) == (Head::FineTuned, Pooling::MeanPatch)
    }

    /// What the encoder's norm is applied to.
    pub(crate) fn normed(&self) -> Normed {
        match self.head {
            Head::FineTuned => Normed::Pooled,
            Head::Probe => Normed::Tokens,
        }
    }

    /// The official name of a parameter.
    pub(crate) fn official_name(&self, path: &str) -> String {
        match path.split_once('.') {
            Some(("encoder", rest)) => match rest.strip_prefix("norm.") {
                Some(kind) if self.norms_mean() => format!("fc_norm.{kind}"),
                _ => rest.into(),
            },
            Some(("head_norm", rest)) => format!("head.0.{rest}"),
            Some(("head", rest)) if self.head == Head::Probe => format!("head.1.{rest}"),
            _ => path.into(),
        }
    }
}

impl Classifier {
    /// Puts a new head on an encoder. For [`Head::FineTuned`] on means, the norm is new too.
    ///
    /// # Source
    /// The head's weight starts with a standard deviation of 2e-5 for fine-tuning (the official `main_finetune.py`) and
    /// 0.01 for probing (`main_linprobe.py`), its bias at 0.
    pub fn new(encoder: VisionTransformer, config: ClassifierConfig, seed: u64, device: &Device) -> Self {
        Self::assemble(encoder, config, &mut InitRng::new(seed), device)
    }

    fn assemble(
        mut encoder: VisionTransformer,
        config: ClassifierConfig,
        rng: &mut InitRng,
        device: &Device,
    ) -> Self {
        let (dim, classes) = (config.vit.stack.embed_dim, config.classes.len());
        let (head_norm, std) = match config.head {
            Head::FineTuned => (None, 2e-5),
            Head::Probe => (Some(FeatureNorm::new(dim, device)), 0.01),
        };
        if config.head == Head::FineTuned {
            // Positions are fixed only in pre-training.
            encoder.pos_embed = encoder.pos_embed.set_require_grad(true);
        }
        if config.norms_mean() {
            encoder.norm = LayerNorm::new(dim, config.vit.norm_eps, device);
        }
        let head = Linear::from_weight(rng.normal(dim * classes, std), [dim, classes], device);
        with_path_ids(Self { encoder, head_norm, head, config })
    }

    /// The classifier's configuration.
    pub fn config(&self) -> &ClassifierConfig {
        &self.config
    }

    /// Returns the classifier with other compute settings for its encoder.
    #[must_use]
    pub fn with_compute(mut self, compute: Compute) -> Self {
        self.encoder = self.encoder.with_compute(compute);
        self
    }

    /// Returns the classifier with only the last `blocks` blocks, the norm after them and the head trained. If `blocks`
    /// covers all of them, nothing is frozen.
    ///
    /// # Source
    /// Partial fine-tuning, MAE §4.3 (figure 9).
    #[must_use]
    pub fn with_trained_blocks(mut self, blocks: usize) -> Self {
        self.encoder = self.encoder.with_trained_blocks(blocks);
        self
    }

    /// Returns the classifier with only the head trained.
    #[must_use]
    pub fn with_frozen_encoder(mut self) -> Self {
        self.encoder = self.encoder.no_grad();
        self
    }

    /// Computes the features that the head sees. `drop` applies stochastic depth, for [`Head::FineTuned`] only.
    ///
    /// # Shapes
    /// normalised images `[B, C, H, W]` → `[B, D]`
    pub fn features(&self, images: Tensor<4>, drop: Option<&DropPath>) -> Tensor<2> {
        let encoder = &self.encoder;
        let tokens = match (self.config.head, drop) {
            (Head::FineTuned, Some(drop)) => encoder.forward_dropping(images, drop),
            _ => encoder.forward_to(images, encoder.blocks.len()),
        };
        pooled(encoder, tokens, self.config.pooling, self.config.normed())
    }

    /// Returns the extractor of the features that the head sees.
    pub fn extractor(&self) -> FeatureExtractor {
        FeatureExtractor::assemble(self.encoder.clone(), self.config.pooling, self.config.normed())
    }

    /// Computes class logits from features. [`probabilities`](Self::probabilities) turns them into probabilities.
    ///
    /// # Shapes
    /// features `[B, D]` → `[B, classes]`
    pub fn classify(&self, features: Tensor<2>) -> Tensor<2> {
        let features = match &self.head_norm {
            Some(norm) => norm.forward(features),
            None => features,
        };
        self.head.forward(features)
    }

    /// Turns logits into class probabilities: by softmax, or by sigmoid if an image may have several classes.
    ///
    /// # Shapes
    /// `[B, classes]` → `[B, classes]`
    pub fn probabilities(&self, scores: Tensor<2>) -> Tensor<2> {
        match self.config.multi_label {
            true => activation::sigmoid(scores),
            false => activation::softmax(scores, 1),
        }
    }

    /// Computes the class logits of images.
    ///
    /// # Shapes
    /// normalised images `[B, C, H, W]` → `[B, classes]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.classify(self.features(images, None))
    }
}
