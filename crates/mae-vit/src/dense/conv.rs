//! Convolutions and transposed convolutions of feature maps.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};

use crate::{InitRng, Precision, ops};

/// A convolution with a square kernel of odd side, stride 1, and zero padding that keeps the map's size.
///
/// # Source
/// PyTorch's `Conv2d` with `padding = side / 2`.
#[derive(Module, Debug)]
pub struct Conv {
    /// `[C_out, C_in, side, side]`
    pub weight: Param<Tensor<4>>,
    /// `[C_out]`
    pub bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    precision: Precision,
}

impl Conv {
    /// A convolution without a bias, to be followed by a norm. The weight is normal with a variance of 2 / fan-out,
    /// where fan-out is `c_out · side²`.
    ///
    /// # Panics
    /// If the side is even.
    ///
    /// # Source
    /// He et al., arXiv 1502.01852, section 2.2, backward propagation; `kaiming_init` of mmcv's `ConvModule`.
    pub fn new([c_in, c_out]: [usize; 2], side: usize, rng: &mut InitRng, device: &Device) -> Self {
        assert!(!side.is_multiple_of(2), "the kernel's side is {side}, but must be odd");
        let std = (2.0 / (c_out * side * side) as f64).sqrt();
        let weight = rng.normal(c_out * c_in * side * side, std);
        Self {
            weight: Param::from_data(TensorData::new(weight, [c_out, c_in, side, side]), device),
            bias: None,
            precision: Precision::F32,
        }
    }

    /// A 1 x 1 convolution to class logits: the weight is normal with a standard deviation of 0.01, the bias zero.
    ///
    /// # Source
    /// `conv_seg` in mmsegmentation's `BaseDecodeHead`.
    pub fn classifier([c_in, c_out]: [usize; 2], rng: &mut InitRng, device: &Device) -> Self {
        let weight = rng.normal(c_out * c_in, 0.01);
        Self {
            weight: Param::from_data(TensorData::new(weight, [c_out, c_in, 1, 1]), device),
            bias: Some(Param::from_data(TensorData::zeros::<f32, _>([c_out]), device)),
            precision: Precision::F32,
        }
    }

    /// The same convolution with its products in another precision.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// # Shapes
    /// `[B, H, W, C_in]` → `[B, H, W, C_out]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        ops::conv(x, self.weight.val(), self.bias.as_ref().map(Param::val), self.precision)
    }
}

/// A transposed convolution with kernel size 2 and stride 2, which doubles a map's sides.
///
/// # Source
/// PyTorch's `ConvTranspose2d(kernel_size=2, stride=2)`.
#[derive(Module, Debug)]
pub struct ConvTranspose {
    /// `[C_in, C_out, 2, 2]`
    pub weight: Param<Tensor<4>>,
    /// `[C_out]`
    pub bias: Param<Tensor<1>>,
    #[module(skip)]
    precision: Precision,
}

impl ConvTranspose {
    /// Draws weight and bias uniformly, as PyTorch does.
    pub fn new([c_in, c_out]: [usize; 2], rng: &mut InitRng, device: &Device) -> Self {
        let bound = 1.0 / (4.0 * c_out as f64).sqrt();
        let weight = rng.uniform(c_in * c_out * 4, bound);
        let bias = rng.uniform(c_out, bound);
        Self {
            weight: Param::from_data(TensorData::new(weight, [c_in, c_out, 2, 2]), device),
            bias: Param::from_data(TensorData::new(bias, [c_out]), device),
            precision: Precision::F32,
        }
    }

    /// The same layer with its product in another precision.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// At stride 2, kernels do not overlap: a linear map turns each pixel into four.
    ///
    /// # Shapes
    /// `[B, H, W, C_in]` → `[B, 2·H, 2·W, C_out]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, height, width, c_in] = x.dims();
        let [c_out] = self.bias.dims();
        let weight = self.weight.val().permute([0, 2, 3, 1]).reshape([c_in, 4 * c_out]); // [C_in, 2·2·C_out]
        let bias = self.bias.val().repeat_dim(0, 4); // [2·2·C_out]
        ops::linear(x, weight, bias, self.precision) // [B, H, W, 2·2·C_out]
            .reshape([batch * height, width, 2, 2 * c_out]) // [B·H, W, 2, 2·C_out]
            .swap_dims(1, 2) // [B·H, 2, W, 2·C_out]
            .reshape([batch, 2 * height, 2 * width, c_out]) // [B, 2·H, 2·W, C_out]
    }
}
