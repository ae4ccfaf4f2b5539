//! An encoder with a linear classifier on its features: what fine-tuning and linear probing train.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData, activation};
use mae_vit::{Compute, DropPath, InitRng, LayerNorm, Linear, Pooling, VisionTransformer, VitConfig};
use serde::{Deserialize, Serialize};

use crate::ModelError;
use crate::features::{FeatureExtractor, Normed, pooled};
use crate::params::with_path_ids;

/// What stands between an encoder's tokens and the classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Head {
    /// For fine-tuning: tokens are pooled, then normalised, then mapped linearly. Where the mean is taken, the norm is a new
    /// one.
    FineTuned,
    /// For a frozen encoder: tokens are normalised by the encoder's own norm and pooled; the features are then
    /// standardised by a batch norm without parameters of its own and mapped linearly.
    Probe,
}

/// Everything that determines a [`Classifier`] but its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassifierConfig {
    /// The encoder.
    pub vit: VitConfig,
    /// What is made of its tokens.
    pub pooling: Pooling,
    /// What is made of that.
    pub head: Head,
    /// Names of the classes, in the order of the labels.
    pub classes: Vec<String>,
    /// Whether an image may have several of the classes, or none; otherwise it has one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub multi_label: bool,
}

/// A vision transformer that tells classes apart.
///
/// # Source
/// MAE §A.1 and §A.2; the official `models_vit.py` and `main_linprobe.py`.
#[derive(Module, Debug)]
pub struct Classifier {
    /// Makes tokens of images. Its norm is the one that [`Head`] speaks of, which may belong behind the mean of tokens:
    /// [`features`](Self::features) and [`extractor`](Self::extractor) know where.
    pub encoder: VisionTransformer,
    /// Standardises the features of a probe.
    pub head_norm: Option<FeatureNorm>,
    /// Features to classes.
    pub head: Linear,
    #[module(skip)]
    config: ClassifierConfig,
}

/// Mean and variance of features: a batch norm without parameters that are trained.
#[derive(Module, Debug)]
pub struct FeatureNorm {
    /// `[D]`
    pub running_mean: Param<Tensor<1>>,
    /// `[D]`
    pub running_var: Param<Tensor<1>>,
}

impl FeatureNorm {
    /// Added to a variance.
    ///
    /// # Source
    /// The official `main_linprobe.py`: `BatchNorm1d(…, affine=False, eps=1e-6)`.
    const EPS: f64 = 1e-6;
    /// What a batch counts in the running numbers: PyTorch's default.
    const MOMENTUM: f64 = 0.1;

    fn new(dim: usize, device: &Device) -> Self {
        let param = |data: TensorData| Param::<Tensor<1>>::from_data(data, device).set_require_grad(false);
        Self {
            running_mean: param(TensorData::zeros::<f32, _>([dim])),
            running_var: param(TensorData::ones::<f32, _>([dim])),
        }
    }

    /// By the running mean and variance.
    ///
    /// # Shapes
    /// `[B, D]` → `[B, D]`
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let (mean, var) = (self.running_mean.val().unsqueeze(), self.running_var.val().unsqueeze()); // [1, D]
        (x - mean) / var.add_scalar(Self::EPS).sqrt()
    }

    /// By the mean and variance of the batch, of two images at least, which the running ones then take in.
    ///
    /// # Shapes
    /// `[B, D]` → `[B, D]`
    ///
    /// # Source
    /// PyTorch's `BatchNorm1d` in training: batches are normalised by the biased variance, the unbiased one is taken in.
    pub fn train_forward(self, x: Tensor<2>) -> (Tensor<2>, Self) {
        let [batch, _] = x.dims();
        let (var, mean) = x.clone().var_mean(0); // [1, D], unbiased
        let biased = var.clone().mul_scalar((batch - 1) as f64 / batch as f64);
        self.normed(x, mean, biased, var)
    }

    /// The same by the mean and the biased variance of `count` images, of which these are a part.
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
    /// A classifier with random weights.
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

    /// Whether the encoder's norm is one behind the mean of tokens, and of no use for single ones.
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

    /// What a parameter is called in an official file.
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
    /// A new head on an encoder: for [`Head::FineTuned`] on means with a new norm too.
    ///
    /// # Source
    /// Heads start at a deviation of 2e-5 for fine-tuning, the official `main_finetune.py`, and 0.01 for probing,
    /// `main_linprobe.py`; biases at 0.
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
            // Positions are fixed in pre-training alone.
            encoder.pos_embed = encoder.pos_embed.set_require_grad(true);
        }
        if config.norms_mean() {
            encoder.norm = LayerNorm::new(dim, config.vit.norm_eps, device);
        }
        let head = Linear::from_weight(rng.normal(dim * classes, std), [dim, classes], device);
        with_path_ids(Self { encoder, head_norm, head, config })
    }

    /// Its description.
    pub fn config(&self) -> &ClassifierConfig {
        &self.config
    }

    /// The same classifier, its encoder computed otherwise.
    #[must_use]
    pub fn with_compute(mut self, compute: Compute) -> Self {
        self.encoder = self.encoder.with_compute(compute);
        self
    }

    /// The same with only the last `blocks` blocks, the norm behind them and the head left to be trained; with all of them,
    /// everything is.
    ///
    /// # Source
    /// Partial fine-tuning, MAE §4.3 (figure 9).
    #[must_use]
    pub fn with_trained_blocks(mut self, blocks: usize) -> Self {
        self.encoder = self.encoder.with_trained_blocks(blocks);
        self
    }

    /// The same with the head alone left to be trained.
    #[must_use]
    pub fn with_frozen_encoder(mut self) -> Self {
        self.encoder = self.encoder.no_grad();
        self
    }

    /// What the head sees of images, in training with stochastic depth.
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

    /// What makes the features that the head sees, without the head.
    pub fn extractor(&self) -> FeatureExtractor {
        FeatureExtractor::assemble(self.encoder.clone(), self.config.pooling, self.config.normed())
    }

    /// Scores of classes, of which [`probabilities`](Self::probabilities) makes probabilities.
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

    /// The probabilities of classes: the softmax of their scores, or the sigmoid of each where an image may have several.
    ///
    /// # Shapes
    /// `[B, classes]` → `[B, classes]`
    pub fn probabilities(&self, scores: Tensor<2>) -> Tensor<2> {
        match self.config.multi_label {
            true => activation::sigmoid(scores),
            false => activation::softmax(scores, 1),
        }
    }

    /// Scores of images' classes.
    ///
    /// # Shapes
    /// normalised images `[B, C, H, W]` → `[B, classes]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.classify(self.features(images, None))
    }
}
