//! How a model computes: the type of its matrix products, and what is kept for the backward pass.

use std::fmt;
use std::str::FromStr;

use burn::backend::{Backend, DTypeUsage, Dispatch};
use burn::tensor::{DType, Device};
use serde::{Deserialize, Serialize};

use crate::VitError;

/// The dtype of the factors of matrix products. Everything else is f32: weights and their gradients, the residual
/// stream, norms, softmax, loss. (On libtorch, the values between two products of a branch have this dtype too, as
/// under PyTorch's autocast. On Flex, attention's products of queries, keys and values are f32.)
///
/// # Source
/// Mixed precision training, arXiv 1710.03740; PyTorch's autocast, which keeps the same operations in f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits, with no rounding of factors.
    #[default]
    F32,
    /// bfloat16: the range of f32 with 8 bits of precision, so that losses need no scaling.
    Bf16,
}

impl Precision {
    /// The dtype of the factors.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
        }
    }

    /// Whether a device supports this precision: it can store the dtype and compute its products.
    pub fn is_supported_by(self, device: &Device) -> bool {
        let usage = Dispatch::dtype_usage(device.as_dispatch(), self.dtype());
        usage.contains(DTypeUsage::Storage)
            && (usage.contains(DTypeUsage::Arithmetic) || usage.contains(DTypeUsage::Accelerated))
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}

impl FromStr for Precision {
    type Err = VitError;

    fn from_str(text: &str) -> Result<Self, VitError> {
        match text {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            _ => Err(VitError::Precision { name: text.into() }),
        }
    }
}

/// How a model computes. This is not part of the model: weight files do not store it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compute {
    /// The type of matrix products.
    pub precision: Precision,
    /// Whether a block's two branches keep only their inputs for the backward pass and recompute the rest: a third more
    /// work for a fraction of the memory. It has no effect on backends without fused operations.
    ///
    /// # Source
    /// Chen et al., arXiv 1604.06174.
    pub grad_checkpointing: bool,
}
