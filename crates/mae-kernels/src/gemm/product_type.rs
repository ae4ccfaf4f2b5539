//! Matrix products whose factors may be rounded.

use super::mat::{Mat, Threads, Write, matmul};
use crate::bf16::matmul_bf16;

/// The type to which a product rounds its factors. Sums are in f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProductType {
    /// No rounding.
    #[default]
    F32,
    /// bfloat16, by [`matmul_bf16`].
    Bf16,
}

impl ProductType {
    /// Calls [`matmul`] or [`matmul_bf16`].
    pub fn matmul(
        self,
        out: &mut [f32],
        row_stride: usize,
        a: Mat<'_>,
        b: Mat<'_>,
        write: Write,
        threads: Threads,
    ) {
        match self {
            Self::F32 => matmul(out, row_stride, a, b, write, threads),
            Self::Bf16 => matmul_bf16(out, row_stride, a, b, write, threads),
        }
    }
}
