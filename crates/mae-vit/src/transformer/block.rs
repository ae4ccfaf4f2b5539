//! The pre-norm transformer block: attention and MLP, each around a residual.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::ops::{self, BranchParams};
use crate::{Compute, InitRng, LayerNorm, Linear, Precision};

/// The linear maps of multi-head self-attention.
#[derive(Module, Debug)]
pub struct Attention {
    /// `[D, 3·D]`, columns ordered q, k, v.
    pub qkv: Linear,
    /// `[D, D]`
    pub proj: Linear,
    #[module(skip)]
    num_heads: usize,
}

/// The linear maps of the MLP, around an exact GELU.
#[derive(Module, Debug)]
pub struct Mlp {
    /// `[D, hidden]`
    pub fc1: Linear,
    /// `[hidden, D]`
    pub fc2: Linear,
}

/// One transformer block.
///
/// # Source
/// ViT (arXiv 2010.11929) section 3.1, eq. 2 and 3; no dropout, as in MAE.
#[derive(Module, Debug)]
pub struct Block {
    /// Before attention.
    pub norm1: LayerNorm,
    /// Mixes tokens.
    pub attn: Attention,
    /// Before the MLP.
    pub norm2: LayerNorm,
    /// Mixes channels.
    pub mlp: Mlp,
    #[module(skip)]
    compute: Compute,
}

impl Block {
    /// A block of width `dim` with `hidden` units in its MLP; `num_heads` divides `dim`.
    pub fn new(
        dim: usize,
        num_heads: usize,
        hidden: usize,
        eps: f64,
        rng: &mut InitRng,
        device: &Device,
    ) -> Self {
        Self {
            norm1: LayerNorm::new(dim, eps, device),
            attn: Attention {
                qkv: Linear::new(dim, 3 * dim, rng, device),
                proj: Linear::new(dim, dim, rng, device),
                num_heads,
            },
            norm2: LayerNorm::new(dim, eps, device),
            mlp: Mlp {
                fc1: Linear::new(dim, hidden, rng, device),
                fc2: Linear::new(hidden, dim, rng, device),
            },
            compute: Compute::default(),
        }
    }

    /// The same block with other compute settings.
    #[must_use]
    pub fn with_compute(self, compute: Compute) -> Self {
        Self { compute, ..self }
    }

    /// # Shapes
    /// `[B, L, D]` → `[B, L, D]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [_, len, _] = x.dims();
        self.forward_last(x, len)
    }

    /// Like [`forward`](Self::forward), with each branch's output scaled per sample.
    ///
    /// # Shapes
    /// `[B, L, D]`, twice `[B, 1, 1]` → `[B, L, D]`
    pub(crate) fn forward_scaled(&self, x: Tensor<3>, [attention, mlp]: [Tensor<3>; 2]) -> Tensor<3> {
        let [_, len, _] = x.dims();
        // The branches include their residual, x + f(x), and x + s f(x) = x + s (x + f(x) - x).
        let scaled = |x: Tensor<3>, sum: Tensor<3>, scale: Tensor<3>| x.clone() + (sum - x) * scale;
        let sum = self.attend(x.clone(), len);
        let x = scaled(x, sum, attention);
        let sum = self.mix(x.clone());
        scaled(x, sum, mlp)
    }

    /// The attention weights of each token over all tokens, per head; each row sums to 1.
    ///
    /// Computed by [`ops::portable`] on every backend, because the fused operations do not keep the weights.
    ///
    /// # Shapes
    /// `[B, L, D]` → `[B, N, L, L]`
    pub fn attention(&self, x: Tensor<3>) -> Tensor<4> {
        let [_, len, _] = x.dims();
        let qkv = self.attn.qkv.forward(self.norm1.forward(x)); // [B, L, 3·D]
        ops::portable::attention_weights(qkv, self.attn.num_heads, len, Precision::F32)
    }

    /// Computes the outputs of only the last `queries` tokens, 1 to L; the others are only attended to.
    ///
    /// # Shapes
    /// `[B, L, D]` → `[B, queries, D]`
    pub fn forward_last(&self, x: Tensor<3>, queries: usize) -> Tensor<3> {
        self.mix(self.attend(x, queries))
    }

    /// The attention branch and its residual.
    fn attend(&self, x: Tensor<3>, queries: usize) -> Tensor<3> {
        let attention = branch(&self.norm1, &self.attn.qkv, &self.attn.proj);
        ops::attention_branch(x, attention, self.attn.num_heads, queries, self.norm1.eps(), self.compute)
    }

    /// The MLP branch and its residual.
    fn mix(&self, x: Tensor<3>) -> Tensor<3> {
        let mlp = branch(&self.norm2, &self.mlp.fc1, &self.mlp.fc2);
        ops::mlp_branch(x, mlp, self.norm2.eps(), self.compute)
    }
}

fn branch(norm: &LayerNorm, into: &Linear, out: &Linear) -> BranchParams {
    BranchParams {
        norm_weight: norm.weight.val(),
        norm_bias: norm.bias.val(),
        in_weight: into.weight.val(),
        in_bias: into.bias.val(),
        out_weight: out.weight.val(),
        out_bias: out.bias.val(),
    }
}
