//! Batch normalisation of rows by channel, followed by an activation. Forward and backward take two passes each.

use multiversion::multiversion;
use rayon::prelude::*;

use crate::gelu::{gelu_of, gelu_slope};
use crate::rows::{fold, partial_sums, rows_per_chunk};
use crate::{Buffer, on_pool};

/// The activation after a batch norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nonlinearity {
    /// No activation.
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// The exact GELU.
    Gelu,
}

/// Mean and biased variance of rows, by channel.
#[derive(Clone, Debug)]
pub struct ChannelMoments {
    /// `[C]`
    pub mean: Vec<f32>,
    /// `[C]`
    pub var: Vec<f32>,
}

/// The moments, parameters and activation of a batch norm.
#[derive(Clone, Copy, Debug)]
pub struct ChannelNorm<'a> {
    /// Mean and variance of the rows.
    pub moments: &'a ChannelMoments,
    /// `[C]`
    pub weight: &'a [f32],
    /// `[C]`
    pub bias: &'a [f32],
    /// Added to the variance.
    pub eps: f32,
    /// Applied to the normalised, scaled and shifted values.
    pub activation: Nonlinearity,
}

impl ChannelMoments {
    /// Computes the moments of at least one row.
    ///
    /// # Shapes
    /// `[R, C]`
    pub fn new(x: &[f32], channels: usize) -> Self {
        let (len, rows) = (rows_per_chunk(channels) * channels, (x.len() / channels) as f64);
        // Computes each chunk's own moments, then merges them: one pass over memory, as exact as two.
        let mut of_chunks = Buffer::any(x.len().div_ceil(len) * 2 * channels);
        on_pool(|| {
            let chunks = of_chunks.par_chunks_mut(2 * channels).zip(x.par_chunks(len));
            chunks.for_each(|(moments, x)| moments_of_chunk(moments, x, channels));
        });
        let merged = |channel: usize| {
            let chunks = || {
                let counts = x.chunks(len).map(|chunk| (chunk.len() / channels) as f64);
                counts.zip(of_chunks.chunks_exact(2 * channels)).map(move |(count, moments)| {
                    (count, f64::from(moments[channel]), f64::from(moments[channels + channel]))
                })
            };
            let mean = chunks().map(|(count, mean, _)| count * mean).sum::<f64>() / rows;
            let squares =
                chunks().map(|(count, of_chunk, squares)| squares + count * (of_chunk - mean).powi(2));
            [mean as f32, (squares.sum::<f64>() / rows) as f32]
        };
        let (mean, var) = (0..channels).map(merged).map(<(f32, f32)>::from).unzip();
        Self { mean, var }
    }
}

/// Computes the mean of a chunk's rows and the sum of their squared distances from it, by channel.
#[multiversion(targets = "simd")]
fn moments_of_chunk(moments: &mut [f32], x: &[f32], channels: usize) {
    let (mean, squares) = moments.split_at_mut(channels);
    let first = &x[..channels];
    mean.fill(0.0);
    squares.fill(0.0);
    // Sums distances from the first row, so that values far from zero lose no digits.
    for row in x.chunks_exact(channels) {
        for ((sum, x), first) in mean.iter_mut().zip(row).zip(first) {
            *sum += x - first;
        }
    }
    let share = channels as f32 / x.len() as f32;
    mean.iter_mut().zip(first).for_each(|(sum, first)| *sum = sum.mul_add(share, *first));
    for row in x.chunks_exact(channels) {
        for ((sum, x), mean) in squares.iter_mut().zip(row).zip(&*mean) {
            *sum += (x - mean) * (x - mean);
        }
    }
}

/// The activation of `(x - mean) / sqrt(var + eps) · weight + bias`.
///
/// # Shapes
/// `[R, C]` → `[R, C]`
///
/// # Source
/// Ioffe and Szegedy, arXiv 1502.03167, algorithm 1.
pub fn batch_norm(x: &[f32], norm: ChannelNorm<'_>) -> Buffer {
    let (mut out, scale) = (Buffer::any(x.len()), norm.scale());
    let len = rows_per_chunk(scale.len()) * scale.len();
    on_pool(|| {
        let chunks = out.par_chunks_mut(len).zip(x.par_chunks(len));
        chunks.for_each(|(out, x)| match norm.activation {
            Nonlinearity::Identity => forward_rows::<Identity>(out, x, norm, &scale),
            Nonlinearity::Relu => forward_rows::<Relu>(out, x, norm, &scale),
            Nonlinearity::Gelu => forward_rows::<Gelu>(out, x, norm, &scale),
        });
    });
    out
}

