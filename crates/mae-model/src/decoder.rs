//! The decoder: from the encoder's visible tokens to a prediction of pixels.

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};
use mae_vit::{Block, InitRng, LayerNorm, Linear, ops, position};

use crate::MaeConfig;

/// A shallow transformer over visible tokens and mask tokens in image order.
///
/// # Source
/// MAE section 3 "MAE decoder"; official names `decoder_embed`, `mask_token`, …
#[derive(Module, Debug)]
pub struct Decoder {
    /// Encoder width to decoder width.
    pub embed: Linear,
    /// Stands for every masked patch, `[1, 1, Dd]`.
    pub mask_token: Param<Tensor<3>>,
    /// `[1, 1 + L, Dd]`, not trained.
    pub pos_embed: Param<Tensor<3>>,
    /// The blocks.
    pub blocks: Vec<Block>,
    /// After the last block.
    pub norm: LayerNorm,
    /// Decoder width to the numbers of a patch.
    pub pred: Linear,
}

impl Decoder {
    pub(crate) fn new(config: &MaeConfig, rng: &mut InitRng, device: &Device) -> Self {
        let dim = config.decoder.embed_dim;
        Self {
            embed: Linear::new(config.encoder.embed_dim, dim, rng, device),
            mask_token: rng.token(dim, device),
            pos_embed: position::sincos_param(config.geometry.grid(), dim, device),
            blocks: config.decoder.blocks(config.norm_eps, rng, device),
            norm: LayerNorm::new(dim, config.norm_eps, device),
            pred: Linear::new(dim, config.geometry.patch_dim(), rng, device),
        }
    }

    /// Predicts every patch.
    ///
    /// # Shapes
    /// latent `[B, 1 + K, D]`, ids_restore `[B, L]` → `[B, L, P·P·C]`
    pub fn forward(&self, latent: Tensor<3>, ids_restore: Tensor<2, Int>) -> Tensor<3> {
        let tokens = self.decode(latent, ids_restore); // [B, 1 + L, Dd]
        let [batch, len, _] = tokens.dims();
        self.predict(tokens.slice([0..batch, 1..len]))
    }

    /// Predicts the masked patches alone: what training needs.
    ///
    /// # Shapes
    /// latent `[B, 1 + K, D]`, ids_restore `[B, L]`, ids_masked `[B, M]` → `[B, M, P·P·C]`
    pub fn forward_masked(
        &self,
        latent: Tensor<3>,
        ids_restore: Tensor<2, Int>,
        ids_masked: Tensor<2, Int>,
    ) -> Tensor<3> {
        let tokens = self.decode(latent, ids_restore); // [B, 1 + L, Dd]
        let masked = ops::take_rows(tokens, ids_masked.add_scalar(1)); // [B, M, Dd], past the class token
        self.predict(masked)
    }

    /// Embeds, fills in mask tokens, restores image order and runs the blocks: `[B, 1 + L, Dd]`.
    fn decode(&self, latent: Tensor<3>, ids_restore: Tensor<2, Int>) -> Tensor<3> {
        let x = self.embed.forward(latent); // [B, 1 + K, Dd]
        let [batch, visible, dim] = x.dims();
        let [_, len] = ids_restore.dims();
        let class = x.clone().slice([0..batch, 0..1]); // [B, 1, Dd]
        let mut shuffled = vec![x.slice([0..batch, 1..visible])]; // [B, K, Dd]
        if len >= visible {
            shuffled.push(self.mask_token.val().expand([batch, len + 1 - visible, dim])); // [B, M, Dd]
        }
        let restored = ops::take_rows(Tensor::cat(shuffled, 1), ids_restore); // [B, L, Dd]
        let mut x = Tensor::cat(vec![class, restored], 1) + self.pos_embed.val(); // [B, 1 + L, Dd]
        for block in &self.blocks {
            x = block.forward(x);
        }
        x
    }

    /// Norm and prediction head.
    fn predict(&self, tokens: Tensor<3>) -> Tensor<3> {
        self.pred.forward(self.norm.forward(tokens))
    }
}
