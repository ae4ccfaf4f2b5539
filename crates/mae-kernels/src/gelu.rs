//! Exact GELU of a biased input, forward and backward.

use multiversion::multiversion;
use rayon::prelude::*;

use crate::rows::{fold, partial_sums, rows_per_chunk};
use crate::simd::{erf, exp};
use crate::{Buffer, Threads};

/// The cumulative distribution function of the standard normal distribution.
#[inline(always)]
fn cdf(x: f32) -> f32 {
    0.5 + 0.5 * erf(x * std::f32::consts::FRAC_1_SQRT_2)
}

/// The GELU of a number.
#[inline(always)]
pub(crate) fn gelu_of(x: f32) -> f32 {
    x * cdf(x)
}

/// The derivative of the GELU.
#[inline(always)]
pub(crate) fn gelu_slope(x: f32) -> f32 {
    const INV_SQRT_TAU: f32 = 0.398_942_3;
    x.mul_add(INV_SQRT_TAU * exp(-0.5 * x * x), cdf(x))
}

/// `out = GELU(x + bias)`.
///
/// # Shapes
/// x and out `[R, D]`, bias `[D]`
///
/// # Source
/// Hendrycks and Gimpel, arXiv 1606.08415, eq. 2: `x · Φ(x)`.
pub fn gelu(out: &mut [f32], x: &[f32], bias: &[f32], threads: Threads) {
    let chunk = rows_per_chunk(bias.len()) * bias.len();
    let chunks = out.par_chunks_mut(chunk).zip(x.par_chunks(chunk));
    chunks.with_min_len(threads.min_len()).for_each(|(out, x)| forward_rows(out, x, bias));
}

#[multiversion(targets = "simd")]
fn forward_rows(out: &mut [f32], x: &[f32], bias: &[f32]) {
    for (out, x) in out.chunks_exact_mut(bias.len()).zip(x.chunks_exact(bias.len())) {
        for ((out, x), bias) in out.iter_mut().zip(x).zip(bias) {
            *out = gelu_of(x + bias);
        }
    }
}

/// Turns the output gradient into the input gradient in place, and returns the bias gradient. Also recomputes the
/// output, which the next layer's weight gradient needs.
///
/// # Shapes
/// grad, out and x `[R, D]`, bias `[D]` → `[D]`
pub fn gelu_backward(grad: &mut [f32], out: &mut [f32], x: &[f32], bias: &[f32], threads: Threads) -> Buffer {
    let (cols, chunk) = (bias.len(), rows_per_chunk(bias.len()) * bias.len());
    let mut partial = partial_sums(x.len() / cols, cols);
    grad.par_chunks_mut(chunk)
        .zip(out.par_chunks_mut(chunk))
        .zip(x.par_chunks(chunk))
        .zip(partial.par_chunks_mut(cols))
        .with_min_len(threads.min_len())
        .for_each(|(((grad, out), x), sums)| backward_rows(grad, out, x, bias, sums));
    fold(&partial, cols)
}

#[multiversion(targets = "simd")]
fn backward_rows(grad: &mut [f32], out: &mut [f32], x: &[f32], bias: &[f32], sums: &mut [f32]) {
    let cols = bias.len();
    let rows = grad.chunks_exact_mut(cols).zip(out.chunks_exact_mut(cols)).zip(x.chunks_exact(cols));
    for ((grad, out), x) in rows {
        let row = grad.iter_mut().zip(out).zip(x).zip(bias).zip(sums.iter_mut());
        for ((((grad, out), x), bias), sum) in row {
            let x = x + bias;
            *out = gelu_of(x);
            *grad *= gelu_slope(x);
            *sum += *grad;
        }
    }
}
