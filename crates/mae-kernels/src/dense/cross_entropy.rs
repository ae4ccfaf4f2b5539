//! The weighted cross-entropy of class scores.

use multiversion::multiversion;
use rayon::prelude::*;

use crate::rows::rows_per_chunk;
use crate::simd::{exp, max, sum};
use crate::{Buffer, on_pool};

/// Returns the weighted mean over rows of the negative log-probability of the true class, and the gradient of the
/// scores. The mean is 0 if all weights are 0.
///
/// # Shapes
/// scores `[R, K]`, true classes and weights of rows `[R]` → `[R, K]`
///
/// # Panics
/// If a class is not below K.
///
/// # Source
/// PyTorch's `cross_entropy` with `weight`.
pub fn cross_entropy(scores: &[f32], classes: &[u32], weights: &[f32]) -> (f32, Buffer) {
    let count = scores.len() / classes.len().max(1);
    let total =
        weights.iter().map(|weight| f64::from(*weight)).sum::<f64>().max(f64::from(f32::MIN_POSITIVE));
    let (rows, share) = (rows_per_chunk(count), (1.0 / total) as f32);
    let mut grad = Buffer::any(scores.len());
    let partial: Vec<f64> = on_pool(|| {
        grad.par_chunks_mut(rows * count)
            .zip(scores.par_chunks(rows * count))
            .zip(classes.par_chunks(rows).zip(weights.par_chunks(rows)))
            .map(|((grad, scores), (classes, weights))| loss_of_rows(grad, scores, classes, weights, share))
            .collect()
    });
    ((partial.into_iter().sum::<f64>() / total) as f32, grad)
}

/// Writes the score gradients of some rows and returns the weighted sum of their losses. `share` is one over the sum of
/// all weights.
#[multiversion(targets = "simd")]
fn loss_of_rows(grad: &mut [f32], scores: &[f32], classes: &[u32], weights: &[f32], share: f32) -> f64 {
    let count = scores.len() / classes.len();
    let mut total = 0.0;
    let rows = grad.chunks_exact_mut(count).zip(scores.chunks_exact(count)).zip(classes.iter().zip(weights));
    for ((grad, scores), (class, weight)) in rows {
        let (class, largest) = (*class as usize, max(scores));
        for (out, score) in grad.iter_mut().zip(scores) {
            *out = exp(score - largest);
        }
        let all = sum(count, |i| grad[i]);
        let factor = weight * share / all;
        grad.iter_mut().for_each(|out| *out *= factor);
        grad[class] -= weight * share;
        total += f64::from(*weight) * f64::from(all.ln() - (scores[class] - largest));
    }
    total
}
