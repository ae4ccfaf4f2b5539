//! Batch normalisation of feature maps.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};

use crate::ops::{self, Activation, portable};

/// Batch normalisation of the channels, with a learnt scale and shift.
///
/// # Source
/// Ioffe and Szegedy, arXiv 1502.03167, algorithms 1 and 2; PyTorch's `BatchNorm2d`.
#[derive(Module, Debug)]
pub struct BatchNorm {
    /// `[C]`
    pub weight: Param<Tensor<1>>,
    /// `[C]`
    pub bias: Param<Tensor<1>>,
    /// `[C]`, not trained.
    pub running_mean: Param<Tensor<1>>,
    /// `[C]`, not trained.
    pub running_var: Param<Tensor<1>>,
}

/// Mean and unbiased variance of a batch, by channel.
#[derive(Clone, Debug)]
pub struct BatchMoments {
    /// `[C]`
    pub mean: Tensor<1>,
    /// `[C]`
    pub var: Tensor<1>,
}

impl BatchNorm {
    /// The epsilon added to a variance: PyTorch's default.
    pub const EPS: f64 = 1e-5;
    /// The weight of a batch in the running mean and variance: PyTorch's default.
    pub const MOMENTUM: f64 = 0.1;

    /// Scale one, shift zero, running mean zero, running variance one.
    pub fn new(channels: usize, device: &Device) -> Self {
        let param = |data: TensorData| Param::<Tensor<1>>::from_data(data, device);
        let (zeros, ones) =
            (|| TensorData::zeros::<f32, _>([channels]), || TensorData::ones::<f32, _>([channels]));
        Self {
            weight: param(ones()),
            bias: param(zeros()),
            running_mean: param(zeros()).set_require_grad(false),
            running_var: param(ones()).set_require_grad(false),
        }
    }

    /// Normalises by the running mean and variance.
    ///
    /// # Shapes
    /// `[B, H, W, C]` → `[B, H, W, C]`
    pub fn forward(&self, x: Tensor<4>, activation: Activation) -> Tensor<4> {
        let scale = self.weight.val() / self.running_var.val().add_scalar(Self::EPS).sqrt(); // [C]
        let shift = self.bias.val() - self.running_mean.val() * scale.clone(); // [C]
        portable::activate(x * scale.unsqueeze() + shift.unsqueeze(), activation)
    }

    /// Normalises by the batch's own mean and biased variance, over B·H·W values per channel, at least two. Also
    /// returns the mean and the unbiased variance, detached, with which to update the running ones by
    /// [`MOMENTUM`](Self::MOMENTUM).
    ///
    /// # Shapes
    /// `[B, H, W, C]` → `[B, H, W, C]`
    pub fn train_forward(&self, x: Tensor<4>, activation: Activation) -> (Tensor<4>, BatchMoments) {
        let (weight, bias) = (self.weight.val(), self.bias.val());
        let (y, [mean, var]) = ops::batch_norm(x, weight, bias, Self::EPS, activation);
        (y, BatchMoments { mean, var })
    }
}
