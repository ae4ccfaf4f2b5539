//! Packing: copies a factor, rounded to bf16, in the order in which the micro-kernel reads it.
//!
//! A panel is a few rows of the first factor or a few columns of the second; both are called lanes here. For every two
//! positions of the inner dimension, it holds each lane's pair: `[K/2, lanes, 2]`. Missing lanes are zero, and so is
//! the second value of the last pair if K is odd.

use std::arch::x86_64::*;

use super::factor::Factor;
use super::vector::{Avx512Bf16, LANES, interleaved, pairs, store_some, transpose};
use crate::gemm::mat::Mat;

/// Fills panels of `P` lanes, one after the other, with the rows of `from` from `row` on and its columns from `col` on.
#[allow(unsafe_code, reason = "calls functions for processors with AVX512_BF16")]
pub(super) fn pack<T: Factor, const P: usize>(
    _: Avx512Bf16,
    panels: &mut [[f32; P]],
    from: Mat<'_, T>,
    (row, col): (usize, usize),
) {
    if from.col_stride == 1 {
        let len = (from.cols - col).div_ceil(2);
        for (i, panel) in panels.chunks_mut(len).enumerate() {
            // SAFETY: the token proves that the processor has the instructions.
            unsafe { pack_rows(panel, from, (row + i * P, col)) };
        }
    } else {
        // SAFETY: as above.
        unsafe { pack_columns(panels, from, (row, col)) };
    }
}

/// Packs a panel whose lanes are contiguous in memory: loads pairs of 16 lanes at a time and transposes them.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
#[allow(clippy::needless_range_loop, reason = "iterators of arrays of registers go through memory")]
fn pack_rows<T: Factor, const P: usize>(
    panel: &mut [[f32; P]],
    from: Mat<'_, T>,
    (row, col): (usize, usize),
) {
    for first in (0..P).step_by(LANES) {
        let mut rows: [&[T]; LANES] = [&[]; LANES];
        let lanes = LANES.min(P - first).min(from.rows.saturating_sub(row + first));
        for (i, lane) in rows[..lanes].iter_mut().enumerate() {
            *lane = &from.data[(row + first + i) * from.row_stride..][col..from.cols];
        }
        for (block, panel) in panel.chunks_mut(LANES).enumerate() {
            let mut tile = [_mm512_setzero_ps(); LANES];
            for i in 0..LANES.min(P) {
                if i < lanes {
                    tile[i] = pairs(T::slice(&rows[i][block * 2 * LANES..]));
                }
            }
            transpose(&mut tile);
            match panel.as_chunks_mut::<LANES>() {
                // The number of rows is fixed here, so that the tile stays in registers.
                ([panel], []) => {
                    for i in 0..LANES {
                        store_some(&mut panel[i][first..], tile[i]);
                    }
                }
                (_, panel) => {
                    for (to, lanes) in panel.iter_mut().zip(tile) {
                        store_some(&mut to[first..], lanes);
                    }
                }
            }
        }
    }
}

/// Packs panels whose lanes lie side by side in memory. Each line is read across all panels before the next: that one
/// is on another page, and the processor prefetches only within a page.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
fn pack_columns<T: Factor, const P: usize>(
    panels: &mut [[f32; P]],
    from: Mat<'_, T>,
    (row, col): (usize, usize),
) {
    let len = (from.cols - col).div_ceil(2);
    for i in 0..len {
        let line = |col: usize| {
            if col < from.cols { &from.data[col * from.col_stride..][row..from.rows] } else { &[] }
        };
        let (first, second) = (line(col + 2 * i), line(col + 2 * i + 1));
        for (panel, to) in panels[i..].iter_mut().step_by(len).enumerate() {
            for lane in (0..P).step_by(LANES) {
                let lanes = panel * P + lane..panel * P + P.min(lane + LANES);
                let part = |line: &'_ [T]| lanes.start.min(line.len())..lanes.end.min(line.len());
                let (first, second) = (&first[part(first)], &second[part(second)]);
                store_some(&mut to[lane..], interleaved(T::slice(first), T::slice(second)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::number::Bf16;
    use super::*;

    /// A panel by its definition.
    fn panel<T: Factor, const P: usize>(from: Mat<'_, T>, (row, col): (usize, usize)) -> Vec<[f32; P]> {
        let at = |row: usize, col: usize| {
            let inside = row < from.rows && col < from.cols;
            let bits = |x: T| (x.rounded().to_bits() >> 16) as u16;
            if inside { bits(from.data[row * from.row_stride + col * from.col_stride]) } else { 0 }
        };
        let pair = |row, col| f32::from_bits(u32::from(at(row, col)) | u32::from(at(row, col + 1)) << 16);
        let pairs = (from.cols - col).div_ceil(2);
        (0..pairs).map(|i| std::array::from_fn(|lane| pair(row + lane, col + 2 * i))).collect()
    }

    fn bits<const P: usize>(panel: &[[f32; P]]) -> Vec<u32> {
        panel.as_flattened().iter().map(|x| x.to_bits()).collect()
    }

    fn check<T: Factor, const P: usize>(cpu: Avx512Bf16, from: Mat<'_, T>) {
        for at in [(0, 0), (P, 2), (P, 40)] {
            if at.0 >= from.rows || at.1 >= from.cols {
                continue;
            }
            let expected = [panel::<T, P>(from, at), panel::<T, P>(from, (at.0 + P, at.1))].concat();
            let mut packed = vec![[f32::NAN; P]; expected.len()];
            pack(cpu, &mut packed, from, at);
            assert_eq!(bits(&packed), bits(&expected), "{} x {} from {at:?}", from.rows, from.cols);
        }
    }

    #[test]
    fn panels_are_those_of_the_definition() {
        let Some(cpu) = Avx512Bf16::detect() else { return };
        // All kinds of values: all bits of the upper halves vary.
        let numbers: Vec<f32> =
            (0..60_000_u32).map(|i| f32::from_bits(i.wrapping_mul(0x9e37_79b9))).collect();
        let rounded: Vec<Bf16> = numbers.iter().map(|x| Bf16::from(*x)).collect();
        for (rows, cols) in [(1, 1), (14, 32), (15, 33), (28, 64), (70, 95), (33, 7), (100, 200)] {
            for stride in [cols, cols + 3] {
                let (wide, narrow) =
                    (Mat::new(&numbers, rows, cols, stride), Mat::new(&rounded, rows, cols, stride));
                for from in [wide, wide.t()] {
                    check::<_, 14>(cpu, from);
                    check::<_, 32>(cpu, from);
                }
                for from in [narrow, narrow.t()] {
                    check::<_, 14>(cpu, from);
                    check::<_, 32>(cpu, from);
                }
            }
        }
    }

    #[test]
    fn the_instruction_rounds_by_the_definition() {
        let Some(cpu) = Avx512Bf16::detect() else { return };
        for lower in [0, 1, 0x1234, 0x7fff, 0x8000, 0x8001, 0xffff] {
            let numbers: Vec<f32> = (0..=0xffff).map(|upper| f32::from_bits(upper << 16 | lower)).collect();
            let from = Mat::new(&numbers, 1, numbers.len(), numbers.len());
            let mut packed = vec![[0.0; 14]; numbers.len() / 2];
            pack(cpu, &mut packed, from, (0, 0));
            assert_eq!(bits(&packed), bits(&panel::<_, 14>(from, (0, 0))));
        }
    }
}
