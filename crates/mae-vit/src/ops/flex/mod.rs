//! [`ops`](crate::ops) on Flex: the kernels of [`mae_kernels`], called through Burn's backend extension.

mod autodiff;
mod batch_norm;
mod conv;
mod cross_entropy;
mod mix;
mod pooled;

use std::ops::Deref;

use burn::backend::flex::FlexTensor;
use burn::backend::{BackendTensor, DispatchTensorKind, Flex, TensorMetadata};
use burn::tensor::{DType, Shape, Tensor};
use mae_kernels::{AttentionSaved, Branch, Buffer, Heads, MlpSaved, ProductType, Threads};

pub(super) use batch_norm::batch_norm;
pub(super) use conv::conv3x3;
pub(super) use cross_entropy::cross_entropy;
pub(super) use mix::mix_rows;

use super::arguments::AdamWStep;
use super::fused::{Fused, Params};
pub(super) use super::fused::{attention_branch, layer_norm, linear, mlp_branch, reconstruction_loss};
use crate::{Compute, Precision};

/// Whether the kernels support this tensor: f32, on Flex.
pub(super) fn applies<const D: usize>(tensor: &Tensor<D>) -> bool {
    fn flex(kind: &DispatchTensorKind) -> bool {
        match kind {
            DispatchTensorKind::Flex(_) => true,
            DispatchTensorKind::Autodiff(inner) => flex(inner),
            #[allow(unreachable_patterns, reason = "with Flex alone compiled in, nothing is left over")]
            _ => false,
        }
    }
    tensor.dtype() == DType::F32 && flex(&tensor.clone().into_dispatch().kind)
}

pub(super) fn adamw<const D: usize>(
    param: Tensor<D>,
    grad: Tensor<D>,
    moments: [Tensor<D>; 2],
    step: &AdamWStep,
) -> (Tensor<D>, [Tensor<D>; 2]) {
    let [first, second] = moments;
    // Each is written in place if nothing else shares it, else copied first.
    let [mut grad, mut first, mut second] = [grad, first, second].map(|tensor| whole(primitive(tensor)));
    let param = Dense::new(primitive(param));
    mae_kernels::adamw(grad.storage_mut(), &param, first.storage_mut(), second.storage_mut(), &step.kernel());
    (wrap(grad), [wrap(first), wrap(second)])
}

pub(super) fn sum_of_squares(tensors: Vec<Tensor<1>>) -> Tensor<1> {
    let device = tensors[0].device();
    let sums = tensors.into_iter().map(|x| mae_kernels::sum_of_squares(&Dense::new(primitive(x))) as f32);
    Tensor::<1>::from_floats(sums.collect::<Vec<_>>().as_slice(), &device).sum()
}

/// Makes a tensor contiguous and the whole of its storage, by a copy if needed.
fn whole(tensor: FlexTensor) -> FlexTensor {
    let dense = Dense::new(tensor);
    if dense.len() == dense.0.storage::<f32>().len() {
        return dense.0;
    }
    let mut copy = Buffer::any(dense.len());
    copy.copy_from_slice(&dense);
    pooled::tensor(copy, dense.shape())
}

/// The Flex primitive of a tensor, detached from the graph.
fn primitive<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    match tensor.into_dispatch().kind {
        DispatchTensorKind::Flex(BackendTensor::Float(tensor)) => tensor,
        DispatchTensorKind::Autodiff(inner) => match *inner {
            DispatchTensorKind::Flex(BackendTensor::Autodiff(tensor)) => tensor.into_primitive(),
            other => unreachable!("{other:?} is not a float tensor on Flex"),
        },
        other => unreachable!("{other:?} is not a float tensor on Flex"),
    }
}

/// A tensor on Flex, outside autodiff.
fn wrap<const D: usize>(tensor: FlexTensor) -> Tensor<D> {
    let kind = DispatchTensorKind::Flex(BackendTensor::Float(tensor));
    Tensor::from_dispatch(burn::backend::DispatchTensor { kind, autodiff: Default::default() })
}

/// A contiguous, row-major tensor.
#[derive(Clone, Debug)]
struct Dense(FlexTensor);

