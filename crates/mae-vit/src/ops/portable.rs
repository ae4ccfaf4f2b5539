//! The operations of [`ops`](crate::ops) composed from Burn's own, for every backend. Where Burn's own version is
//! wasteful in training, a function avoids it and says why.

use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, Int, Tensor, TensorData, activation};

use super::arguments::{Activation, AdamWStep, BranchParams};
use crate::{Compute, Precision};

/// `x · weight + bias` over the last axis.
///
/// Leading axes are flattened first: on a rank-3 input the weight's gradient would otherwise be
/// materialised once per batch element, `[B, d_in, d_out]`, and summed.
///
/// # Shapes
/// `[.., d_in]`, `[d_in, d_out]`, `[d_out]` → `[.., d_out]`
pub fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    precision: Precision,
) -> Tensor<D> {
    let mut shape = x.dims();
    let [d_in, d_out] = weight.dims();
    let rows = shape.iter().product::<usize>() / d_in;
    shape[D - 1] = d_out;
    let y = matmul(x.reshape([rows, d_in]), weight, precision) + bias.unsqueeze(); // [rows, d_out]
    y.reshape(shape)
}

/// A matrix product with factors rounded to `precision` and an f32 result.
///
/// Burn rounds the product too. Everything except products stays in f32, because bf16 has neither additions nor
/// functions on Vulkan.
fn matmul<const D: usize>(a: Tensor<D>, b: Tensor<D>, precision: Precision) -> Tensor<D> {
    match precision {
        Precision::F32 => a.matmul(b),
        Precision::Bf16 => a.cast(precision.dtype()).matmul(b.cast(precision.dtype())).cast(DType::F32),
    }
}

/// A convolution; see [`super::conv`].
pub fn conv(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, precision: Precision) -> Tensor<4> {
    let [_, _, side, _] = weight.dims();
    let options = ConvOptions::new([1, 1], [side / 2, side / 2], [1, 1], 1);
    // Burn's order is [B, C, H, W].
    let x = x.permute([0, 3, 1, 2]);
    let y = match precision {
        Precision::F32 => conv2d(x, weight, None, options),
        Precision::Bf16 => {
            let [x, weight] = [x, weight].map(|factor| factor.cast(precision.dtype()));
            conv2d(x, weight, None, options).cast(DType::F32)
        }
    };
    let y = y.permute([0, 2, 3, 1]); // [B, H, W, C_out]
    match bias {
        Some(bias) => y + bias.unsqueeze(),
        None => y,
    }
}

/// Weighted sums along an axis; see [`super::mix_rows`].
pub fn mix_rows(x: Tensor<3>, weights: &[f32]) -> Tensor<3> {
    let [count, from, _] = x.dims();
    let to = weights.len() / from;
    let weights = Tensor::<3>::from_data(TensorData::new(weights.to_vec(), [1, to, from]), &x.device());
    weights.expand([count, to, from]).matmul(x) // [N, to, D]
}

/// The weighted cross entropy; see [`super::cross_entropy`].
pub fn cross_entropy(scores: Tensor<2>, classes: Tensor<1, Int>, weights: Tensor<1>) -> Tensor<1> {
    let chosen = activation::log_softmax(scores, 1).gather(1, classes.unsqueeze_dim(1)); // [R, 1]
    let all = weights.clone().sum().clamp_min(f32::MIN_POSITIVE);
    (chosen.squeeze_dim::<1>(1) * weights).sum().neg() / all
}

/// Applies an activation elementwise.
pub fn activate<const D: usize>(x: Tensor<D>, activation: Activation) -> Tensor<D> {
    match activation {
        Activation::Identity => x,
        Activation::Relu => activation::relu(x),
        Activation::Gelu => activation::gelu(x),
    }
}

/// Batch normalisation; see [`super::batch_norm`].
pub fn batch_norm(
    x: Tensor<4>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    eps: f64,
    activation: Activation,
) -> (Tensor<4>, [Tensor<1>; 2]) {
    let shape = x.dims();
    let [batch, height, width, channels] = shape;
    let rows = batch * height * width;
    let x = x.reshape([rows, channels]);
    let mean = x.clone().mean_dim(0); // [1, C]
    let centred = x - mean.clone();
    let var = centred.clone().square().mean_dim(0); // [1, C], biased
    let scale = weight.unsqueeze::<2>() / var.clone().add_scalar(eps).sqrt(); // [1, C]
    let y = centred * scale + bias.unsqueeze(); // [rows, C]
    let unbiased = var.detach().mul_scalar(rows as f64 / (rows - 1) as f64);
    let y = activate(y.reshape(shape), activation); // [B, H, W, C]
    (y, [mean.detach(), unbiased].map(|moment| moment.reshape([channels])))
}

/// Layer normalisation over the last axis, with a biased variance.
///
/// # Shapes
/// `[.., D]`, `[D]`, `[D]` → `[.., D]`
pub fn layer_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, bias: Tensor<1>, eps: f64) -> Tensor<D> {
    burn::tensor::module::layer_norm(x, weight, Some(bias), eps)
}

/// Multi-head scaled dot-product self-attention of the last `queries` tokens, on fused queries, keys and values.
///
/// # Shapes
/// qkv `[B, L, 3·D]`, ordered (q, k, v) and by head within each → `[B, queries, D]`
pub fn attention(qkv: Tensor<3>, num_heads: usize, queries: usize, precision: Precision) -> Tensor<3> {
    let [batch, _, width] = qkv.dims();
    let weights = attention_weights(qkv.clone(), num_heads, queries, precision);
    matmul(weights, heads(qkv, 2, num_heads, 0), precision) // [B, N, Q, D/N]
        .swap_dims(1, 2) // [B, Q, N, D/N]
        .reshape([batch, queries, width / 3]) // [B, Q, D]
}

