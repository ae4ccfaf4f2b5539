//! Features of images: what an encoder's tokens become, with the norm where the model has it.

use burn::module::Module;
use burn::tensor::Tensor;
use mae_vit::{Compute, Pooling, VisionTransformer, VitConfig};

/// Makes one vector of an image, as its model means it: [`WeightFile::features`](crate::WeightFile::features) for any weight file,
/// [`Mae::features`](crate::Mae::features) and [`Classifier::extractor`](crate::Classifier::extractor) for models at hand.
///
/// A pre-trained encoder norms each token, of which then one or the mean is taken. One that was fine-tuned on means norms the mean: its
/// norm is of no use for single tokens, so that this type does not hand out the encoder.
///
/// # Source
/// The official `models_vit.py`: `norm`, or `fc_norm` behind `global_pool`.
#[derive(Module, Debug)]
pub struct FeatureExtractor {
    encoder: VisionTransformer,
    #[module(skip)]
    pooling: Pooling,
    #[module(skip)]
    normed: Normed,
}

/// What the norm behind the last block is applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Normed {
    /// Each token.
    Tokens,
    /// What is made of them. For the class token it is the same.
    Pooled,
}

impl FeatureExtractor {
    /// Of an encoder that norms each token: a pre-trained one.
    pub fn new(encoder: VisionTransformer, pooling: Pooling) -> Self {
        Self::assemble(encoder, pooling, Normed::Tokens)
    }

    pub(crate) fn assemble(encoder: VisionTransformer, pooling: Pooling, normed: Normed) -> Self {
        Self { encoder, pooling, normed }
    }

    /// The encoder's description.
    pub fn config(&self) -> &VitConfig {
        self.encoder.config()
    }

    /// Which tokens make the features.
    pub fn pooling(&self) -> Pooling {
        self.pooling
    }

    /// The same, computed otherwise.
    #[must_use]
    pub fn with_compute(mut self, compute: Compute) -> Self {
        self.encoder = self.encoder.with_compute(compute);
        self
    }

    /// Features of whole images.
    ///
    /// # Shapes
    /// normalised images `[B, C, H, W]` → `[B, D]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let tokens = self.tokens_behind(images, self.encoder.blocks.len());
        pooled(&self.encoder, tokens, self.pooling, self.normed)
    }

    /// Whether single tokens have a norm: not where it belongs behind the mean.
    pub fn norms_tokens(&self) -> bool {
        (self.normed, self.pooling) != (Normed::Pooled, Pooling::MeanPatch)
    }

    /// Tokens of whole images, the class token first, behind the norm; none where the norm belongs behind the mean.
    ///
    /// # Shapes
    /// normalised images `[B, C, H, W]` → `[B, 1 + L, D]`
    pub fn tokens(&self, images: Tensor<4>) -> Option<Tensor<3>> {
        self.norms_tokens().then(|| self.encoder.forward(images))
    }

    /// Tokens of whole images as the first `blocks` blocks leave them, without a norm, which any encoder has.
    ///
    /// # Shapes
    /// normalised images `[B, C, H, W]` → `[B, 1 + L, D]`
    pub fn tokens_behind(&self, images: Tensor<4>, blocks: usize) -> Tensor<3> {
        self.encoder.forward_to(images, blocks)
    }

    /// Where the class token looks in the last block: [`VisionTransformer::class_attention`].
    ///
    /// # Shapes
    /// normalised images `[B, C, H, W]` → `[B, N, L]`
    pub fn class_attention(&self, images: Tensor<4>) -> Tensor<3> {
        self.encoder.class_attention(images)
    }

    /// Where the class token looks through all blocks: [`VisionTransformer::rollout`].
    ///
    /// # Shapes
    /// normalised images `[B, C, H, W]` → `[B, L]`
    pub fn rollout(&self, images: Tensor<4>) -> Tensor<2> {
        self.encoder.rollout(images)
    }
}

/// Features of tokens that the last block left: the one place that orders the norm and the mean.
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
