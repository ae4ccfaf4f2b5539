//! Conversion between Burn's tensors and libtorch's.

use burn::backend::{BackendTensor, DispatchTensorKind};
use burn::tensor::Tensor;
use burn_tch::TchTensor;

/// The libtorch primitive of a tensor, detached from the graph.
pub(super) fn primitive<const D: usize>(tensor: Tensor<D>) -> TchTensor {
    match tensor.into_dispatch().kind {
        DispatchTensorKind::LibTorch(BackendTensor::Float(tensor)) => tensor,
        DispatchTensorKind::Autodiff(inner) => match *inner {
            DispatchTensorKind::LibTorch(BackendTensor::Autodiff(tensor)) => tensor.into_primitive(),
            other => unreachable!("{other:?} is not a float tensor on libtorch"),
        },
        other => unreachable!("{other:?} is not a float tensor on libtorch"),
    }
}

/// A tensor on libtorch, outside autodiff.
pub(super) fn wrap<const D: usize>(tensor: TchTensor) -> Tensor<D> {
    let kind = DispatchTensorKind::LibTorch(BackendTensor::Float(tensor));
    Tensor::from_dispatch(burn::backend::DispatchTensor { kind, autodiff: Default::default() })
}
