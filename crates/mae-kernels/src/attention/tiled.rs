//! Attention over sequences of any length, by matrix products. Scores exist for one tile of queries of one head at a
//! time.

use std::ops::Range;

use multiversion::multiversion;
use rayon::prelude::*;

use super::{Attended, Heads};
use crate::Buffer;
use crate::gemm::{Mat, Threads, Write, matmul};
use crate::simd::{exp, max, sum};

/// Queries per tile: their scores stay in a core's cache.
const TILE: usize = 128;

/// Iterates over the tiles of queries, as ranges of token indices.
fn tiles(heads: Heads) -> impl Iterator<Item = Range<usize>> {
    let first = heads.len - heads.queries;
    (first..heads.len).step_by(TILE).map(move |start| start..(start + TILE).min(heads.len))
}

/// Buffers of a task: one head's queries, keys and values, biased and contiguous, and the scores of one tile of
/// queries.
struct Scratch {
    qkv: [Buffer; 3],     // [L, D/N] each
    weights: Buffer,      // [TILE, L]
    weights_grad: Buffer, // [TILE, L]
    means: Buffer,        // [TILE]
}

impl Scratch {
    fn new(heads: Heads) -> Self {
        let (part, tile) = (heads.len * heads.dim, TILE.min(heads.queries));
        Self {
            qkv: [Buffer::any(part), Buffer::any(part), Buffer::any(part)],
            weights: Buffer::any(tile * heads.len),
            weights_grad: Buffer::any(tile * heads.len),
            means: Buffer::any(tile),
        }
    }

    /// Loads one head. Scales the queries on the way, which is cheaper than scaling the scores.
    fn load(&mut self, heads: Heads, head: usize, qkv: &[f32], bias: &[f32]) {
        let width = heads.width();
        for (part, out) in self.qkv.iter_mut().enumerate() {
            let at = part * width + head * heads.dim;
            let scale = if part == 0 { heads.scale() } else { 1.0 };
            load_rows(out, &qkv[at..], 3 * width, &bias[at..][..heads.dim], scale);
        }
    }

    /// Writes the scores of `queries` against all keys to the first rows of `weights`.
    fn score(&mut self, heads: Heads, queries: &Range<usize>) {
        let [q, k, _] = &self.qkv;
        let q = Mat::dense(&q[queries.start * heads.dim..queries.end * heads.dim], heads.dim);
        matmul(&mut self.weights, heads.len, q, Mat::dense(k, heads.dim).t(), Write::Set, Threads::One);
    }
}

/// [`attention`](super::attention) for sequences of any length.
pub(super) fn attention(
    out: &mut [f32],
    log_sums: &mut [f32],
    qkv: &[f32],
    bias: &[f32],
    heads: Heads,
    threads: Threads,
) {
    let (Heads { len, queries, dim, .. }, width) = (heads, heads.width());
    out.par_chunks_mut(queries * width)
        .zip(qkv.par_chunks(len * 3 * width))
        .zip(log_sums.par_chunks_mut(heads.num * queries))
        .with_min_len(threads.min_len())
        .for_each_init(
            || Scratch::new(heads),
            |scratch, ((out, qkv), log_sums)| {
                for (head, log_sums) in log_sums.chunks_exact_mut(queries).enumerate() {
                    scratch.load(heads, head, qkv, bias);
                    for (tile, log_sums) in tiles(heads).zip(log_sums.chunks_mut(TILE)) {
                        scratch.score(heads, &tile);
                        let weights = &mut scratch.weights[..tile.len() * len];
                        softmax(weights, len, log_sums);
                        let out = &mut out[(tile.start + queries - len) * width + head * dim..];
                        let (weights, v) = (Mat::dense(weights, len), Mat::dense(&scratch.qkv[2], dim));
                        matmul(out, width, weights, v, Write::Set, Threads::One);
                    }
                }
            },
        );
}

/// Copies the rows of one head, biased and scaled.
#[multiversion(targets = "simd")]
fn load_rows(out: &mut [f32], x: &[f32], stride: usize, bias: &[f32], scale: f32) {
    for (out, row) in out.chunks_exact_mut(bias.len()).zip(x.chunks(stride)) {
        for ((out, x), bias) in out.iter_mut().zip(row).zip(bias) {
            *out = (x + bias) * scale;
        }
    }
}

/// Turns scores into attention weights in place, row by row. Writes each row's log-sum-exp.
#[multiversion(targets = "simd")]
fn softmax(scores: &mut [f32], len: usize, log_sums: &mut [f32]) {
    for (row, log_sum) in scores.chunks_exact_mut(len).zip(log_sums) {
        let max = max(row);
        for score in row.iter_mut() {
            *score = exp(*score - max);
        }
        let total = sum(len, |i| row[i]);
        let scale = 1.0 / total;
        for score in row.iter_mut() {
            *score *= scale;
        }
        *log_sum = max + total.ln();
    }
}

