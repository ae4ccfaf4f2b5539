//! The vision transformer, which encodes all patches of an image or a subset of them.

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};
use serde::{Deserialize, Serialize};

use crate::position::{resample_param, sincos_param};
use crate::{
    Block, Compute, DropPath, Geometry, InitRng, LayerNorm, Linear, Precision, VitError, ops, patchify,
};

/// The shape of a stack of blocks, shared by encoders and decoders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StackConfig {
    /// Width D; a multiple of `num_heads` and of 4.
    pub embed_dim: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads.
    pub num_heads: usize,
    /// Hidden units of each MLP.
    pub mlp_dim: usize,
}

impl StackConfig {
    /// A stack with the usual MLP of four times the width.
    pub const fn new(embed_dim: usize, depth: usize, num_heads: usize) -> Self {
        Self { embed_dim, depth, num_heads, mlp_dim: 4 * embed_dim }
    }

    /// Checks the widths.
    ///
    /// # Errors
    /// If a value is zero, or the width is not a multiple of `num_heads` and of 4.
    pub fn validate(&self) -> Result<(), VitError> {
        for (name, value) in [
            ("embed_dim", self.embed_dim),
            ("depth", self.depth),
            ("num_heads", self.num_heads),
            ("mlp_dim", self.mlp_dim),
        ] {
            if value == 0 {
                return Err(VitError::Zero { name });
            }
        }
        for (divisor, reason) in [
            (self.num_heads, "each head takes an equal share"),
            (4, "positions are sin and cos of row and column"),
        ] {
            if !self.embed_dim.is_multiple_of(divisor) {
                return Err(VitError::NotDivisible {
                    name: "embed_dim",
                    value: self.embed_dim,
                    divisor,
                    reason,
                });
            }
        }
        Ok(())
    }

    /// Builds the blocks.
    pub fn blocks(&self, norm_eps: f64, rng: &mut InitRng, device: &Device) -> Vec<Block> {
        (0..self.depth)
            .map(|_| Block::new(self.embed_dim, self.num_heads, self.mlp_dim, norm_eps, rng, device))
            .collect()
    }

    /// The floating-point operations of one forward pass over `tokens` tokens; a multiply-add counts as two.
    pub fn flops(&self, tokens: usize) -> f64 {
        let (l, d, h) = (tokens as f64, self.embed_dim as f64, self.mlp_dim as f64);
        // qkv and projection, scores and weighted values, MLP.
        self.depth as f64 * 2.0 * (4.0 * l * d * d + 2.0 * l * l * d + 2.0 * l * d * h)
    }

    /// Estimates the bytes that a forward pass over `tokens` tokens of an image keeps for the backward pass on a
    /// device, from the shapes of the kept tensors.
    pub fn activation_bytes(&self, tokens: usize, compute: Compute, device: &Device) -> usize {
        let Self { embed_dim: width, depth, num_heads, mlp_dim: hidden } = *self;
        let factor = match compute.precision {
            Precision::F32 => 0,
            Precision::Bf16 => 2,
        };
        // The inputs of both branches, for the residual stream and the norm.
        let inputs = 4 * 2 * width;
        // Outputs of norms, queries, keys and values, outputs of heads; the MLP before and after its GELU.
        let numbers = 6 * width + 2 * hidden;
        let token = match ops::kept_bytes(device, compute.precision) {
            Some(bytes) => inputs + bytes * numbers,
            // In f32, in addition to the factors; with norms decomposed, and all attention scores kept twice.
            None => {
                let scores = num_heads * tokens;
                inputs + 4 * (numbers + 3 * width + 2 * scores) + factor * (numbers + scores)
            }
        };
        if compute.grad_checkpointing {
            return tokens * (depth * inputs + token);
        }
        tokens * depth * token
    }
}

/// Everything that determines a [`VisionTransformer`] except its weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VitConfig {
    /// Images and patches.
    pub geometry: Geometry,
    /// The blocks.
    pub stack: StackConfig,
    /// Epsilon of the layer norms: 1e-6 in the official code and timm, 1e-12 in transformers' port.
    pub norm_eps: f64,
}

impl VitConfig {
    /// Checks the description.
    ///
    /// # Errors
    /// If the stack is invalid, or `norm_eps` is not in (0, 1).
    pub fn validate(&self) -> Result<(), VitError> {
        self.stack.validate()?;
        if !(self.norm_eps > 0.0 && self.norm_eps < 1.0) {
            return Err(VitError::OutOfRange {
                name: "norm_eps",
                value: self.norm_eps,
                bound: "in (0, 1)".into(),
            });
        }
        Ok(())
    }

