//! Argument types of the operations in [`ops`](crate::ops).

use burn::tensor::Tensor;

/// The parameters of a block's residual branch: layer norm, linear map, linear map.
#[derive(Clone, Debug)]
pub struct BranchParams {
    /// `[D]`
    pub norm_weight: Tensor<1>,
    /// `[D]`
    pub norm_bias: Tensor<1>,
    /// `[D, 3·D]` for attention, `[D, hidden]` for an MLP.
    pub in_weight: Tensor<2>,
    /// `[3·D]` or `[hidden]`
    pub in_bias: Tensor<1>,
    /// `[D, D]` or `[hidden, D]`
    pub out_weight: Tensor<2>,
    /// `[D]`
    pub out_bias: Tensor<1>,
}

/// The activation after a batch norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// No activation.
    Identity,
    /// The positive part.
    Relu,
    /// The exact GELU.
    Gelu,
}

/// The hyperparameters and the step count of one AdamW update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWStep {
    /// Decay rates of the first and second moment.
    pub betas: (f32, f32),
    /// Added to the square root of the second moment.
    pub eps: f32,
    /// Decoupled weight decay, multiplied by the learning rate.
    pub weight_decay: f64,
    /// The learning rate.
    pub lr: f64,
    /// The number of the update, counted from 1.
    pub time: i32,
}

impl AdamWStep {
    /// The factor by which weight decay shrinks a parameter.
    pub(super) fn keep(&self) -> f64 {
        1.0 - self.lr * self.weight_decay
    }

    /// The same values in the kernel's type.
    #[cfg(any(feature = "flex", feature = "tch"))]
    pub(super) fn kernel(&self) -> mae_kernels::AdamWUpdate {
        mae_kernels::AdamWUpdate {
            betas: self.betas,
            eps: self.eps,
            keep: self.keep() as f32,
            lr: self.lr as f32,
            time: self.time,
        }
    }
}

/// The memory of a libtorch tensor on an NVIDIA card. Its contents are computed on the card's default stream.
#[cfg(feature = "tch")]
#[derive(Clone, Copy, Debug)]
pub struct CudaMemory {
    /// The device address, valid as long as the tensor lives.
    pub address: u64,
    /// The number of f32 values.
    pub len: usize,
}
