//! Features of images: pools an encoder's tokens, with the norm where the model has it.

use burn::module::Module;
use burn::tensor::Tensor;
use mae_vit::{Compute, Pooling, VisionTransformer, VitConfig};

/// Computes one feature vector per image, as its model defines it.
/// [`WeightFile::features`](crate::WeightFile::features) makes an extractor from any weight file,
/// [`Mae::features`](crate::Mae::features) and [`Classifier::extractor`](crate::Classifier::extractor) from a model.
///
/// A pre-trained encoder normalises each token, then takes the class token or the mean. An encoder fine-tuned on means
/// normalises the mean. Its norm does not apply to single tokens, so this type does not expose the encoder.
///
/// # Source
/// The official `models_vit.py`: `norm`, or `fc_norm` after `global_pool`.
#[derive(Module, Debug)]
pub struct FeatureExtractor {
    encoder: VisionTransformer,
    #[module(skip)]
    pooling: Pooling,
    #[module(skip)]
    normed: Normed,
}

/// What the norm after the last block is applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Normed {
    /// Each token.
    Tokens,
    /// The pooled vector. For the class token, this makes no difference.
    Pooled,
}

impl FeatureExtractor {
    /// Makes an extractor for an encoder that normalises each token, such as a pre-trained one.
    pub fn new(encoder: VisionTransformer, pooling: Pooling) -> Self {
        Self::assemble(encoder, pooling, Normed::Tokens)
    }

    pub(crate) fn assemble(encoder: VisionTransformer, pooling: Pooling, normed: Normed) -> Self {
        Self { encoder, pooling, normed }
    }

    /// The encoder's configuration.
    pub fn config(&self) -> &VitConfig {
        self.encoder.config()
    }

    /// Which tokens the features are pooled from.
    pub fn pooling(&self) -> Pooling {
        self.pooling
    }

    /// Returns the extractor with other compute settings.
    #[must_use]
    pub fn with_compute(mut self, compute: Compute) -> Self {
        self.encoder = self.encoder.with_compute(compute);
        self
    }

    /// Computes the features of whole images.
    ///
    /// # Shapes
    /// normalised images `[B, C, H, W]` → `[B, D]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let tokens = self.tokens_behind(images, self.encoder.blocks.len());
        pooled(&self.encoder, tokens, self.pooling, self.normed)
    }

    /// Whether single tokens are normalised. False if the norm applies to their mean.
    pub fn norms_tokens(&self) -> bool {
        (self.normed, self.pooling) != (Normed::Pooled, Pooling::MeanPatch)
    }

    /// Tokens of whole images after the norm, the class token first; `None` if the norm applies to the mean.
    ///
    /// # Shapes
    /// normalised images `[B, C, H, W]` → `[B, 1 + L, D]`
    pub fn tokens(&self, images: Tensor<4>) -> Option<Tensor<3>> {
        self.norms_tokens().then(|| self.encoder.forward(images))
    }

    /// Tokens of whole images after the first `blocks` blocks, without a norm. Every encoder has these.
    ///
    /// # Shapes
    /// normalised images `[B, C, H, W]` → `[B, 1 + L, D]`
    pub fn tokens_behind(&self, images: Tensor<4>, blocks: usize) -> Tensor<3> {
        self.encoder.forward_to(images, blocks)
    }

    /// The class token's attention in the last block: [`VisionTransformer::class_attention`].
    ///
    /// # Shapes
    /// normalised images `[B, C, H, W]` → `[B, N, L]`
    pub fn class_attention(&self, images: Tensor<4>) -> Tensor<3> {
        self.encoder.class_attention(images)
    }

    /// The class token's attention through all blocks: [`VisionTransformer::rollout`].
    ///
    /// # Shapes
    /// normalised images `[B, C, H, W]` → `[B, L]`
    pub fn rollout(&self, images: Tensor<4>) -> Tensor<2> {
        self.encoder.rollout(images)
    }
}

/// Pools the last block's tokens into features. Only this function decides the order of norm and pooling.
///
/// # Shapes
/// `[B, 1 + L, D]` → `[B, D]`
pub(crate) fn pooled(
    encoder: &VisionTransformer,
    tokens: Tensor<3>,
    pooling: Pooling,
    normed: Normed,
) -> Tensor<2> {
    match normed {
        Normed::Tokens => VisionTransformer::pool(encoder.norm.forward(tokens), pooling),
        Normed::Pooled => encoder.norm.forward(VisionTransformer::pool(tokens, pooling)),
    }
}
