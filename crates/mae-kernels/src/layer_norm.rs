//! Layer normalisation over the last axis, forward and backward in one pass each.

use multiversion::multiversion;
use rayon::prelude::*;

use crate::rows::{add, fold, partial_sums, rows_per_chunk};
use crate::simd::sum;
use crate::{Buffer, Threads};

/// Scale and shift.
#[derive(Clone, Copy)]
struct Affine<'a> {
    weight: &'a [f32],
    bias: &'a [f32],
}

/// Computes `out = (x - mean) / sqrt(var + eps) · weight + bias` with the biased variance. Also writes each row's mean
/// and inverse standard deviation to `stats`, for the backward pass.
///
/// # Shapes
/// x and out `[R, D]`, stats `[R, 2]`, weight and bias `[D]`
pub fn layer_norm(
    out: &mut [f32],
    stats: &mut [f32],
    x: &[f32],
    (weight, bias): (&[f32], &[f32]),
    eps: f32,
    threads: Threads,
) {
    let (cols, rows) = (weight.len(), rows_per_chunk(weight.len()));
    out.par_chunks_mut(rows * cols)
        .zip(x.par_chunks(rows * cols))
        .zip(stats.par_chunks_mut(rows * 2))
        .with_min_len(threads.min_len())
        .for_each(|((out, x), stats)| forward_rows(out, x, stats, Affine { weight, bias }, eps));
}

#[multiversion(targets = "simd")]
fn forward_rows(out: &mut [f32], x: &[f32], stats: &mut [f32], affine: Affine<'_>, eps: f32) {
    let cols = affine.weight.len();
    let rows = out.chunks_exact_mut(cols).zip(x.chunks_exact(cols)).zip(stats.chunks_exact_mut(2));
    for ((out, x), stats) in rows {
        let mean = sum(cols, |i| x[i]) / cols as f32;
        let var = sum(cols, |i| (x[i] - mean) * (x[i] - mean)) / cols as f32;
        let scale = 1.0 / (var + eps).sqrt();
        normalize_row(out, x, (mean, scale), affine);
        stats.copy_from_slice(&[mean, scale]);
    }
}

/// Recomputes the output of [`layer_norm`] from its statistics.
pub fn layer_norm_again(
    out: &mut [f32],
    x: &[f32],
    stats: &[f32],
    (weight, bias): (&[f32], &[f32]),
    threads: Threads,
) {
    let (cols, rows) = (weight.len(), rows_per_chunk(weight.len()));
    out.par_chunks_mut(rows * cols)
        .zip(x.par_chunks(rows * cols))
        .zip(stats.par_chunks(rows * 2))
        .with_min_len(threads.min_len())
        .for_each(|((out, x), stats)| again_rows(out, x, stats, Affine { weight, bias }));
}

#[multiversion(targets = "simd")]
fn again_rows(out: &mut [f32], x: &[f32], stats: &[f32], affine: Affine<'_>) {
    let cols = affine.weight.len();
    for ((out, x), stats) in out.chunks_exact_mut(cols).zip(x.chunks_exact(cols)).zip(stats.chunks_exact(2)) {
        normalize_row(out, x, (stats[0], stats[1]), affine);
    }
}

#[inline(always)]
fn normalize_row(out: &mut [f32], x: &[f32], (mean, scale): (f32, f32), affine: Affine<'_>) {
    for (((out, x), weight), bias) in out.iter_mut().zip(x).zip(affine.weight).zip(affine.bias) {
        *out = ((x - mean) * scale).mul_add(*weight, *bias);
    }
}

/// Turns the output gradient into the input gradient in place, and adds `residual` if given. Returns the gradients of
/// weight and bias.
///
/// # Shapes
/// grad, x and residual `[R, D]`, stats `[R, 2]`, weight `[D]` → `[D]`, `[D]`
pub fn layer_norm_backward(
    grad: &mut [f32],
    x: &[f32],
    stats: &[f32],
    weight: &[f32],
    residual: Option<&[f32]>,
    threads: Threads,
) -> (Buffer, Buffer) {
    let (cols, rows) = (weight.len(), rows_per_chunk(weight.len()));
    let (mut weight_sums, mut bias_sums) =
        (partial_sums(x.len() / cols, cols), partial_sums(x.len() / cols, cols));
    grad.par_chunks_mut(rows * cols)
        .zip(x.par_chunks(rows * cols))
        .zip(stats.par_chunks(rows * 2))
        .zip(weight_sums.par_chunks_mut(cols).zip(bias_sums.par_chunks_mut(cols)))
        .enumerate()
        .with_min_len(threads.min_len())
        .for_each(|(i, (((grad, x), stats), (weight_sums, bias_sums)))| {
            backward_rows(grad, x, stats, weight, weight_sums, bias_sums);
            if let Some(residual) = residual {
                add(grad, &residual[i * rows * cols..][..grad.len()]);
            }
        });
    (fold(&weight_sums, cols), fold(&bias_sums, cols))
}

#[multiversion(targets = "simd")]
fn backward_rows(
    grad: &mut [f32],
    x: &[f32],
    stats: &[f32],
    weight: &[f32],
    weight_sums: &mut [f32],
    bias_sums: &mut [f32],
) {
    let cols = weight.len();
    for ((grad, x), stats) in grad.chunks_exact_mut(cols).zip(x.chunks_exact(cols)).zip(stats.chunks_exact(2))
    {
        let (mean, scale) = (stats[0], stats[1]);
        let sums = weight_sums.iter_mut().zip(bias_sums.iter_mut());
        for ((grad, x), (weight_sum, bias_sum)) in grad.iter().zip(x).zip(sums) {
            *weight_sum += grad * ((x - mean) * scale);
            *bias_sum += grad;
        }
        let of_mean = sum(cols, |i| grad[i] * weight[i]) / cols as f32;
        let of_scale = sum(cols, |i| grad[i] * weight[i] * ((x[i] - mean) * scale)) / cols as f32;
        for ((grad, x), weight) in grad.iter_mut().zip(x).zip(weight) {
            *grad = scale * (*grad * weight - of_mean - (x - mean) * scale * of_scale);
        }
    }
}
