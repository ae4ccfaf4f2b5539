//! The reconstruction loss on patches: mean squared error against pixels, or against pixels normalised by patch.

use multiversion::multiversion;
use rayon::prelude::*;

use crate::Buffer;
use crate::rows::rows_per_chunk;
use crate::simd::sum;

/// Returns the mean of `(pred - target)²` over all elements, and the differences, from which its gradient is computed.
///
/// With `eps`, each row of the target is first normalised with its own mean and unbiased variance.
///
/// # Shapes
/// pred and patches `[R, P·P·C]` → `[R, P·P·C]`
///
/// # Source
/// MAE (arXiv 2111.06377) section 3, "reconstruction target".
pub fn reconstruction(pred: &[f32], patches: &[f32], cols: usize, eps: Option<f32>) -> (f32, Buffer) {
    let chunk = rows_per_chunk(cols) * cols;
    let mut difference = Buffer::any(pred.len());
    let partial: Vec<f64> = difference
        .par_chunks_mut(chunk)
        .zip(pred.par_chunks(chunk))
        .zip(patches.par_chunks(chunk))
        .map(|((difference, pred), patches)| difference_rows(difference, pred, patches, cols, eps))
        .collect();
    ((partial.into_iter().sum::<f64>() / pred.len() as f64) as f32, difference)
}

/// Writes the differences of some rows; returns the sum of their squares.
#[multiversion(targets = "simd")]
fn difference_rows(
    difference: &mut [f32],
    pred: &[f32],
    patches: &[f32],
    cols: usize,
    eps: Option<f32>,
) -> f64 {
    let mut total = 0.0;
    let rows = difference.chunks_exact_mut(cols).zip(pred.chunks_exact(cols)).zip(patches.chunks_exact(cols));
    for ((difference, pred), patch) in rows {
        let (mean, scale) = match eps {
            None => (0.0, 1.0),
            Some(eps) => {
                let mean = sum(cols, |i| patch[i]) / cols as f32;
                let squares = sum(cols, |i| (patch[i] - mean) * (patch[i] - mean));
                (mean, 1.0 / (squares / (cols as f32 - 1.0) + eps).sqrt())
            }
        };
        for ((difference, pred), patch) in difference.iter_mut().zip(pred).zip(patch) {
            *difference = pred - (patch - mean) * scale;
        }
        total += f64::from(sum(cols, |i| difference[i] * difference[i]));
    }
    total
}

/// Computes the gradient of the prediction from the differences.
pub fn reconstruction_backward(out: &mut [f32], difference: &[f32], grad: f32) {
    scale(out, difference, 2.0 * grad / difference.len() as f32);
}

/// `out = x · factor`
pub fn scale(out: &mut [f32], x: &[f32], factor: f32) {
    let chunk = 16 * 1024;
    out.par_chunks_mut(chunk).zip(x.par_chunks(chunk)).for_each(|(out, x)| {
        for (out, x) in out.iter_mut().zip(x) {
            *out = x * factor;
        }
    });
}
