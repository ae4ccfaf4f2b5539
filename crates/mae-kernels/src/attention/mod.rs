//! Multi-head self-attention on fused queries, keys and values.

mod heads;
mod short;
mod tiled;

pub use heads::{Attended, Heads};

use crate::Threads;

/// `softmax(q kᵀ / √d) v` by head. Writes each query's logarithm of its sum of exponentials for the backward pass.
///
/// # Shapes
/// qkv `[B, L, 3·D]`, ordered (q, k, v) and by head within each; bias `[3·D]`, added to it; out `[B, Q, D]`; log_sums
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

/// The gradient of `qkv` from the output's; weights are computed again, not kept.
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
