//! Linear and layer-norm modules that hold parameters and compute through [`ops`](crate::ops).

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};

use crate::{InitRng, Precision, ops};

/// An affine map of the last axis.
///
/// The weight is `[d_in, d_out]`, so that its gradient comes out contiguous; weight files hold
/// PyTorch's transpose.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[d_in, d_out]`
    pub weight: Param<Tensor<2>>,
    /// `[d_out]`
    pub bias: Param<Tensor<1>>,
    #[module(skip)]
    precision: Precision,
}

impl Linear {
    /// Xavier-uniform weight and zero bias.
    ///
    /// # Source
    /// The official `_init_weights`; Glorot and Bengio 2010, eq. 16.
    pub fn new(d_in: usize, d_out: usize, rng: &mut InitRng, device: &Device) -> Self {
        let bound = (6.0 / (d_in + d_out) as f64).sqrt();
        Self::from_weight(rng.uniform(d_in * d_out, bound), [d_in, d_out], device)
    }

    /// A map with the given weight, row-major, and zero bias.
    ///
    /// # Panics
    /// If `weight` does not have `d_in · d_out` values.
    pub fn from_weight(weight: Vec<f32>, [d_in, d_out]: [usize; 2], device: &Device) -> Self {
        Self {
            weight: Param::from_data(TensorData::new(weight, [d_in, d_out]), device),
            bias: Param::from_data(TensorData::zeros::<f32, _>([d_out]), device),
            precision: Precision::F32,
        }
    }

    /// The same map with its product in another precision.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// # Shapes
    /// `[.., d_in]` → `[.., d_out]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        ops::linear(x, self.weight.val(), self.bias.val(), self.precision)
    }
}

/// Layer normalisation of the last axis with a learnt scale and shift.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// `[D]`
    pub weight: Param<Tensor<1>>,
    /// `[D]`
    pub bias: Param<Tensor<1>>,
    #[module(skip)]
    eps: f64,
}

impl LayerNorm {
    /// Scale one, shift zero.
    pub fn new(dim: usize, eps: f64, device: &Device) -> Self {
        Self {
            weight: Param::from_data(TensorData::ones::<f32, _>([dim]), device),
            bias: Param::from_data(TensorData::zeros::<f32, _>([dim]), device),
            eps,
        }
    }

    /// The epsilon added to the variance.
    pub fn eps(&self) -> f64 {
        self.eps
    }

    /// # Shapes
    /// `[.., D]` → `[.., D]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        ops::layer_norm(x, self.weight.val(), self.bias.val(), self.eps)
    }
}