    /// Builds a transformer with the official initialisation.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn init(&self, rng: &mut InitRng, device: &Device) -> Result<VisionTransformer, VitError> {
        self.validate()?;
        let dim = self.stack.embed_dim;
        Ok(VisionTransformer {
            cls_token: rng.token(dim, device),
            pos_embed: sincos_param(self.geometry.grid(), dim, device),
            patch_embed: PatchEmbed { proj: Linear::new(self.geometry.patch_dim(), dim, rng, device) },
            blocks: self.stack.blocks(self.norm_eps, rng, device),
            norm: LayerNorm::new(dim, self.norm_eps, device),
            config: *self,
        })
    }
}

/// The projection of patch vectors to tokens.
///
/// A linear map on patch vectors in [`patchify`]'s order; weight files hold it as the equivalent
/// convolution, `[D, C, P, P]`.
#[derive(Module, Debug)]
pub struct PatchEmbed {
    /// `[P·P·C, D]`
    pub proj: Linear,
}

/// How the tokens of an image are pooled into its feature vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The class token.
    ClassToken,
    /// The mean over the patch tokens.
    #[default]
    MeanPatch,
}

/// A plain vision transformer with a class token and fixed sin-cos positions.
///
/// # Source
/// ViT (arXiv 2010.11929); MAE section A.1. Field names are timm's.
#[derive(Module, Debug)]
pub struct VisionTransformer {
    /// `[1, 1, D]`
    pub cls_token: Param<Tensor<3>>,
    /// `[1, 1 + L, D]`, not trained.
    pub pos_embed: Param<Tensor<3>>,
    /// Patch vectors to tokens.
    pub patch_embed: PatchEmbed,
    /// The blocks.
    pub blocks: Vec<Block>,
    /// After the last block.
    pub norm: LayerNorm,
    #[module(skip)]
    config: VitConfig,
}

impl VisionTransformer {
    /// The transformer's description.
    pub fn config(&self) -> &VitConfig {
        &self.config
    }

    /// The same transformer with other compute settings.
    #[must_use]
    pub fn with_compute(mut self, compute: Compute) -> Self {
        self.patch_embed.proj = self.patch_embed.proj.with_precision(compute.precision);
        self.blocks = self.blocks.into_iter().map(|block| block.with_compute(compute)).collect();
        self
    }

