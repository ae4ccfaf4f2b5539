//! CPU kernels of a masked autoencoder's training step, on slices of `f32`, without a framework.
//!
//! All matrices are row-major. Loops run on rayon's threads and are compiled for several instruction sets; the best one
//! that the machine has is chosen at run time. Results depend neither on the number of threads nor on what ran before,
//! with one exception: the `gemm` crate chooses its blocks by the number of threads.
//!
//! [`matmul_bf16`] multiplies in bf16 with f32 sums, using AVX512_BF16 if the processor has it.
//!
//! The principal operations are the two branches of a transformer block, [`attention_branch`] and [`mlp_branch`].
//!
//! ```
//! use mae_kernels::{ProductType, linear};
//!
//! let (x, weight, bias) = ([1.0, 2.0], [3.0, 4.0], [0.5, -0.5]);
//! // One row of two numbers to one.
//! assert_eq!(*linear(&x, &weight, &bias[..1], ProductType::F32), [11.5]);
//! ```

mod adamw;
mod attention;
mod bf16;
mod branch;
mod dense;
mod gelu;
mod gemm;
mod layer_norm;
mod linear;
mod loss;
mod pool;
mod rows;
mod simd;
mod transpose;

pub use adamw::{AdamWUpdate, adamw, sum_of_squares};
pub use attention::{Attended, Heads, attention, attention_backward};
pub use bf16::{Bf16, Bf16Products, Factor, bf16_products, matmul_bf16};
pub use branch::{
    AttentionSaved, Branch, BranchGradients, MlpSaved, attention_branch, attention_branch_backward,
    mlp_branch, mlp_branch_backward,
};
pub use dense::{
    ChannelMoments, ChannelNorm, Map, Nonlinearity, Taps, batch_norm, batch_norm_backward, conv3x3,
    conv3x3_input_backward, conv3x3_weight_backward, cross_entropy, mix_rows,
};
pub use gelu::{gelu, gelu_backward};
pub use gemm::{Mat, ProductType, Threads, Write, matmul};
pub use layer_norm::{layer_norm, layer_norm_again, layer_norm_backward};
pub use linear::{linear, linear_backward, linear_input_backward};
pub use loss::{reconstruction, reconstruction_backward, scale};
pub use pool::{Buffer, release_idle};
pub use rows::{add_bias, set_bias, sum_rows};

/// Runs `f` on one of rayon's threads. A parallel loop started from there need not wake a thread to start it, nor put
/// the caller to sleep until it ends.
pub(crate) fn on_pool<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| f())
}

/// The README's examples, as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
