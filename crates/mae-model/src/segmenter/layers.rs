//! Layers of the segmentation heads.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use mae_vit::dense::{Activation, BatchNorm, Conv};
use mae_vit::{InitRng, Precision};

use super::BatchStatistics;

/// How batch norms normalise in a forward pass.
pub(super) enum Pass<'a> {
    /// By the running statistics.
    Evaluate,
    /// By the batch's statistics, which are recorded here.
    Train(&'a mut BatchStatistics),
}

impl Pass<'_> {
    /// # Shapes
    /// `[B, H, W, C]` → `[B, H, W, C]`
    pub fn norm(&mut self, norm: &BatchNorm, x: Tensor<4>, activation: Activation) -> Tensor<4> {
        match self {
            Self::Evaluate => norm.forward(x, activation),
            Self::Train(statistics) => {
                let (y, moments) = norm.train_forward(x, activation);
                statistics.push(norm, moments);
                y
            }
        }
    }
}

/// A convolution without a bias, a batch norm and a ReLU.
///
/// # Source
/// mmcv's `ConvModule`.
#[derive(Module, Debug)]
pub struct ConvNorm {
    /// The convolution.
    pub conv: Conv,
    /// The batch norm after it.
    pub bn: BatchNorm,
}

impl ConvNorm {
    pub(super) fn new(channels: [usize; 2], side: usize, rng: &mut InitRng, device: &Device) -> Self {
        Self { conv: Conv::new(channels, side, rng, device), bn: BatchNorm::new(channels[1], device) }
    }

    pub(super) fn with_precision(self, precision: Precision) -> Self {
        Self { conv: self.conv.with_precision(precision), ..self }
    }

    /// # Shapes
    /// `[B, H, W, C_in]` → `[B, H, W, C_out]`
    pub(super) fn forward(&self, x: Tensor<4>, pass: &mut Pass<'_>) -> Tensor<4> {
        pass.norm(&self.bn, self.conv.forward(x), Activation::Relu)
    }
}

/// A batch norm and a 1 x 1 convolution.
///
/// # Source
/// DINOv2's `BNHead` for mmsegmentation.
#[derive(Module, Debug)]
pub struct LinearHead {
    /// Normalises the tokens.
    pub bn: BatchNorm,
    /// Computes the class logits.
    pub classifier: Conv,
}

impl LinearHead {
    pub(super) fn new(width: usize, classes: usize, rng: &mut InitRng, device: &Device) -> Self {
        Self {
            bn: BatchNorm::new(width, device),
            classifier: Conv::classifier([width, classes], rng, device),
        }
    }

    pub(super) fn with_precision(self, precision: Precision) -> Self {
        Self { classifier: self.classifier.with_precision(precision), ..self }
    }

    /// # Shapes
    /// `[B, h, w, D]` → `[B, h, w, K]`
    pub(super) fn forward(&self, x: Tensor<4>, pass: &mut Pass<'_>) -> Tensor<4> {
        self.classifier.forward(pass.norm(&self.bn, x, Activation::Identity))
    }
}
