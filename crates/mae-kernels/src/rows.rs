//! Loops over the rows of a matrix, in chunks. The chunk size depends only on the shape, so results do not depend on
//! the number of threads.

use multiversion::multiversion;
use rayon::prelude::*;

use crate::{Buffer, Threads};

/// Elements per chunk: enough to be worth a task, few enough to stay in a core's cache.
const CHUNK: usize = 16 * 1024;

/// Returns the rows per chunk of a matrix `cols` wide.
pub(crate) fn rows_per_chunk(cols: usize) -> usize {
    (CHUNK / cols.max(1)).max(1)
}

/// Returns one row of zeros for each chunk of a matrix `cols` wide, to which the chunk's task adds its column sums.
pub(crate) fn partial_sums(rows: usize, cols: usize) -> Buffer {
    Buffer::zeros(rows.div_ceil(rows_per_chunk(cols)).max(1) * cols)
}

/// Adds up the chunks' sums, in order.
pub(crate) fn fold(partial: &[f32], cols: usize) -> Buffer {
    let mut total = Buffer::zeros(cols);
    add_rows(&mut total, partial);
    total
}

#[multiversion(targets = "simd")]
fn add_rows(sums: &mut [f32], x: &[f32]) {
    for row in x.chunks_exact(sums.len()) {
        for (sum, x) in sums.iter_mut().zip(row) {
            *sum += x;
        }
    }
}

/// Returns the sum of the rows, such as the gradient of a bias.
///
/// # Shapes
/// `[R, D]` → `[D]`
pub fn sum_rows(x: &[f32], cols: usize, threads: Threads) -> Buffer {
    let mut partial = partial_sums(x.len() / cols, cols);
    let chunks = partial.par_chunks_mut(cols).zip(x.par_chunks(rows_per_chunk(cols) * cols));
    chunks.with_min_len(threads.min_len()).for_each(|(sums, x)| add_rows(sums, x));
    fold(&partial, cols)
}

/// Sets each row of `out` to the bias.
pub fn set_bias(out: &mut [f32], bias: &[f32]) {
    out.par_chunks_mut(rows_per_chunk(bias.len()) * bias.len()).for_each(|rows| {
        for out in rows.chunks_exact_mut(bias.len()) {
            out.copy_from_slice(bias);
        }
    });
}

/// Computes `out = x + bias`, to which a residual branch is then added.
pub fn add_bias(out: &mut [f32], x: &[f32], bias: &[f32], threads: Threads) {
    let chunk = rows_per_chunk(bias.len()) * bias.len();
    let chunks = out.par_chunks_mut(chunk).zip(x.par_chunks(chunk));
    chunks.with_min_len(threads.min_len()).for_each(|(out, x)| add_bias_rows(out, x, bias));
}

/// `out += x`.
#[multiversion(targets = "simd")]
pub(crate) fn add(out: &mut [f32], x: &[f32]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out += x;
    }
}

#[multiversion(targets = "simd")]
fn add_bias_rows(out: &mut [f32], x: &[f32], bias: &[f32]) {
    for (out, x) in out.chunks_exact_mut(bias.len()).zip(x.chunks_exact(bias.len())) {
        for ((out, x), bias) in out.iter_mut().zip(x).zip(bias) {
            *out = x + bias;
        }
    }
}
