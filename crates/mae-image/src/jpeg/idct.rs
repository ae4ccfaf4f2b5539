//! The inverse cosine transform of a block, bit for bit as in libjpeg.

use multiversion::multiversion;

/// Fractional bits of the constants.
const BITS: u32 = 13;
/// Fractional bits that are kept between the two passes.
const KEPT: u32 = 2;

type Rows = [[i16; 8]; 8];

/// Transforms a block's coefficients into 8 rows of 8 samples, `stride` apart. `end` is one past the last nonzero
/// coefficient in zigzag order.
///
/// # Source
/// libjpeg's `jidctint.c`, an algorithm of Loeffler, Ligtenberg and Moschytz (1989), in the form of libjpeg-turbo's
/// `jidctint-avx2.asm`: sums of products of 16 bits.
#[multiversion(targets = "simd")]
pub(crate) fn inverse(block: &[i16; 64], end: usize, out: &mut [u8], stride: usize) {
    let mut rows: Rows = [[0; 8]; 8];
    rows.as_flattened_mut().copy_from_slice(block);
    // The first ten coefficients lie in the first four rows and columns.
    let samples = if end <= 10 { both::<4>(&rows) } else { both::<8>(&rows) };
    for (from, out) in samples.iter().zip(out.chunks_mut(stride)) {
        out[..8].copy_from_slice(from);
    }
}

/// Both passes; rows and columns from `N` on are 0.
#[inline(always)]
fn both<const N: usize>(rows: &Rows) -> [[u8; 8]; 8] {
    let columns = transposed(&pass::<N, { BITS - KEPT }>(rows));
    let columns = pass::<N, { BITS + KEPT + 3 }>(&columns);
    let mut bytes = [[0_u8; 8]; 8];
    for (bytes, values) in bytes.iter_mut().zip(&columns) {
        for (byte, value) in bytes.iter_mut().zip(values) {
            *byte = value.saturating_add(128).clamp(0, 255) as u8;
        }
    }
    transposed(&bytes)
}

/// Transforms each of the eight columns; the sums are rounded and shifted right by `SHIFT` bits.
#[inline(always)]
fn pass<const N: usize, const SHIFT: u32>(rows: &Rows) -> Rows {
    let mut out = [[0; 8]; 8];
    for column in 0..8 {
        let row = |i: usize| if i < N { rows[i][column] } else { 0 };
        let times = |value: i16, constant: i16| i32::from(value) * i32::from(constant);
        // Even rows.
        let low = times(row(2), 4433) + times(row(6), -10704);
        let high = times(row(2), 10703) + times(row(6), 4433);
        let sum = i32::from(row(0).wrapping_add(row(4))) << BITS;
        let difference = i32::from(row(0).wrapping_sub(row(4))) << BITS;
        let even = [sum + high, difference + low, difference - low, sum - high];
        // Odd rows.
        let (a, b) = (row(3).wrapping_add(row(7)), row(1).wrapping_add(row(5)));
        let z3 = times(a, -6436) + times(b, 9633);
        let z4 = times(a, 9633) + times(b, 6437);
        let odd = [
            times(row(1), 4926) + times(row(7), -7373) + z4,
            times(row(3), 4177) + times(row(5), -20995) + z3,
            times(row(5), -4176) + times(row(3), -20995) + z4,
            times(row(7), -4927) + times(row(1), -7373) + z3,
        ];
        let round = 1 << (SHIFT - 1);
        for i in 0..4 {
            let (first, last) = (even[i] + odd[i] + round, even[i] - odd[i] + round);
            out[i][column] = (first >> SHIFT).clamp(-32768, 32767) as i16;
            out[7 - i][column] = (last >> SHIFT).clamp(-32768, 32767) as i16;
        }
    }
    out
}

#[inline(always)]
fn transposed<T: Copy + Default>(rows: &[[T; 8]; 8]) -> [[T; 8]; 8] {
    let mut out = [[T::default(); 8]; 8];
    for i in 0..8 {
        for j in 0..8 {
            out[i][j] = rows[j][i];
        }
    }
    out
}
