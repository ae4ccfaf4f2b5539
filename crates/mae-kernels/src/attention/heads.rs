//! The sizes of an attention, and the data that its forward pass leaves for the backward pass.

/// The sizes of an attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Tokens per image, L.
    pub len: usize,
    /// Query tokens per image, Q: the last Q. The others are only attended to.
    pub queries: usize,
    /// Number of heads.
    pub num: usize,
    /// Width of a head.
    pub dim: usize,
}

impl Heads {
    pub(super) fn width(self) -> usize {
        self.num * self.dim
    }

    pub(super) fn scale(self) -> f32 {
        1.0 / (self.dim as f32).sqrt()
    }
}

/// Inputs and outputs of the forward pass.
#[derive(Clone, Copy)]
pub struct Attended<'a> {
    /// `[B, L, 3·D]`
    pub qkv: &'a [f32],
    /// `[3·D]`
    pub bias: &'a [f32],
    /// `[B, Q, D]`
    pub out: &'a [f32],
    /// `[B, N, Q]`
    pub log_sums: &'a [f32],
}
