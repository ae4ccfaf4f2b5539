//! AdamW in one pass over a parameter, and the norm of a gradient.

use multiversion::multiversion;
use rayon::prelude::*;

use crate::simd::sum;

/// Elements per task.
const CHUNK: usize = 8 * 1024;

/// The settings of one update, the same for every element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWUpdate {
    /// Decay rates of the first and second moment.
    pub betas: (f32, f32),
    /// Added to the root of the second moment.
    pub eps: f32,
    /// The factor that applies weight decay to a parameter: 1 minus learning rate times weight decay.
    pub keep: f32,
    /// The learning rate.
    pub lr: f32,
    /// The update's number, from 1.
    pub time: i32,
}

/// Updates a parameter's moments in place and replaces its gradient with the parameter's new value. This reuses the
/// gradient's memory, and other holders of the old value keep it.
///
/// # Source
/// Loshchilov and Hutter, arXiv 1711.05101, algorithm 2, with each operation rounded as Burn's `AdamW` rounds it.
pub fn adamw(grad: &mut [f32], param: &[f32], first: &mut [f32], second: &mut [f32], step: &AdamWUpdate) {
    if grad.len() <= CHUNK {
        // Most parameters are biases and norms, done before another thread would have started.
        return adamw_chunk(grad, param, first, second, step);
    }
    grad.par_chunks_mut(CHUNK)
        .zip(param.par_chunks(CHUNK))
        .zip(first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK)))
        .for_each(|((grad, param), (first, second))| adamw_chunk(grad, param, first, second, step));
}

#[multiversion(targets = "simd")]
fn adamw_chunk(grad: &mut [f32], param: &[f32], first: &mut [f32], second: &mut [f32], step: &AdamWUpdate) {
    let (beta_1, beta_2) = step.betas;
    let (bias_1, bias_2) = (1.0 - beta_1.powi(step.time), 1.0 - beta_2.powi(step.time));
    let (new_1, new_2) = (1.0 - beta_1, 1.0 - beta_2);
    let (keep, lr, eps) = (step.keep, step.lr, step.eps);
    for ((grad, param), (first, second)) in grad.iter_mut().zip(param).zip(first.iter_mut().zip(second)) {
        *first = *first * beta_1 + *grad * new_1;
        *second = *second * beta_2 + *grad * *grad * new_2;
        let delta = *first / bias_1 / ((*second / bias_2).sqrt() + eps);
        *grad = *param * keep - delta * lr;
    }
}

/// Returns the sum of squares, which does not depend on the number of threads.
pub fn sum_of_squares(x: &[f32]) -> f64 {
    let partial: Vec<f64> = x.par_chunks(CHUNK).map(|x| f64::from(squares(x))).collect();
    partial.into_iter().sum()
}

#[multiversion(targets = "simd")]
fn squares(x: &[f32]) -> f32 {
    sum(x.len(), |i| x[i] * x[i])
}
