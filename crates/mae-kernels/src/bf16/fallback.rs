//! The product on processors without AVX512_BF16: f32 arithmetic on rounded factors.

use rayon::prelude::*;

use super::factor::Factor;
use crate::gemm::mat::{Mat, Threads, Write, matmul};
use crate::{Buffer, on_pool};

/// Computes a product. No size may be zero.
pub(super) fn product<A: Factor, B: Factor>(
    (out, row_stride): (&mut [f32], usize),
    a: Mat<'_, A>,
    b: Mat<'_, B>,
    write: Write,
    threads: Threads,
) {
    let mut run = || {
        let (rounded_a, rounded_b) = (rounded(a, threads), rounded(b, threads));
        matmul(out, row_stride, like(a, &rounded_a), like(b, &rounded_b), write, threads);
    };
    match threads {
        Threads::One => run(),
        Threads::All => on_pool(run),
    }
}

/// Returns the rounded values in memory order, without gaps.
fn rounded<T: Factor>(from: Mat<'_, T>, threads: Threads) -> Buffer {
    let from = if from.col_stride == 1 { from } else { from.t() };
    let mut out = Buffer::any(from.rows * from.cols);
    let round = |(row, out): (usize, &mut [f32])| {
        for (out, x) in out.iter_mut().zip(&from.data[row * from.row_stride..]) {
            *out = x.rounded();
        }
    };
    out.par_chunks_mut(from.cols).with_min_len(threads.min_len()).enumerate().for_each(round);
    out
}

/// Returns a matrix over `data`, whose values lie in the same order as those of `other`.
fn like<'a, T: Factor>(other: Mat<'_, T>, data: &'a [f32]) -> Mat<'a> {
    if other.col_stride == 1 { Mat::dense(data, other.cols) } else { Mat::dense(data, other.rows).t() }
}