/// The attention weights of the last `queries` tokens over all tokens, per head; each row sums to 1.
///
/// Written out instead of calling Burn's attention, whose differentiable fallback adds a
/// maximum that is not detached and two clamps.
///
/// # Shapes
/// qkv `[B, L, 3·D]`, ordered as in [`attention`] → `[B, N, queries, L]`
pub fn attention_weights(
    qkv: Tensor<3>,
    num_heads: usize,
    queries: usize,
    precision: Precision,
) -> Tensor<4> {
    let [_, len, width] = qkv.dims();
    let head_dim = width / 3 / num_heads;
    let q = heads(qkv.clone(), 0, num_heads, len - queries).mul_scalar((head_dim as f64).powf(-0.5));
    let k = heads(qkv, 1, num_heads, 0).swap_dims(2, 3); // [B, N, D/N, L]
    activation::softmax(matmul(q, k, precision), 3) // [B, N, Q, L]
}

/// The queries (0), keys (1) or values (2) of the tokens from `first` on, per head: `[B, L, 3·D]` → `[B, N, K, D/N]`.
fn heads(qkv: Tensor<3>, which: usize, num_heads: usize, first: usize) -> Tensor<4> {
    let [batch, len, width] = qkv.dims();
    let dim = width / 3;
    qkv.slice([0..batch, first..len, which * dim..(which + 1) * dim]) // [B, K, D]
        .reshape([batch, len - first, num_heads, dim / num_heads]) // [B, K, N, D/N]
        .swap_dims(1, 2) // [B, N, K, D/N]
}

/// `x + proj(attention(qkv(norm(x))))`; see [`super::attention_branch`].
pub fn attention_branch(
    x: Tensor<3>,
    params: BranchParams,
    num_heads: usize,
    queries: usize,
    eps: f64,
    Compute { precision, .. }: Compute,
) -> Tensor<3> {
    let [batch, len, dim] = x.dims();
    let normed = layer_norm(x.clone(), params.norm_weight, params.norm_bias, eps);
    let qkv = linear(normed, params.in_weight, params.in_bias, precision); // [B, L, 3·D]
    let mixed = attention(qkv, num_heads, queries, precision); // [B, Q, D]
    let last = x.slice([0..batch, len - queries..len, 0..dim]); // [B, Q, D]
    last + linear(mixed, params.out_weight, params.out_bias, precision)
}

/// `x + fc2(gelu(fc1(norm(x))))`; see [`super::mlp_branch`].
pub fn mlp_branch(
    x: Tensor<3>,
    params: BranchParams,
    eps: f64,
    Compute { precision, .. }: Compute,
) -> Tensor<3> {
    let normed = layer_norm(x.clone(), params.norm_weight, params.norm_bias, eps);
    let active = activation::gelu(linear(normed, params.in_weight, params.in_bias, precision));
    x + linear(active, params.out_weight, params.out_bias, precision)
}

/// The mean square of `pred - target`; see [`super::reconstruction_loss`].
pub fn reconstruction_loss(pred: Tensor<3>, patches: Tensor<3>, norm_eps: Option<f64>) -> Tensor<1> {
    let target = match norm_eps {
        None => patches,
        Some(eps) => {
            let (var, mean) = patches.clone().var_mean(2); // [B, M, 1], unbiased
            (patches - mean) / var.add_scalar(eps).sqrt()
        }
    };
    (pred - target).square().mean()
}

/// The mean square over present pixels; see [`super::reconstruction_loss_present`].
pub fn reconstruction_loss_present(
    pred: Tensor<3>,
    patches: Tensor<3>,
    present: Tensor<3>,
    norm_eps: Option<f64>,
) -> Tensor<1> {
    let target = match norm_eps {
        None => patches,
        Some(eps) => {
            let count = present.clone().sum_dim(2); // [B, M, 1]
            let mean = (patches.clone() * present.clone()).sum_dim(2) / count.clone().clamp_min(1.0);
            let centred = patches - mean;
            let squares = (centred.clone() * present.clone() * centred.clone()).sum_dim(2);
            let var = squares / count.sub_scalar(1.0).clamp_min(1.0);
            centred / var.add_scalar(eps).sqrt()
        }
    };
    let count = present.clone().sum().clamp_min(1.0);
    ((pred - target).square() * present).sum() / count
}

/// One update of AdamW; see [`super::adamw`].
pub fn adamw<const D: usize>(
    param: Tensor<D>,
    grad: Tensor<D>,
    moments: [Tensor<D>; 2],
    step: &AdamWStep,
) -> (Tensor<D>, [Tensor<D>; 2]) {
    let [first, second] = moments;
    let first = first.mul_scalar(step.betas.0) + grad.clone().mul_scalar(1.0 - step.betas.0);
    let second = second.mul_scalar(step.betas.1) + grad.square().mul_scalar(1.0 - step.betas.1);
    let mean = first.clone().div_scalar(1.0 - step.betas.0.powi(step.time));
    let square = second.clone().div_scalar(1.0 - step.betas.1.powi(step.time));
    let delta = mean / (square.sqrt() + step.eps);
    let param = param.mul_scalar(step.keep()) - delta.mul_scalar(step.lr);
    (param, [first, second])
}

/// The sum of squares over all tensors; see [`super::sum_of_squares`].
pub fn sum_of_squares(tensors: Vec<Tensor<1>>) -> Tensor<1> {
    Tensor::cat(tensors.into_iter().map(|x| (x.clone() * x).sum()).collect(), 0).sum()
}
