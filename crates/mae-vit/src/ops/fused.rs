//! The operations of [`ops`](crate::ops) with their own backward passes, as an extension of Burn's backends.
#![cfg_attr(
    feature = "tch",
    allow(deprecated, reason = "Burn means to give up libtorch; until then it is here")
)]

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, ExtensionType, backend_extension};
use burn::tensor::Tensor;

use super::arguments::BranchParams;
use crate::{Compute, Precision};

/// The operations with their own backward passes.
#[backend_extension(Flex: cfg(feature = "flex"), LibTorch: cfg(feature = "tch"), Autodiff)]
pub(super) trait Fused: Backend {
    fn linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self>;

    fn layer_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f32,
    ) -> FloatTensor<Self>;

    fn attention_branch(
        x: FloatTensor<Self>,
        #[extension_type] params: Params<Self>,
        num_heads: usize,
        queries: usize,
        eps: f32,
        compute: Compute,
    ) -> FloatTensor<Self>;

    fn mlp_branch(
        x: FloatTensor<Self>,
        #[extension_type] params: Params<Self>,
        eps: f32,
        compute: Compute,
    ) -> FloatTensor<Self>;

    fn reconstruction_loss(
        pred: FloatTensor<Self>,
        patches: FloatTensor<Self>,
        norm_eps: Option<f32>,
    ) -> FloatTensor<Self>;
}

/// [`BranchParams`] on a backend.
#[derive(ExtensionType)]
pub(super) struct Params<B: Backend> {
    norm_weight: FloatTensor<B>,
    norm_bias: FloatTensor<B>,
    in_weight: FloatTensor<B>,
    in_bias: FloatTensor<B>,
    out_weight: FloatTensor<B>,
    out_bias: FloatTensor<B>,
}

impl Params<Dispatch> {
    fn of(params: BranchParams) -> Self {
        Self {
            norm_weight: params.norm_weight.into_dispatch(),
            norm_bias: params.norm_bias.into_dispatch(),
            in_weight: params.in_weight.into_dispatch(),
            in_bias: params.in_bias.into_dispatch(),
            out_weight: params.out_weight.into_dispatch(),
            out_bias: params.out_bias.into_dispatch(),
        }
    }
}

impl<B: Backend> Params<B> {
    pub(super) fn into_array(self) -> [FloatTensor<B>; 6] {
        [self.norm_weight, self.norm_bias, self.in_weight, self.in_bias, self.out_weight, self.out_bias]
    }
}

pub(super) fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    precision: Precision,
) -> Tensor<D> {
    let (x, weight, bias) = (x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
    Tensor::from_dispatch(Dispatch::linear(x, weight, bias, precision))
}

pub(super) fn layer_norm<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    eps: f64,
) -> Tensor<D> {
    let (x, weight, bias) = (x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
    Tensor::from_dispatch(Dispatch::layer_norm(x, weight, bias, eps as f32))
}

pub(super) fn attention_branch(
    x: Tensor<3>,
    params: BranchParams,
    num_heads: usize,
    queries: usize,
    eps: f64,
    compute: Compute,
) -> Tensor<3> {
    let (x, params) = (x.into_dispatch(), Params::of(params));
    Tensor::from_dispatch(Dispatch::attention_branch(x, params, num_heads, queries, eps as f32, compute))
}

pub(super) fn mlp_branch(x: Tensor<3>, params: BranchParams, eps: f64, compute: Compute) -> Tensor<3> {
    let (x, params) = (x.into_dispatch(), Params::of(params));
    Tensor::from_dispatch(Dispatch::mlp_branch(x, params, eps as f32, compute))
}

pub(super) fn reconstruction_loss(pred: Tensor<3>, patches: Tensor<3>, norm_eps: Option<f64>) -> Tensor<1> {
    let (pred, patches) = (pred.into_dispatch(), patches.into_dispatch());
    Tensor::from_dispatch(Dispatch::reconstruction_loss(pred, patches, norm_eps.map(|eps| eps as f32)))
}
