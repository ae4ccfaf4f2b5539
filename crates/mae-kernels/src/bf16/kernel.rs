//! The micro-kernel: sums a tile of the product in registers, over a block of the inner dimension.

use std::arch::x86_64::*;

use super::vector::{Avx512Bf16, LANES, dot_pairs, load, prefetch, store};
use crate::gemm::mat::Write;

/// Rows of a tile. Its sums take 28 of the 32 registers; two hold the second factor, one the first.
pub(super) const TILE_ROWS: usize = 14;
/// Columns of a tile: two registers.
pub(super) const TILE_COLS: usize = 2 * LANES;

/// One pair for each row of a panel of the first factor.
pub(super) type APairs = [f32; TILE_ROWS];
/// One pair for each column of a panel of the second factor.
pub(super) type BPairs = [f32; TILE_COLS];

/// Multiplies a panel of the first factor by panels of the second, each into the next tile of `rows`. There are
/// [`TILE_ROWS`] rows or, at the edge of the product, fewer.
#[allow(unsafe_code, reason = "calls functions for processors with AVX512_BF16")]
pub(super) fn multiply_panels<'a>(
    _: Avx512Bf16,
    rows: &mut [&mut [f32]],
    a: &[APairs],
    b: impl Iterator<Item = &'a [BPairs]>,
    write: Write,
) {
    // SAFETY: the token proves that the processor has the instructions.
    unsafe {
        match rows.len() {
            1 => panels::<1>(rows, a, b, write),
            2 => panels::<2>(rows, a, b, write),
            3 => panels::<3>(rows, a, b, write),
            4 => panels::<4>(rows, a, b, write),
            5 => panels::<5>(rows, a, b, write),
            6 => panels::<6>(rows, a, b, write),
            7 => panels::<7>(rows, a, b, write),
            8 => panels::<8>(rows, a, b, write),
            9 => panels::<9>(rows, a, b, write),
            10 => panels::<10>(rows, a, b, write),
            11 => panels::<11>(rows, a, b, write),
            12 => panels::<12>(rows, a, b, write),
            13 => panels::<13>(rows, a, b, write),
            _ => panels::<14>(rows, a, b, write),
        }
    }
}

/// [`multiply_panels`] for `R` rows, so that each number of rows has its own loop.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
fn panels<'a, const R: usize>(
    rows: &mut [&mut [f32]],
    a: &[APairs],
    b: impl Iterator<Item = &'a [BPairs]>,
    write: Write,
) {
    for (i, b) in b.enumerate() {
        let col = i * TILE_COLS;
        if rows.iter().all(|row| row.len() >= col + TILE_COLS) {
            multiply::<R>(rows, col, a, b, write);
        } else {
            let mut whole = [[0.0; TILE_COLS]; R];
            multiply::<R>(&mut whole.each_mut().map(|row| &mut row[..]), 0, a, b, Write::Set);
            write_part(rows, col, &whole, write);
        }
    }
}

/// Writes the part of a tile that lies inside the product.
fn write_part(rows: &mut [&mut [f32]], col: usize, whole: &[[f32; TILE_COLS]], write: Write) {
    for (row, whole) in rows.iter_mut().zip(whole) {
        for (out, sum) in row[col..].iter_mut().zip(whole) {
            *out = if write == Write::Add { *out + sum } else { *sum };
        }
    }
}

/// Multiplies into the tile that begins at `col`. Not inlined, so that nothing else competes for registers.
#[inline(never)]
#[allow(clippy::needless_range_loop, reason = "iterators of arrays of registers go through memory")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
fn multiply<const R: usize>(rows: &mut [&mut [f32]], col: usize, a: &[APairs], b: &[BPairs], write: Write) {
    let rows: &mut [&mut [f32]; R] = rows.try_into().expect("as many rows");
    for row in rows.iter() {
        prefetch(&row[col..]);
    }
    let mut sums = [[_mm512_setzero_ps(); 2]; R];
    for (a, b) in a.iter().zip(b) {
        let (b, _) = b.as_chunks();
        let b = [load(&b[0]), load(&b[1])];
        for r in 0..R {
            let a = _mm512_set1_ps(a[r]);
            sums[r] = [dot_pairs(sums[r][0], a, b[0]), dot_pairs(sums[r][1], a, b[1])];
        }
    }
    if write == Write::Add {
        for r in 0..R {
            let (row, _) = rows[r][col..][..TILE_COLS].as_chunks();
            sums[r][0] = _mm512_add_ps(load(&row[0]), sums[r][0]);
            sums[r][1] = _mm512_add_ps(load(&row[1]), sums[r][1]);
        }
    }
    for r in 0..R {
        let (row, _) = rows[r][col..][..TILE_COLS].as_chunks_mut();
        store(&mut row[0], sums[r][0]);
        store(&mut row[1], sums[r][1]);
    }
}
