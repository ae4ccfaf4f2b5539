//! Transposed copies of matrices.
//!
//! If the second factor is a transposed view, the `gemm` crate packs it one element at a time, each from another row,
//! and again in every task. Products with such a factor are slow, above all if rows are whole memory pages apart.

use rayon::prelude::*;

use crate::Buffer;

/// Rows and columns held in registers at a time: the values of a cache line.
const TILE: usize = 16;
/// Columns per task: enough of a row at a time for the processor to prefetch.
const TASK: usize = 64;

/// Returns a transposed copy: `[R, C]` → `[C, R]`.
pub(crate) fn transposed(x: &[f32], cols: usize) -> Buffer {
    let rows = x.len() / cols;
    let mut out = Buffer::any(x.len());
    let task = |(i, out)| transpose_columns(out, x, (rows, cols), i * TASK);
    out.par_chunks_mut((TASK * rows).max(1)).enumerate().for_each(task);
    out
}

/// Transposes columns of `x` from `first` on, as many as `out` has rows.
fn transpose_columns(out: &mut [f32], x: &[f32], (rows, cols): (usize, usize), first: usize) {
    let width = out.len() / rows;
    for row in (0..rows).step_by(TILE) {
        for col in (0..width).step_by(TILE) {
            let from = |r: usize| &x[(row + r) * cols + first + col..];
            if row + TILE <= rows && col + TILE <= width {
                let tile: [[f32; TILE]; TILE] =
                    std::array::from_fn(|r| *from(r).first_chunk().expect("a tile"));
                for c in 0..TILE {
                    let line: [f32; TILE] = std::array::from_fn(|r| tile[r][c]);
                    out[(col + c) * rows + row..][..TILE].copy_from_slice(&line);
                }
            } else {
                for c in 0..TILE.min(width - col) {
                    for r in 0..TILE.min(rows - row) {
                        out[(col + c) * rows + row + r] = from(r)[c];
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_where_it_belongs() {
        for (rows, cols) in [(1, 1), (16, 64), (17, 65), (100, 47), (3, 200), (0, 5), (33, 16)] {
            let x: Vec<f32> = (0..rows * cols).map(|i| i as f32).collect();
            let out = transposed(&x, cols);
            for (i, x) in x.iter().enumerate() {
                assert_eq!(out[i % cols * rows + i / cols], *x, "{i} of {rows} x {cols}");
            }
        }
    }
}
