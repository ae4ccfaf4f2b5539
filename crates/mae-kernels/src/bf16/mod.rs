//! Matrix products of bf16 factors with f32 sums.

mod factor;
mod fallback;
#[cfg(target_arch = "x86_64")]
mod kernel;
mod number;
#[cfg(target_arch = "x86_64")]
mod pack;
#[cfg(target_arch = "x86_64")]
mod product;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod vector;

use std::fmt;

use crate::gemm::mat::{Mat, Threads, Write, fits};

pub use factor::Factor;
pub use number::Bf16;

/// Computes `out = a · b` or `out += a · b`, with factors rounded to bf16 and sums in f32. `out` is row-major, with
/// rows `row_stride` elements apart.
///
/// An `f32` factor is rounded as by [`Bf16::from`]; a subnormal [`Bf16`] counts as zero.
///
/// # Results
/// If [`bf16_products`] is [`Avx512Bf16`](Bf16Products::Avx512Bf16), an element depends neither on the number of
/// threads nor on earlier products. The inner dimension is then divided into blocks of at most 768, of equal length up
/// to rounding. Each block's sum starts at zero. Each pair of positions adds its second product, then its first. Each
/// addition rounds once, to nearest; a subnormal sum becomes zero. The sums of the blocks are added in order: to zero,
/// or to `out` for [`Write::Add`].
///
/// Otherwise, the order is that of [`matmul`](crate::matmul). In both cases, the error is that of f32 sums: for K
/// positions, at most about K · 2⁻²⁴ times the sum of the products' magnitudes.
///
/// # Panics
/// If the inner sizes differ or `out` is too short.
pub fn matmul_bf16<A: Factor, B: Factor>(
    out: &mut [f32],
    row_stride: usize,
    a: Mat<'_, A>,
    b: Mat<'_, B>,
    write: Write,
    threads: Threads,
) {
    multiply((out, row_stride), a, b, write, threads, bf16_products());
}

/// How bf16 products are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bf16Products {
    /// By the processor's instructions on pairs of bf16 values.
    Avx512Bf16,
    /// By f32 products of the rounded factors.
    F32,
}

impl fmt::Display for Bf16Products {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Avx512Bf16 => "AVX512_BF16",
            Self::F32 => "f32 arithmetic on rounded factors",
        })
    }
}

/// Returns what [`matmul_bf16`] uses on this processor.
pub fn bf16_products() -> Bf16Products {
    #[cfg(target_arch = "x86_64")]
    if vector::Avx512Bf16::detect().is_some() {
        return Bf16Products::Avx512Bf16;
    }
    Bf16Products::F32
}

fn multiply<A: Factor, B: Factor>(
    (out, row_stride): (&mut [f32], usize),
    a: Mat<'_, A>,
    b: Mat<'_, B>,
    write: Write,
    threads: Threads,
    by: Bf16Products,
) {
    assert_eq!(a.cols, b.rows, "inner sizes");
    assert!(fits(out.len(), a.rows, b.cols, row_stride), "the product does not fit");
    if a.rows == 0 || b.cols == 0 {
        return;
    }
    if a.cols == 0 {
        if write == Write::Set {
            out.chunks_mut(row_stride).take(a.rows).for_each(|row| row[..b.cols].fill(0.0));
        }
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if by == Bf16Products::Avx512Bf16
        && let Some(cpu) = vector::Avx512Bf16::detect()
    {
        return product::product(cpu, (out, row_stride), a, b, write, threads);
    }
    let _ = by;
    fallback::product((out, row_stride), a, b, write, threads);
}