impl Dense {
    /// Copies the tensor if it is a strided view.
    fn new(tensor: FlexTensor) -> Self {
        Self(if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() })
    }

    fn shape(&self) -> Shape {
        self.0.shape()
    }
}

impl Deref for Dense {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        let layout = self.0.layout();
        &self.0.storage::<f32>()[layout.start_offset()..][..layout.num_elements()]
    }
}

/// A branch's input and parameters, which its backward pass reads too.
#[derive(Clone, Debug)]
struct Inputs {
    x: Dense,
    params: [Dense; 6],
    products: ProductType,
}

impl Inputs {
    fn new(x: FlexTensor, params: [FlexTensor; 6], compute: Compute) -> Self {
        let products = products(compute.precision);
        Self { x: Dense::new(x), params: params.map(Dense::new), products }
    }

    fn branch(&self) -> Branch<'_> {
        let [norm_weight, norm_bias, in_weight, in_bias, out_weight, out_bias] = &self.params;
        let products = self.products;
        Branch { norm_weight, norm_bias, in_weight, in_bias, out_weight, out_bias, products }
    }

    fn heads(&self, num: usize, queries: usize) -> Heads {
        let [_, len, width] = self.x.shape().dims();
        Heads { len, queries, num, dim: width / num }
    }

    fn attention(&self, heads: Heads, eps: f32) -> (FlexTensor, AttentionSaved) {
        let (y, saved) = mae_kernels::attention_branch(&self.x, self.branch(), heads, eps);
        let [batch, _, width] = self.x.shape().dims();
        (pooled::tensor(y, Shape::new([batch, heads.queries, width])), saved)
    }

    fn mlp(&self, eps: f32) -> (FlexTensor, MlpSaved) {
        let (y, saved) = mae_kernels::mlp_branch(&self.x, self.branch(), eps);
        (pooled::tensor(y, self.x.shape()), saved)
    }
}

/// The type to which products round their factors.
fn products(precision: Precision) -> ProductType {
    match precision {
        Precision::F32 => ProductType::F32,
        Precision::Bf16 => ProductType::Bf16,
    }
}

impl Fused for Flex {
    fn linear(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, precision: Precision) -> FlexTensor {
        let [x, weight, bias] = [x, weight, bias].map(Dense::new);
        let mut shape = x.shape();
        let last = shape.num_dims() - 1;
        shape[last] = bias.len();
        pooled::tensor(mae_kernels::linear(&x, &weight, &bias, products(precision)), shape)
    }

    fn layer_norm(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, eps: f32) -> FlexTensor {
        normalize(&Dense::new(x), &Dense::new(weight), &Dense::new(bias), eps).0
    }

    fn attention_branch(
        x: FlexTensor,
        params: Params<Self>,
        num_heads: usize,
        queries: usize,
        eps: f32,
        compute: Compute,
    ) -> FlexTensor {
        let inputs = Inputs::new(x, params.into_array(), compute);
        inputs.attention(inputs.heads(num_heads, queries), eps).0
    }

    fn mlp_branch(x: FlexTensor, params: Params<Self>, eps: f32, compute: Compute) -> FlexTensor {
        Inputs::new(x, params.into_array(), compute).mlp(eps).0
    }

    fn reconstruction_loss(pred: FlexTensor, patches: FlexTensor, norm_eps: Option<f32>) -> FlexTensor {
        loss(&Dense::new(pred), &Dense::new(patches), norm_eps).0
    }
}

fn normalize(x: &Dense, weight: &Dense, bias: &Dense, eps: f32) -> (FlexTensor, Buffer) {
    let [mut out, mut stats] = [Buffer::any(x.len()), Buffer::any(x.len() / weight.len() * 2)];
    mae_kernels::layer_norm(&mut out, &mut stats, x, (weight, bias), eps, Threads::All);
    (pooled::tensor(out, x.shape()), stats)
}

fn loss(pred: &Dense, patches: &Dense, norm_eps: Option<f32>) -> (FlexTensor, Buffer) {
    let [_, _, cols] = pred.shape().dims();
    let (loss, difference) = mae_kernels::reconstruction(pred, patches, cols, norm_eps);
    let mut out = Buffer::any(1);
    out[0] = loss;
    (pooled::tensor(out, Shape::new([1])), difference)
}