    /// Tokens of whole images, class token first, after the final norm.
    ///
    /// # Shapes
    /// `[B, C, H, W]` → `[B, 1 + L, D]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<3> {
        self.norm.forward(self.forward_to(images, self.blocks.len()))
    }

    /// Tokens of whole images after the first `blocks` blocks, without the final norm.
    ///
    /// # Shapes
    /// `[B, C, H, W]` → `[B, 1 + L, D]`
    ///
    /// # Source
    /// timm `forward_intermediates`, whose index `i` is `blocks = i + 1` here.
    pub fn forward_to(&self, images: Tensor<4>, blocks: usize) -> Tensor<3> {
        self.blocks.iter().take(blocks).fold(self.embed(images), |x, block| block.forward(x))
    }

    /// Tokens of whole images after all blocks, without the final norm, in training with stochastic depth.
    ///
    /// # Shapes
    /// `[B, C, H, W]` → `[B, 1 + L, D]`
    pub fn forward_dropping(&self, images: Tensor<4>, drop: &DropPath) -> Tensor<3> {
        let device = images.device();
        let blocks = self.blocks.iter().enumerate();
        blocks.fold(self.embed(images), |x, (i, block)| block.forward_scaled(x, drop.of_block(i, &device)))
    }

    /// Tokens of whole images after each block in `after`, counted from 1, without the final norm; `drop` applies
    /// stochastic depth in training. `after` is increasing, and blocks beyond its last are not computed.
    ///
    /// # Shapes
    /// `[B, C, H, W]` → `[B, 1 + L, D]` each
    pub fn forward_through(
        &self,
        images: Tensor<4>,
        after: &[usize],
        drop: Option<&DropPath>,
    ) -> Vec<Tensor<3>> {
        let device = images.device();
        let mut x = self.embed(images);
        let mut taken = Vec::with_capacity(after.len());
        let last = after.last().copied().unwrap_or(0);
        for (i, block) in self.blocks.iter().enumerate().take(last) {
            x = match drop {
                None => block.forward(x),
                Some(drop) => block.forward_scaled(x, drop.of_block(i, &device)),
            };
            if after.contains(&(i + 1)) {
                taken.push(x.clone());
            }
        }
        taken
    }

    /// Freezes everything but the last `blocks` blocks and the final norm. If `blocks` is at least the number of
    /// blocks, nothing is frozen.
    ///
    /// # Source
    /// Partial fine-tuning, MAE §4.3 (figure 9).
    #[must_use]
    pub fn with_trained_blocks(mut self, blocks: usize) -> Self {
        let frozen = self.blocks.len().saturating_sub(blocks);
        if frozen == 0 {
            return self;
        }
        self.cls_token = self.cls_token.set_require_grad(false);
        self.pos_embed = self.pos_embed.set_require_grad(false);
        self.patch_embed = self.patch_embed.no_grad();
        for block in self.blocks.iter_mut().take(frozen) {
            *block = block.clone().no_grad();
        }
        self
    }

    /// The input of the first block: `[B, C, H, W]` → `[B, 1 + L, D]`.
    pub(crate) fn embed(&self, images: Tensor<4>) -> Tensor<3> {
        let patches = patchify(images, &self.config.geometry); // [B, L, P·P·C]
        self.with_class(self.patch_embed.proj.forward(patches) + self.patch_positions())
    }

    /// Tokens of a subset of the patches, after the final norm: only these are projected and encoded.
    ///
    /// # Shapes
    /// patches `[B, L, P·P·C]`, ids `[B, K]` → `[B, 1 + K, D]`
    ///
    /// # Source
    /// MAE section 3 "MAE encoder".
    pub fn forward_kept(&self, patches: Tensor<3>, ids_keep: Tensor<2, Int>) -> Tensor<3> {
        let ([batch, kept], dim) = (ids_keep.dims(), self.config.stack.embed_dim);
        let positions = self
            .patch_positions()
            .squeeze_dim::<2>(0) // [L, D]
            .select(0, ids_keep.clone().reshape([batch * kept])) // [B·K, D]
            .reshape([batch, kept, dim]); // [B, K, D]
        let kept = ops::take_rows(patches, ids_keep); // [B, K, P·P·C]
        let tokens = self.with_class(self.patch_embed.proj.forward(kept) + positions);
        self.norm.forward(self.blocks.iter().fold(tokens, |x, block| block.forward(x)))
    }

    /// The same transformer for images of another size, with its positions resampled to the new grid.
    ///
    /// # Errors
    /// If the patch size does not divide the new size.
    ///
    /// # Source
    /// timm `resample_abs_pos_embed`.
    pub fn with_image_size(mut self, image_size: (usize, usize)) -> Result<Self, VitError> {
        let old = self.config.geometry;
        let new = Geometry::new(image_size, old.patch_size(), old.in_chans())?;
        self.pos_embed = resample_param(self.pos_embed, old.grid(), new.grid());
        self.config.geometry = new;
        Ok(self)
    }

    /// Prepends the class token: `[B, K, D]` → `[B, 1 + K, D]`.
    fn with_class(&self, tokens: Tensor<3>) -> Tensor<3> {
        let [batch, _, dim] = tokens.dims();
        let class_position = self.pos_embed.val().slice([0..1, 0..1]); // [1, 1, D]
        let class = (self.cls_token.val() + class_position).expand([batch, 1, dim]); // [B, 1, D]
        Tensor::cat(vec![class, tokens], 1) // [B, 1 + K, D]
    }

    /// Positions without the class token's, `[1, L, D]`.
    fn patch_positions(&self) -> Tensor<3> {
        self.pos_embed.val().slice([0..1, 1..1 + self.config.geometry.num_patches()])
    }

    /// Reduces tokens, class token first, to one vector per image.
    ///
    /// # Shapes
    /// `[B, 1 + L, D]` → `[B, D]`
    pub fn pool(tokens: Tensor<3>, pooling: Pooling) -> Tensor<2> {
        let [batch, len, dim] = tokens.dims();
        match pooling {
            Pooling::ClassToken => tokens.slice([0..batch, 0..1]).reshape([batch, dim]),
            Pooling::MeanPatch => tokens.slice([0..batch, 1..len]).mean_dim(1).reshape([batch, dim]),
        }
    }
}
