//! The product with AVX512_BF16: both factors are packed by blocks, then tasks compute blocks of the product.
//!
//! # Source
//! Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", ACM TOMS 34 (2008). Deviation: threads
//! share both packed factors, which stay in the last-level cache. A task's block of the second factor stays in its
//! core's own cache.

use std::ops::Range;

use rayon::prelude::*;

use super::factor::Factor;
use super::kernel::{APairs, BPairs, TILE_COLS, TILE_ROWS, multiply_panels};
use super::pack::pack;
use super::vector::{Avx512Bf16, LANES};
use crate::gemm::mat::{Mat, Threads, Write};
use crate::{Buffer, on_pool};

/// Largest block of the inner dimension. Each block reads and writes the product once, so longer blocks cost less; up
/// to this length the panels still reach the registers at full speed.
const DEPTH: usize = 768;
/// Blocks packed at a time, after which threads wait for each other.
const PACKED_BLOCKS: usize = 2;
/// Maximum rows and columns packed at a time. This bounds the memory: 13 MB for each factor.
const PACKED: (usize, usize) = (300 * TILE_ROWS, 128 * TILE_COLS);
/// Panels packed together, so that longer pieces of a row are read at once.
const PACKED_PANELS: usize = 4;
/// Maximum rows and columns of a task. Its columns, one block deep, fit into the second-level cache (768 KiB).
const TASK: (usize, usize) = (16 * TILE_ROWS, 16 * TILE_COLS);
/// Minimum tasks per thread, unless tasks would be smaller than a tile. Threads that finish early take more.
const TASKS: usize = 16;

/// Computes a product. No size may be zero. The inner blocks depend only on the inner size, so each element is summed
/// in the same order on any number of threads.
pub(super) fn product<A: Factor, B: Factor>(
    cpu: Avx512Bf16,
    (out, row_stride): (&mut [f32], usize),
    a: Mat<'_, A>,
    b: Mat<'_, B>,
    write: Write,
    threads: Threads,
) {
    match threads {
        Threads::One => packed_product(cpu, (out, row_stride), a, b, write, threads),
        Threads::All => on_pool(|| packed_product(cpu, (out, row_stride), a, b, write, threads)),
    }
}

fn packed_product<A: Factor, B: Factor>(
    cpu: Avx512Bf16,
    (out, row_stride): (&mut [f32], usize),
    a: Mat<'_, A>,
    b: Mat<'_, B>,
    write: Write,
    threads: Threads,
) {
    let b = b.t(); // now the inner dimension is the columns of both
    let depth = a.cols.div_ceil(a.cols.div_ceil(DEPTH)).next_multiple_of(2);
    for inner in parts(a.cols, PACKED_BLOCKS * depth) {
        let write = if inner.start == 0 { write } else { Write::Add };
        let pairs = inner.len().div_ceil(2);
        for cols in parts(b.rows, PACKED.1) {
            let mut packed_b = Pairs::any(cols.len().next_multiple_of(TILE_COLS) * pairs);
            for rows in parts(a.rows, PACKED.0) {
                let mut packed_a = Pairs::any(rows.len().next_multiple_of(TILE_ROWS) * pairs);
                let a_panels: &mut [APairs] = packed_a.get_mut().as_chunks_mut().0;
                let b_panels: &mut [BPairs] = packed_b.get_mut().as_chunks_mut().0;
                both(
                    threads,
                    || pack_panels(cpu, a_panels, a, (&rows, &inner), threads),
                    || {
                        if rows.start == 0 {
                            pack_panels(cpu, b_panels, b, (&cols, &inner), threads);
                        }
                    },
                );
                let out = &mut out[rows.start * row_stride..];
                let tasks = tasks(out, row_stride, (rows.len(), &cols), threads);
                let packed = (packed_a.get().as_chunks().0, packed_b.get().as_chunks().0);
                let run = |task| compute(cpu, task, packed, (pairs, depth / 2), write);
                match threads {
                    Threads::One => tasks.into_iter().for_each(run),
                    Threads::All => tasks.into_par_iter().with_max_len(1).for_each(run),
                }
            }
        }
    }
}