/// [`attention_backward`](super::attention_backward) for sequences of any length.
pub(super) fn attention_backward(
    qkv_grad: &mut [f32],
    grad: &[f32],
    attended: Attended<'_>,
    heads: Heads,
    threads: Threads,
) {
    let (Heads { len, queries, .. }, width) = (heads, heads.width());
    qkv_grad
        .par_chunks_mut(len * 3 * width)
        .zip(attended.qkv.par_chunks(len * 3 * width))
        .zip(attended.out.par_chunks(queries * width).zip(grad.par_chunks(queries * width)))
        .zip(attended.log_sums.par_chunks(heads.num * queries))
        .with_min_len(threads.min_len())
        .for_each_init(
            || Scratch::new(heads),
            |scratch, (((qkv_grad, qkv), (out, grad)), log_sums)| {
                for (head, log_sums) in log_sums.chunks_exact(queries).enumerate() {
                    scratch.load(heads, head, qkv, attended.bias);
                    head_backward(scratch, qkv_grad, grad, out, log_sums, heads, head);
                }
                for (token, row) in qkv_grad.chunks_exact_mut(3 * width).enumerate() {
                    match token < len - queries {
                        true => row[..width].fill(0.0),
                        false => scale(&mut row[..width], heads.scale()),
                    }
                }
            },
        );
}

/// Computes the gradients of one head of one image.
fn head_backward(
    scratch: &mut Scratch,
    qkv_grad: &mut [f32],
    grad: &[f32],
    out: &[f32],
    log_sums: &[f32],
    heads: Heads,
    head: usize,
) {
    let (Heads { len, queries, dim, .. }, width) = (heads, heads.width());
    for (tile, log_sums) in tiles(heads).zip(log_sums.chunks(TILE)) {
        let row = tile.start + queries - len;
        let write = if row == 0 { Write::Set } else { Write::Add };
        let at = row * width + head * dim;
        scratch.score(heads, &tile);
        let Scratch { qkv: [q, k, v], weights, weights_grad, means } = scratch;
        let (weights, inner) = (&mut weights[..tile.len() * len], &mut weights_grad[..tile.len() * len]);
        let out_grad = Mat::new(&grad[at..], tile.len(), dim, width);
        matmul(inner, len, out_grad, Mat::dense(v, dim).t(), Write::Set, Threads::One); // dP
        let means = &mut means[..tile.len()];
        dot_rows(means, &out[at..], &grad[at..], width, dim);
        softmax_backward(weights, inner, log_sums, means); // P, dS
        let (weights, inner) = (Mat::dense(weights, len), Mat::dense(inner, len));
        let q_tile = Mat::dense(&q[tile.start * dim..tile.end * dim], dim);
        let stride = 3 * width;
        let [q_at, k_at, v_at] = [0, 1, 2].map(|part| part * width + head * dim);
        matmul(&mut qkv_grad[v_at..], stride, weights.t(), out_grad, write, Threads::One);
        matmul(&mut qkv_grad[k_at..], stride, inner.t(), q_tile, write, Threads::One);
        let q_grad = &mut qkv_grad[tile.start * stride + q_at..];
        matmul(q_grad, stride, inner, Mat::dense(k, dim), Write::Set, Threads::One);
    }
}

/// Computes dot products of rows, which the gradient of the softmax subtracts.
#[multiversion(targets = "simd")]
fn dot_rows(out: &mut [f32], a: &[f32], b: &[f32], stride: usize, dim: usize) {
    for ((out, a), b) in out.iter_mut().zip(a.chunks(stride)).zip(b.chunks(stride)) {
        *out = sum(dim, |i| a[i] * b[i]);
    }
}

/// Turns scores into weights, and the gradient of the weights into that of the scores, in place.
#[multiversion(targets = "simd")]
fn softmax_backward(scores: &mut [f32], grad: &mut [f32], log_sums: &[f32], means: &[f32]) {
    let len = scores.len() / means.len();
    let rows = scores.chunks_exact_mut(len).zip(grad.chunks_exact_mut(len));
    for ((scores, grad), (log_sum, mean)) in rows.zip(log_sums.iter().zip(means)) {
        for (score, grad) in scores.iter_mut().zip(grad) {
            *score = exp(*score - log_sum);
            *grad = *score * (*grad - mean);
        }
    }
}

#[multiversion(targets = "simd")]
fn scale(x: &mut [f32], factor: f32) {
    for x in x {
        *x *= factor;
    }
}
