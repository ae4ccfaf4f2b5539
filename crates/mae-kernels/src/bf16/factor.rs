//! The element types of a factor.

use super::number::Bf16;

/// An element of a factor of [`matmul_bf16`](crate::matmul_bf16): `f32`, which packing rounds, or [`Bf16`].
pub trait Factor: sealed::Numbers {}

impl<T: sealed::Numbers> Factor for T {}

pub(super) mod sealed {
    //! Keeps other crates from implementing the trait.

    use super::Bf16;
    #[cfg(target_arch = "x86_64")]
    use super::Slice;

    /// What packing needs of an element.
    pub trait Numbers: Copy + Send + Sync {
        /// Returns the slice with its type as an enum variant. A match on it is resolved at compile time.
        #[cfg(target_arch = "x86_64")]
        fn slice(numbers: &[Self]) -> Slice<'_>;

        /// Returns the value rounded to bf16.
        fn rounded(self) -> f32;
    }

    impl Numbers for f32 {
        #[cfg(target_arch = "x86_64")]
        #[inline]
        fn slice(numbers: &[Self]) -> Slice<'_> {
            Slice::F32(numbers)
        }

        #[inline]
        fn rounded(self) -> f32 {
            Bf16::from(self).into()
        }
    }

    impl Numbers for Bf16 {
        #[cfg(target_arch = "x86_64")]
        #[inline]
        fn slice(numbers: &[Self]) -> Slice<'_> {
            Slice::Bf16(numbers)
        }

        #[inline]
        fn rounded(self) -> f32 {
            // Subnormal numbers count as zero, as they do in the instruction.
            f32::from(self).rounded()
        }
    }
}

/// A slice of one of the element types.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub enum Slice<'a> {
    F32(&'a [f32]),
    Bf16(&'a [Bf16]),
}
