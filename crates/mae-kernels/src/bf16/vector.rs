//! AVX-512 instructions on slices: all unsafe code of the inner loops is here.
//!
//! A pair of bf16 values is stored in the bits of an `f32`, the first in the lower half, because the pool's buffers
//! hold `f32`.

use std::arch::x86_64::*;

use super::factor::Slice;
use super::number::Bf16;

/// f32 values, or pairs, in a register.
pub(super) const LANES: usize = 16;

/// Proves that the processor has the instructions.
#[derive(Clone, Copy)]
pub(super) struct Avx512Bf16(());

impl Avx512Bf16 {
    /// Returns the proof if the processor has them.
    pub(super) fn detect() -> Option<Self> {
        // The standard library queries the processor only once.
        let detected = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512bf16");
        detected.then_some(Self(()))
    }
}

/// `(sum + a.1 * b.1) + a.0 * b.0` in each lane, for pairs `(a.0, a.1)` and `(b.0, b.1)`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
#[allow(unsafe_code, reason = "the standard library has no safe cast between vector types")]
pub(super) fn dot_pairs(sum: __m512, a: __m512, b: __m512) -> __m512 {
    // SAFETY: both types have 512 bits, and all bit patterns are valid.
    let [a, b] =
        unsafe { [std::mem::transmute::<__m512, __m512bh>(a), std::mem::transmute::<__m512, __m512bh>(b)] };
    _mm512_dpbf16_ps(sum, a, b)
}

/// Loads 16 values.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
#[allow(unsafe_code, reason = "loads take pointers")]
pub(super) fn load(from: &[f32; LANES]) -> __m512 {
    // SAFETY: the array has as many values as are loaded; the instruction takes any alignment.
    unsafe { _mm512_loadu_ps(from.as_ptr()) }
}

/// Loads the first 16 values of a slice, with zeros after its end.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
#[allow(unsafe_code, reason = "loads take pointers")]
fn load_some(from: &[f32]) -> __m512 {
    match from.first_chunk() {
        Some(from) => load(from),
        // SAFETY: the mask has a bit for each value of the slice; no others are read.
        None => unsafe { _mm512_maskz_loadu_ps(first_bits(from.len()) as __mmask16, from.as_ptr()) },
    }
}

/// Loads the first 16 bf16 values of a slice, with zeros after its end.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
#[allow(unsafe_code, reason = "loads take pointers")]
fn load_bf16(from: &[Bf16]) -> __m256i {
    let mask = first_bits(from.len().min(LANES)) as __mmask16;
    // SAFETY: the mask has a bit for each value of the slice up to 16; no others are read. `Bf16` is 16 bits.
    unsafe { _mm256_maskz_loadu_epi16(mask, from.as_ptr().cast()) }
}

/// Loads the first 32 bf16 values of a slice, with zeros after its end.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
#[allow(unsafe_code, reason = "loads take pointers")]
fn load_bf16_pairs(from: &[Bf16]) -> __m512i {
    let mask = first_bits(from.len().min(2 * LANES));
    // SAFETY: the mask has a bit for each value of the slice up to 32; no others are read. `Bf16` is 16 bits.
    unsafe { _mm512_maskz_loadu_epi16(mask, from.as_ptr().cast()) }
}

/// Stores 16 values.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
#[allow(unsafe_code, reason = "stores take pointers")]
pub(super) fn store(to: &mut [f32; LANES], value: __m512) {
    // SAFETY: the array has as many values as are stored; the instruction takes any alignment.
    unsafe { _mm512_storeu_ps(to.as_mut_ptr(), value) };
}

/// Stores as many of the first lanes as the slice has room for.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
#[allow(unsafe_code, reason = "stores take pointers")]
pub(super) fn store_some(to: &mut [f32], value: __m512) {
    match to.first_chunk_mut() {
        Some(to) => store(to, value),
        // SAFETY: the mask has a bit for each value of the slice; no others are written.
        None => unsafe { _mm512_mask_storeu_ps(to.as_mut_ptr(), first_bits(to.len()) as __mmask16, value) },
    }
}

/// Prefetches the two cache lines of a tile's row.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) fn prefetch(row: &[f32]) {
    for line in row.chunks(LANES).take(2) {
        _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast());
    }
}