/// Pairs of bf16 values, each in the bits of an f32, aligned to a cache line.
struct Pairs {
    buffer: Buffer,
    pairs: Range<usize>,
}

impl Pairs {
    /// Returns `len` arbitrary pairs.
    fn any(len: usize) -> Self {
        let buffer = Buffer::any(len + LANES - 1);
        let first = buffer.as_ptr().align_offset(LANES * size_of::<f32>()).min(LANES - 1);
        Self { buffer, pairs: first..first + len }
    }

    fn get(&self) -> &[f32] {
        &self.buffer[self.pairs.clone()]
    }

    fn get_mut(&mut self) -> &mut [f32] {
        &mut self.buffer[self.pairs.clone()]
    }
}

/// Divides `0..whole` into parts of the given size; the last may be smaller.
fn parts(whole: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..whole).step_by(size).map(move |start| start..whole.min(start + size))
}

/// Runs both, in parallel if `threads` allows it.
fn both(threads: Threads, a: impl FnOnce() + Send, b: impl FnOnce() + Send) {
    match threads {
        Threads::One => {
            a();
            b();
        }
        Threads::All => {
            rayon::join(a, b);
        }
    }
}

/// Packs the given rows and columns of a factor.
fn pack_panels<T: Factor, const P: usize>(
    cpu: Avx512Bf16,
    panels: &mut [[f32; P]],
    from: Mat<'_, T>,
    (rows, inner): (&Range<usize>, &Range<usize>),
    threads: Threads,
) {
    let from = Mat { rows: rows.end, cols: inner.end, ..from };
    let size = PACKED_PANELS * inner.len().div_ceil(2);
    let fill = |(i, panels): (usize, &mut [[f32; P]])| {
        pack(cpu, panels, from, (rows.start + i * PACKED_PANELS * P, inner.start));
    };
    match threads {
        Threads::One => panels.chunks_mut(size).enumerate().for_each(fill),
        Threads::All => panels.par_chunks_mut(size).enumerate().for_each(fill),
    }
}

/// A block of the product.
struct Task<'a> {
    rows: Vec<&'a mut [f32]>,
    /// The first panel in each of the packed factors.
    panels: (usize, usize),
}

/// Divides the first `rows` rows and the given columns of `out` into tasks. Tasks with the same columns follow each
/// other, because they read the same panels of the second factor.
fn tasks<'a>(
    out: &'a mut [f32],
    row_stride: usize,
    (rows, cols): (usize, &Range<usize>),
    threads: Threads,
) -> Vec<Task<'a>> {
    let (height, width) = task_size(rows, cols.len(), threads);
    let (down, across) = (rows.div_ceil(height), cols.len().div_ceil(width));
    let mut tasks = Vec::with_capacity(down * across);
    for col in parts(cols.len(), width) {
        for row in parts(rows, height) {
            let panels = (row.start / TILE_ROWS, col.start / TILE_COLS);
            tasks.push(Task { rows: Vec::with_capacity(row.len()), panels });
        }
    }
    for (i, row) in out.chunks_mut(row_stride).take(rows).enumerate() {
        for (j, part) in row[cols.clone()].chunks_mut(width).enumerate() {
            tasks[j * down + i / height].rows.push(part);
        }
    }
    tasks
}

/// Returns the rows and columns of a task: whole tiles, about as many in each task.
fn task_size(rows: usize, cols: usize, threads: Threads) -> (usize, usize) {
    let (rows, cols) = (rows.div_ceil(TILE_ROWS), cols.div_ceil(TILE_COLS));
    let (mut tall, mut wide) = (TASK.0 / TILE_ROWS, TASK.1 / TILE_COLS);
    if threads == Threads::All {
        let wanted = TASKS * rayon::current_num_threads();
        while tall * wide > 1 && rows.div_ceil(tall) * cols.div_ceil(wide) < wanted {
            if tall >= wide { tall /= 2 } else { wide /= 2 }
        }
    }
    let even = |tiles: usize, most: usize| tiles.div_ceil(tiles.div_ceil(most));
    (even(rows, tall) * TILE_ROWS, even(cols, wide) * TILE_COLS)
}

