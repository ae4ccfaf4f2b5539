//! Multi-head self-attention on fused queries, keys and values.

mod heads;
mod short;
mod tiled;

pub use heads::{Attended, Heads};

use crate::Threads;

/// Computes `softmax(q kᵀ / √d) v` for each head. Also writes each query's log-sum-exp to `log_sums`, for the backward
/// pass.
///
/// # Shapes
/// qkv `[B, L, 3·D]`, ordered (q, k, v) and by head within each; bias `[3·D]`, added to qkv; out `[B, Q, D]`; log_sums
/// `[B, N, Q]`
pub fn attention(
    out: &mut [f32],
    log_sums: &mut [f32],
    qkv: &[f32],
    bias: &[f32],
    heads: Heads,
    threads: Threads,
) {
    let attention = if short::applies(heads) { short::attention } else { tiled::attention };
    attention(out, log_sums, qkv, bias, heads, threads);
}

/// Computes the gradient of `qkv` from the output gradient. Attention weights are recomputed, not kept.
///
/// # Shapes
/// qkv_grad `[B, L, 3·D]`, grad `[B, Q, D]`
///
/// # Source
/// FlashAttention (arXiv 2205.14135) appendix B.2: `dS = P ∘ (dP - rowsum(dO ∘ O))`.
pub fn attention_backward(
    qkv_grad: &mut [f32],
    grad: &[f32],
    attended: Attended<'_>,
    heads: Heads,
    threads: Threads,
) {
    let backward = if short::applies(heads) { short::attention_backward } else { tiled::attention_backward };
    backward(qkv_grad, grad, attended, heads, threads);
}