/// Computes the gradients of a batch norm's input, weight and bias. The input gradient includes the path through the
/// moments.
///
/// # Shapes
/// grad and x `[R, C]` → `[R, C]`, `[C]`, `[C]`
pub fn batch_norm_backward(grad: &[f32], x: &[f32], norm: ChannelNorm<'_>) -> [Buffer; 3] {
    let scale = norm.scale();
    let channels = scale.len();
    let (rows, len) = (x.len() / channels, rows_per_chunk(channels) * channels);
    let mut x_grad = Buffer::any(x.len());
    let (mut of_weight, mut of_bias) = (partial_sums(rows, channels), partial_sums(rows, channels));
    on_pool(|| {
        x_grad
            .par_chunks_mut(len)
            .zip(grad.par_chunks(len).zip(x.par_chunks(len)))
            .zip(of_weight.par_chunks_mut(channels).zip(of_bias.par_chunks_mut(channels)))
            .for_each(|((out, (grad, x)), sums)| match norm.activation {
                Nonlinearity::Identity => sum_rows::<Identity>(out, grad, x, norm, &scale, sums),
                Nonlinearity::Relu => sum_rows::<Relu>(out, grad, x, norm, &scale, sums),
                Nonlinearity::Gelu => sum_rows::<Gelu>(out, grad, x, norm, &scale, sums),
            });
        let (weight_grad, bias_grad) = (fold(&of_weight, channels), fold(&of_bias, channels));
        let share = 1.0 / rows as f32;
        let means =
            [&weight_grad, &bias_grad].map(|sums| sums.iter().map(|sum| sum * share).collect::<Vec<_>>());
        let chunks = x_grad.par_chunks_mut(len).zip(x.par_chunks(len));
        chunks.for_each(|(grad, x)| backward_rows(grad, x, norm, &scale, [&means[0], &means[1]]));
        [x_grad, weight_grad, bias_grad]
    })
}

impl ChannelNorm<'_> {
    /// Returns the inverse standard deviations.
    fn scale(&self) -> Vec<f32> {
        self.moments.var.iter().map(|var| 1.0 / (var + self.eps).sqrt()).collect()
    }
}

/// A [`Nonlinearity`] known at compile time.
trait Known {
    fn of(x: f32) -> f32;
    fn slope(x: f32) -> f32;
}

struct Identity;
struct Relu;
struct Gelu;

impl Known for Identity {
    #[inline(always)]
    fn of(x: f32) -> f32 {
        x
    }

    #[inline(always)]
    fn slope(_: f32) -> f32 {
        1.0
    }
}

// These comparisons are false for NaN, so NaN passes through.
impl Known for Relu {
    #[inline(always)]
    fn of(x: f32) -> f32 {
        if x < 0.0 { 0.0 } else { x }
    }

    #[inline(always)]
    fn slope(x: f32) -> f32 {
        if x <= 0.0 { 0.0 } else { 1.0 }
    }
}

impl Known for Gelu {
    #[inline(always)]
    fn of(x: f32) -> f32 {
        gelu_of(x)
    }

    #[inline(always)]
    fn slope(x: f32) -> f32 {
        gelu_slope(x)
    }
}

#[multiversion(targets = "simd")]
fn forward_rows<A: Known>(out: &mut [f32], x: &[f32], norm: ChannelNorm<'_>, scale: &[f32]) {
    let channels = scale.len();
    for (out, x) in out.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
        let affine = norm.moments.mean.iter().zip(scale).zip(norm.weight).zip(norm.bias);
        for ((out, x), (((mean, scale), weight), bias)) in out.iter_mut().zip(x).zip(affine) {
            *out = A::of(((x - mean) * scale).mul_add(*weight, *bias));
        }
    }
}

/// Writes the gradient of the activation's input, and adds up the gradients of weight and bias.
#[multiversion(targets = "simd")]
fn sum_rows<A: Known>(
    out: &mut [f32],
    grad: &[f32],
    x: &[f32],
    norm: ChannelNorm<'_>,
    scale: &[f32],
    (of_weight, of_bias): (&mut [f32], &mut [f32]),
) {
    let channels = scale.len();
    let rows = grad.chunks_exact(channels).zip(x.chunks_exact(channels));
    for (out, (grad, x)) in out.chunks_exact_mut(channels).zip(rows) {
        let affine = norm.moments.mean.iter().zip(scale).zip(norm.weight).zip(norm.bias);
        let sums = of_weight.iter_mut().zip(of_bias.iter_mut());
        let row = out.iter_mut().zip(grad).zip(x).zip(affine).zip(sums);
        for ((((out, grad), x), (((mean, scale), weight), bias)), (of_weight, of_bias)) in row {
            let normal = (x - mean) * scale;
            let grad = grad * A::slope(normal.mul_add(*weight, *bias));
            *out = grad;
            *of_weight += grad * normal;
            *of_bias += grad;
        }
    }
}

/// Turns the gradient of a norm's output into that of its input, in place. `of_weight` and `of_bias` are the means over
/// rows of the contributions to the gradients of weight and bias.
#[multiversion(targets = "simd")]
fn backward_rows(
    grad: &mut [f32],
    x: &[f32],
    norm: ChannelNorm<'_>,
    scale: &[f32],
    [of_weight, of_bias]: [&[f32]; 2],
) {
    let channels = scale.len();
    for (grad, x) in grad.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
        let affine = norm.moments.mean.iter().zip(scale).zip(norm.weight);
        let row = grad.iter_mut().zip(x).zip(affine).zip(of_weight.iter().zip(of_bias));
        for (((grad, x), ((mean, scale), weight)), (of_weight, of_bias)) in row {
            *grad = weight * scale * (*grad - of_bias - (x - mean) * scale * of_weight);
        }
    }
}
