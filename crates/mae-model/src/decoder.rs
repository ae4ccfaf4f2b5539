//! The decoder: predicts pixels from the encoder's visible tokens.

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};
use mae_vit::{Block, Compute, InitRng, LayerNorm, Linear, ops, position};

use crate::MaeConfig;

/// A shallow transformer over visible tokens and mask tokens.
///
/// # Source
/// MAE section 3 "MAE decoder"; official names `decoder_embed`, `mask_token`, …
#[derive(Module, Debug)]
pub struct Decoder {
    /// Projects from encoder width to decoder width.
    pub embed: Linear,
    /// Stands for every masked patch, `[1, 1, Dd]`.
    pub mask_token: Param<Tensor<3>>,
    /// `[1, 1 + L, Dd]`, not trained.
    pub pos_embed: Param<Tensor<3>>,
    /// The blocks.
    pub blocks: Vec<Block>,
    /// The norm after the last block.
    pub norm: LayerNorm,
    /// Projects from decoder width to the values of a patch.
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

    pub(crate) fn with_compute(self, compute: Compute) -> Self {
        Self {
            embed: self.embed.with_precision(compute.precision),
            blocks: self.blocks.into_iter().map(|block| block.with_compute(compute)).collect(),
            pred: self.pred.with_precision(compute.precision),
            ..self
        }
    }

    /// Predicts every patch, in image order.
    ///
    /// # Shapes
    /// latent `[B, 1 + K, D]`, ids_shuffle and ids_restore `[B, L]` → `[B, L, P·P·C]`
    pub fn forward(
        &self,
        latent: Tensor<3>,
        ids_shuffle: Tensor<2, Int>,
        ids_restore: Tensor<2, Int>,
    ) -> Tensor<3> {
        let [_, len] = ids_restore.dims();
        let pred = self.predict(latent, ids_shuffle, len); // [B, L, P·P·C], shuffled
        ops::take_rows(pred, ids_restore)
    }

    /// Predicts only the masked patches, in the order of the shuffle, as training needs.
    ///
    /// # Shapes
    /// latent `[B, 1 + K, D]`, ids_shuffle `[B, L]` → `[B, L - K, P·P·C]`
    pub fn forward_masked(&self, latent: Tensor<3>, ids_shuffle: Tensor<2, Int>) -> Tensor<3> {
        let ([_, visible, _], [_, len]) = (latent.dims(), ids_shuffle.dims());
        self.predict(latent, ids_shuffle, len + 1 - visible)
    }

    /// Predicts the last `count` patches of the shuffle: `[B, count, P·P·C]`.
    ///
    /// Attention does not depend on the order of tokens, so mask tokens are not moved between the visible ones. They
    /// stay behind them, each with the position of its patch. The last block computes only the predicted tokens.
    fn predict(&self, latent: Tensor<3>, ids_shuffle: Tensor<2, Int>, count: usize) -> Tensor<3> {
        let mut x = self.tokens(latent, ids_shuffle); // [B, 1 + L, Dd]
        let [batch, len, dim] = x.dims();
        match self.blocks.split_last() {
            Some((last, blocks)) => {
                for block in blocks {
                    x = block.forward(x);
                }
                x = last.forward_last(x, count); // [B, count, Dd]
            }
            None => x = x.slice([0..batch, len - count..len, 0..dim]),
        }
        self.pred.forward(self.norm.forward(x))
    }

    /// Class token, visible tokens and mask tokens, with their positions: `[B, 1 + L, Dd]`.
    fn tokens(&self, latent: Tensor<3>, ids_shuffle: Tensor<2, Int>) -> Tensor<3> {
        let mut tokens = vec![self.embed.forward(latent)]; // [B, 1 + K, Dd]
        let ([batch, visible, dim], [_, len]) = (tokens[0].dims(), ids_shuffle.dims());
        if len >= visible {
            tokens.push(self.mask_token.val().expand([batch, len + 1 - visible, dim])); // [B, L - K, Dd]
        }
        let class = Tensor::zeros([batch, 1], &ids_shuffle.device());
        let rows = Tensor::cat(vec![class, ids_shuffle.add_scalar(1)], 1); // [B, 1 + L]
        let positions = self
            .pos_embed
            .val()
            .squeeze_dim::<2>(0) // [1 + L, Dd]
            .select(0, rows.reshape([batch * (len + 1)])) // [B·(1 + L), Dd]
            .reshape([batch, len + 1, dim]); // [B, 1 + L, Dd]
        Tensor::cat(tokens, 1) + positions
    }
}