/// A mask of the first `count` lanes, at most 32.
#[inline]
fn first_bits(count: usize) -> u32 {
    ((1_u64 << count) - 1) as u32
}

/// Pairs each of up to 16 values with the one at the same index of the other slice; zeros after the ends.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) fn interleaved(first: Slice<'_>, second: Slice<'_>) -> __m512 {
    let both = match (first, second) {
        (Slice::F32(first), Slice::F32(second)) => rounded(load_some(first), load_some(second)),
        (Slice::Bf16(first), Slice::Bf16(second)) => {
            _mm512_inserti64x4::<1>(_mm512_castsi256_si512(load_bf16(first)), load_bf16(second))
        }
        _ => unreachable!("rows of one matrix"),
    };
    _mm512_castsi512_ps(_mm512_permutexvar_epi16(interleaving(), both))
}

/// The permutation of words that interleaves two halves into pairs: 0, 16, 1, 17, ..
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
fn interleaving() -> __m512i {
    let lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    let second = _mm512_slli_epi32::<16>(_mm512_add_epi32(lanes, _mm512_set1_epi32(LANES as i32)));
    _mm512_or_si512(lanes, second)
}

/// Loads the first 32 values of a slice as 16 pairs, with zeros after its end.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) fn pairs(from: Slice<'_>) -> __m512 {
    _mm512_castsi512_ps(match from {
        Slice::F32(from) => {
            let (first, second) = from.split_at(from.len().min(LANES));
            rounded(load_some(first), load_some(second))
        }
        Slice::Bf16(from) => load_bf16_pairs(from),
    })
}

/// Rounds to bf16 as `Bf16::from` does.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
#[allow(unsafe_code, reason = "the standard library has no safe cast between vector types")]
fn rounded(lower: __m512, upper: __m512) -> __m512i {
    // SAFETY: both types have 512 bits, and all bit patterns are valid.
    unsafe { std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(upper, lower)) }
}

/// Transposes 16 rows of 16 lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
#[allow(clippy::needless_range_loop, reason = "iterators of arrays of registers go through memory")]
pub(super) fn transpose(tile: &mut [__m512; LANES]) {
    let mut r = [_mm512_setzero_si512(); LANES];
    for i in 0..LANES {
        r[i] = _mm512_castps_si512(tile[i]);
    }
    // Transposes within quarters of 128 bits: first rows (0, 1), (2, 3), .., then groups of four rows.
    for i in (0..LANES).step_by(2) {
        (r[i], r[i + 1]) = (_mm512_unpacklo_epi32(r[i], r[i + 1]), _mm512_unpackhi_epi32(r[i], r[i + 1]));
    }
    for i in (0..LANES).step_by(4) {
        let [a, b, c, d] = [r[i], r[i + 1], r[i + 2], r[i + 3]];
        r[i] = _mm512_unpacklo_epi64(a, c);
        r[i + 1] = _mm512_unpackhi_epi64(a, c);
        r[i + 2] = _mm512_unpacklo_epi64(b, d);
        r[i + 3] = _mm512_unpackhi_epi64(b, d);
    }
    // Quarter q of r[4·g + c] now holds column 4·q + c of rows 4·g to 4·g + 3. For each c, the quarters remain to be
    // transposed.
    for c in 0..4 {
        let [p, q, s, t] = [r[c], r[4 + c], r[8 + c], r[12 + c]];
        let (even, odd) = (_mm512_shuffle_i32x4::<0x88>(p, q), _mm512_shuffle_i32x4::<0xdd>(p, q));
        let (even2, odd2) = (_mm512_shuffle_i32x4::<0x88>(s, t), _mm512_shuffle_i32x4::<0xdd>(s, t));
        tile[c] = _mm512_castsi512_ps(_mm512_shuffle_i32x4::<0x88>(even, even2));
        tile[4 + c] = _mm512_castsi512_ps(_mm512_shuffle_i32x4::<0x88>(odd, odd2));
        tile[8 + c] = _mm512_castsi512_ps(_mm512_shuffle_i32x4::<0xdd>(even, even2));
        tile[12 + c] = _mm512_castsi512_ps(_mm512_shuffle_i32x4::<0xdd>(odd, odd2));
    }
}