/// Computes a task. A panel has `pairs` pairs per lane, and a block of the inner dimension has `depth` of them.
fn compute(
    cpu: Avx512Bf16,
    mut task: Task<'_>,
    (a, b): (&[APairs], &[BPairs]),
    (pairs, depth): (usize, usize),
    write: Write,
) {
    let across = task.rows.first().map_or(0, |row| row.len().div_ceil(TILE_COLS));
    let a = &a[task.panels.0 * pairs..];
    let b = &b[task.panels.1 * pairs..][..across * pairs];
    for block in parts(pairs, depth) {
        let write = if block.start == 0 { write } else { Write::Add };
        for (rows, a) in task.rows.chunks_mut(TILE_ROWS).zip(a.chunks_exact(pairs)) {
            let b = b.chunks_exact(pairs).map(|b| &b[block.clone()]);
            multiply_panels(cpu, rows, &a[block.clone()], b, write);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::number::Bf16;
    use super::*;

    /// The sum that the documentation of `matmul_bf16` specifies, one operation at a time.
    fn sum(a: &[f32], b: &[f32]) -> f32 {
        let blocks = a.len().div_ceil(DEPTH);
        let depth = a.len().div_ceil(blocks).next_multiple_of(2);
        let rounded = |x: f32| f32::from(Bf16::from(x));
        let block = |(a, b): (&[f32], &[f32])| {
            let mut sum = 0.0_f32;
            for (a, b) in a.chunks(2).zip(b.chunks(2)) {
                for (a, b) in a.iter().zip(b).rev() {
                    sum = rounded(*a).mul_add(rounded(*b), sum);
                }
            }
            sum
        };
        a.chunks(depth).zip(b.chunks(depth)).map(block).reduce(|sum, block| sum + block).unwrap()
    }

    #[test]
    fn every_operation_is_rounded_as_documented() {
        let Some(cpu) = Avx512Bf16::detect() else { return };
        let numbers = |len: usize, step: usize| -> Vec<f32> {
            (0..len).map(|i| ((i * step) % 20_011) as f32 / 10_005.5 - 1.0).collect()
        };
        for inner in [1, 2, 3, 100, DEPTH, DEPTH + 1, 3 * DEPTH + 5] {
            let (rows, cols) = (15, 33);
            let (a, b) = (numbers(rows * inner, 7919), numbers(cols * inner, 104_729));
            let mut out = vec![0.0; rows * cols];
            let (from_a, from_b) = (Mat::dense(&a, inner), Mat::dense(&b, inner).t());
            product(cpu, (&mut out, cols), from_a, from_b, Write::Set, Threads::One);
            for (i, out) in out.iter().enumerate() {
                let expected = sum(&a[i / cols * inner..][..inner], &b[i % cols * inner..][..inner]);
                assert_eq!(out.to_bits(), expected.to_bits(), "{i} of inner size {inner}");
            }
        }
    }

    #[test]
    fn large_products_are_packed_in_parts() {
        let Some(cpu) = Avx512Bf16::detect() else { return };
        // Each element is exactly the inner size times its row index modulo 100.
        let (rows, inner, cols) = (PACKED.0 + 3, 5, PACKED.1 + 1);
        let a: Vec<f32> = (0..rows * inner).map(|i| (i / inner % 100) as f32).collect();
        let b = vec![1.0; inner * cols];
        let mut out = vec![f32::NAN; rows * cols];
        let (from_a, from_b) = (Mat::dense(&a, inner), Mat::dense(&b, cols));
        product(cpu, (&mut out, cols), from_a, from_b, Write::Set, Threads::All);
        for (i, row) in out.chunks(cols).enumerate() {
            assert!(row.iter().all(|x| *x == (i % 100 * inner) as f32), "row {i}");
        }
    }
}
