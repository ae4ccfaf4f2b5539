//! The seam between the model and the tensor library: every operation that a backend may fuse.
//!
//! Modules compute through these functions alone, so that a faster version of one (forward and
//! backward in one pass) replaces it here and nowhere else. These are the portable versions,
//! written to avoid what Burn does badly in training; each says what.

use burn::tensor::{Int, Tensor, activation};

/// `x · weight + bias` over the last axis.
///
/// Leading axes are flattened first: on a rank-3 input the weight's gradient would otherwise be
/// materialised once per batch element, `[B, d_in, d_out]`, and summed.
///
/// # Shapes
/// `[.., d_in]`, `[d_in, d_out]`, `[d_out]` → `[.., d_out]`
pub fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<D> {
    let mut shape = x.dims();
    let [d_in, d_out] = weight.dims();
    let rows = shape.iter().product::<usize>() / d_in;
    shape[D - 1] = d_out;
    let y = x.reshape([rows, d_in]).matmul(weight) + bias.unsqueeze(); // [rows, d_out]
    y.reshape(shape)
}

/// Layer normalisation over the last axis, with a biased variance.
///
/// # Shapes
/// `[.., D]`, `[D]`, `[D]` → `[.., D]`
pub fn layer_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, bias: Tensor<1>, eps: f64) -> Tensor<D> {
    burn::tensor::module::layer_norm(x, weight, Some(bias), eps)
}

/// Exact (erf) GELU.
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation::gelu(x)
}

/// Multi-head scaled dot-product self-attention on fused queries, keys and values.
///
/// Written out rather than through Burn's attention, whose differentiable fallback adds a
/// maximum that is not detached and two clamps.
///
/// # Shapes
/// qkv `[B, L, 3·D]`, ordered (q, k, v) and by head within each → `[B, L, D]`
pub fn attention(qkv: Tensor<3>, num_heads: usize) -> Tensor<3> {
    let [batch, len, width] = qkv.dims();
    let (embed_dim, head_dim) = (width / 3, width / 3 / num_heads);
    let heads = |start: usize| {
        qkv.clone()
            .slice([0..batch, 0..len, start..start + embed_dim]) // [B, L, D]
            .reshape([batch, len, num_heads, head_dim]) // [B, L, N, D/N]
            .swap_dims(1, 2) // [B, N, L, D/N]
    };
    let q = heads(0).mul_scalar((head_dim as f64).powf(-0.5));
    let weights = activation::softmax(q.matmul(heads(embed_dim).swap_dims(2, 3)), 3); // [B, N, L, L]
    weights
        .matmul(heads(2 * embed_dim)) // [B, N, L, D/N]
        .swap_dims(1, 2) // [B, L, N, D/N]
        .reshape([batch, len, embed_dim]) // [B, L, D]
}

/// Picks rows of each batch element: `out[b, i] = x[b, ids[b, i]]`.
///
/// One selection of whole rows; an element-wise gather would carry D copies of every index.
///
/// # Shapes
/// `[B, L, D]`, ids `[B, K]` → `[B, K, D]`
pub fn take_rows(x: Tensor<3>, ids: Tensor<2, Int>) -> Tensor<3> {
    let [batch, len, dim] = x.dims();
    let [_, kept] = ids.dims();
    let first_rows =
        Tensor::<1, Int>::arange(0..batch as i64, &ids.device()).mul_scalar(len as i64).reshape([batch, 1]); // [B, 1]
    let rows = (ids + first_rows).reshape([batch * kept]); // [B·K]
    x.reshape([batch * len, dim]).select(0, rows).reshape([batch, kept, dim]) // [B, K, D]
}
