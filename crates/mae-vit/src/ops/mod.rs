//! The seam between the model and the tensor library: every operation that a backend may fuse.
//!
//! Modules compute only through these functions. Each function chooses an implementation by its tensors:
//!
//! - f32 on Flex, with this crate's feature `flex`: the fused kernels of [`mae_kernels`];
//! - libtorch, with the feature `tch`: PyTorch's own operations;
//! - all others, and operations that have no such version: the composition in [`portable`].

mod arguments;
#[cfg(feature = "flex")]
mod flex;
#[cfg(any(feature = "flex", feature = "tch"))]
mod fused;
#[cfg(any(feature = "flex", feature = "tch"))]
mod handover;
pub mod portable;
#[cfg(feature = "tch")]
mod torch;

use burn::module::{Module, ParamId};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

#[cfg(feature = "tch")]
pub use arguments::CudaMemory;
pub use arguments::{Activation, AdamWStep, BranchParams};
#[cfg(feature = "flex")]
pub use mae_kernels::Bf16Products;

use crate::{Compute, Precision};

/// Calls the fused version if there is one for this tensor, else the portable one.
macro_rules! fused {
    ($tensor:expr, $name:ident($($arg:expr),* $(,)?)) => {{
        #[cfg(feature = "flex")]
        if flex::applies(&$tensor) {
            return flex::$name($($arg),*);
        }
        #[cfg(feature = "tch")]
        if torch::applies(&$tensor) {
            return torch::$name($($arg),*);
        }
        portable::$name($($arg),*)
    }};
}

/// Whether a device has fused operations, instead of those in [`portable`].
pub fn is_fused(device: &Device) -> bool {
    kept_bytes(device, Precision::F32).is_some()
}

/// The size in bytes of a value that a device's fused operations keep between the matrix products of a branch. `None`
/// if the device has no fused operations.
pub fn kept_bytes(device: &Device, precision: Precision) -> Option<usize> {
    let _probe = Tensor::<1>::zeros([1], device);
    let _ = precision;
    #[cfg(feature = "flex")]
    if flex::applies(&_probe) {
        return Some(size_of::<f32>());
    }
    #[cfg(feature = "tch")]
    if torch::applies(&_probe) {
        return Some(precision.dtype().size());
    }
    None
}

/// How the CPU kernels compute bf16 products. `None` if the device does not use them.
#[cfg(feature = "flex")]
pub fn bf16_products(device: &Device) -> Option<Bf16Products> {
    flex::applies(&Tensor::<1>::zeros([1], device)).then(mae_kernels::bf16_products)
}

/// The reason why bf16 runs without this crate's CUDA kernels on an NVIDIA card, and therefore more slowly. `None` if
/// the kernels are in use, or the device has no use for them.
pub fn without_kernels(device: &Device) -> Option<String> {
    #[cfg(feature = "tch")]
    return torch::without_kernels(device);
    #[cfg(not(feature = "tch"))]
    {
        let _ = device;
        None
    }
}

/// The index of the NVIDIA card behind a libtorch device, if it is one.
#[cfg(feature = "tch")]
pub fn cuda_card(device: &Device) -> Option<usize> {
    torch::cuda_card(device)
}

#[cfg(feature = "tch")]
impl CudaMemory {
    /// Returns the memory of an f32 tensor, with the tensor that owns it. Copies the tensor if it shares its memory.
    /// Returns `None` for other dtypes and devices.
    pub fn of(tensor: Tensor<1>) -> Option<(Tensor<1>, Self)> {
        torch::cuda_memory(tensor)
    }
}

/// `x · weight + bias` over the last axis.
///
/// # Shapes
/// `[.., d_in]`, `[d_in, d_out]`, `[d_out]` → `[.., d_out]`
pub fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    precision: Precision,
) -> Tensor<D> {
    fused!(x, linear(x, weight, bias, precision))
}

/// A convolution with stride 1 and zero padding that keeps the map's size; the kernel's side is odd.
///
/// # Shapes
/// `[B, H, W, C_in]`, `[C_out, C_in, side, side]`, `[C_out]` → `[B, H, W, C_out]`
pub fn conv(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, precision: Precision) -> Tensor<4> {
    let [c_out, c_in, side, _] = weight.dims();
    if side == 1 {
        let bias = bias.unwrap_or_else(|| Tensor::zeros([c_out], &x.device()));
        return linear(x, weight.reshape([c_out, c_in]).transpose(), bias, precision);
    }
    #[cfg(feature = "flex")]
    if side == 3 && flex::applies(&x) {
        let y = flex::conv3x3(x, weight, precision);
        return match bias {
            Some(bias) => y + bias.unsqueeze(),
            None => y,
        };
    }
    portable::conv(x, weight, bias, precision)
}

/// Batch normalisation of the last axis by the batch's mean and biased variance, followed by an activation. Also
/// returns the mean and the unbiased variance, detached.
///
/// # Shapes
/// `[B, H, W, C]`, `[C]`, `[C]` → `[B, H, W, C]` and two `[C]`
pub fn batch_norm(
    x: Tensor<4>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    eps: f64,
    activation: Activation,
) -> (Tensor<4>, [Tensor<1>; 2]) {
    #[cfg(feature = "flex")]
    if flex::applies(&x) {
        return flex::batch_norm(x, weight, bias, eps, activation);
    }
    portable::batch_norm(x, weight, bias, eps, activation)
}

/// Multiplies the middle axis by a row-major matrix `[to, from]`, most of whose weights are zero. The weights get no
/// gradient.
///
/// # Shapes
/// `[N, from, D]` → `[N, to, D]`
pub fn mix_rows(x: Tensor<3>, weights: &[f32]) -> Tensor<3> {
    #[cfg(feature = "flex")]
    if flex::applies(&x) {
        return flex::mix_rows(x, weights);
    }
    portable::mix_rows(x, weights)
}

/// The weighted mean over rows of the true class's negative log-likelihood; 0 if all weights are 0. Only the scores
/// (logits) get a gradient.
///
/// # Shapes
/// scores `[R, K]`, classes below K and weights `[R]` → `[1]`
///
/// # Source
/// PyTorch's `cross_entropy` with `weight`.
pub fn cross_entropy(scores: Tensor<2>, classes: Tensor<1, Int>, weights: Tensor<1>) -> Tensor<1> {
    #[cfg(feature = "flex")]
    if flex::applies(&scores) {
        return flex::cross_entropy(scores, classes, weights);
    }
    portable::cross_entropy(scores, classes, weights)
}

/// Layer normalisation over the last axis, with a biased variance.
///
/// # Shapes
/// `[.., D]`, `[D]`, `[D]` → `[.., D]`
pub fn layer_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, bias: Tensor<1>, eps: f64) -> Tensor<D> {
    fused!(x, layer_norm(x, weight, bias, eps))
}

/// The attention half of a pre-norm block, residual included: `x + proj(attention(qkv(norm(x))))`, with the columns of
/// `qkv` ordered (q, k, v) and by head within each. Computes only each image's last `queries` tokens, 1 to L; the
/// others are only attended to.
///
/// # Shapes
/// `[B, L, D]` → `[B, queries, D]`
///
/// # Source
/// ViT (arXiv 2010.11929) eq. 2; scaled dot-product attention, arXiv 1706.03762 section 3.2.
pub fn attention_branch(
    x: Tensor<3>,
    params: BranchParams,
    num_heads: usize,
    queries: usize,
    eps: f64,
    compute: Compute,
) -> Tensor<3> {
    fused!(x, attention_branch(x, params, num_heads, queries, eps, compute))
}

/// The MLP half of a pre-norm block, residual included: `x + fc2(gelu(fc1(norm(x))))`, with the exact GELU.
///
/// # Shapes
/// `[B, L, D]` → `[B, L, D]`
///
/// # Source
/// ViT (arXiv 2010.11929) eq. 3.
pub fn mlp_branch(x: Tensor<3>, params: BranchParams, eps: f64, compute: Compute) -> Tensor<3> {
    fused!(x, mlp_branch(x, params, eps, compute))
}

/// The mean square of `pred - patches`. With `norm_eps`, each patch is first normalised by its own mean and unbiased
/// standard deviation, with `norm_eps` added to the variance. Patches get no gradient.
///
/// All patches count equally and every image has the same number of masked patches. The loss is therefore the mean over
/// masked patches of each patch's mean.
///
/// # Shapes
/// `[B, M, P·P·C]` twice → `[1]`
///
/// # Source
/// MAE (arXiv 2111.06377) section 3 "reconstruction target"; the official `forward_loss`.
pub fn reconstruction_loss(pred: Tensor<3>, patches: Tensor<3>, norm_eps: Option<f64>) -> Tensor<1> {
    fused!(pred, reconstruction_loss(pred, patches, norm_eps))
}

/// [`reconstruction_loss`] over present pixels only: `present` is 1 for these and 0 for others. The loss is the mean
/// over all present pixels, and a patch's own mean and deviation are those of its present pixels. Without any present
/// pixel, the loss is 0.
///
/// # Shapes
/// `[B, M, P·P·C]` three times → `[1]`
///
/// # Source
/// Ours; equals [`reconstruction_loss`] if all pixels are present. Computed by Burn's own operations.
pub fn reconstruction_loss_present(
    pred: Tensor<3>,
    patches: Tensor<3>,
    present: Tensor<3>,
    norm_eps: Option<f64>,
) -> Tensor<1> {
    portable::reconstruction_loss_present(pred, patches, present, norm_eps)
}

/// One AdamW update: returns the new parameter and its two new moments. Not differentiable.
///
/// # Source
/// Loshchilov and Hutter, arXiv 1711.05101, algorithm 2; PyTorch's `AdamW`.
pub fn adamw<const D: usize>(
    param: Tensor<D>,
    grad: Tensor<D>,
    moments: [Tensor<D>; 2],
    step: &AdamWStep,
) -> (Tensor<D>, [Tensor<D>; 2]) {
    fused!(param, adamw(param, grad, moments, step))
}

/// Runs an optimizer's step and batches its [`adamw`] updates. On a GPU with libtorch, `adamw` then only queues an
/// update, and the whole queue runs in a few kernel launches when `step` returns. So `step` must not read the tensors
/// that `adamw` returned. On other devices, and outside this function, each update runs immediately.
///
/// # Source
/// PyTorch's `foreach` and `fused` optimizers.
pub fn together<T>(step: impl FnOnce() -> T) -> T {
    #[cfg(feature = "tch")]
    return torch::together(step);
    #[cfg(not(feature = "tch"))]
    step()
}

/// The sum of squares over all tensors, which must be on one device: `[1]`. Not differentiable.
///
/// # Panics
/// If there are no tensors.
pub fn sum_of_squares(tensors: Vec<Tensor<1>>) -> Tensor<1> {
    fused!(tensors[0], sum_of_squares(tensors))
}

/// Uploads integers from the host to a device, in the dtype that they have. Does not wait for a GPU that is still busy,
/// if the backend allows that.
///
/// # Panics
/// If the device does not support the dtype.
pub fn upload_ints<const D: usize>(data: TensorData, device: &Device) -> Tensor<D, Int> {
    #[cfg(feature = "tch")]
    if let Some(tensor) = torch::upload_ints(&data, device) {
        return tensor;
    }
    let dtype = data.dtype();
    Tensor::from_data(data, (device, dtype))
}

/// Uploads bytes or f32 values from the host to a device as f32, otherwise like [`upload_ints`]. If the device supports
/// bytes, they are converted only there, which takes a quarter of the traffic.
pub fn upload_floats<const D: usize>(data: TensorData, device: &Device) -> Tensor<D> {
    #[cfg(feature = "tch")]
    if let Some(tensor) = torch::upload_floats(&data, device) {
        return tensor;
    }
    match data.dtype() {
        DType::U8 if device.supports_dtype(DType::U8) => {
            Tensor::<D, Int>::from_data(data, (device, DType::U8)).float()
        }
        _ => Tensor::from_data(data.convert::<f32>(), device),
    }
}

/// Runs `backward` and passes the gradients of `early` parameters to `take` as soon as they exist, flattened to `[N]`.
/// This covers gradients that the fused operations of this module compute. Burn's gradients hold all others, and the
/// second gradient of a parameter that is used twice.
pub fn handing_over<M: Module, T>(
    model: &M,
    early: impl Fn(ParamId) -> bool,
    take: impl FnMut(ParamId, Tensor<1>) + 'static,
    backward: impl FnOnce() -> T,
) -> T {
    #[cfg(any(feature = "flex", feature = "tch"))]
    return handover::during(handover::nodes(model, early), Box::new(take), backward);
    #[cfg(not(any(feature = "flex", feature = "tch")))]
    {
        let _ = (model, early, take);
        backward()
    }
}

/// Picks rows of each batch element: `out[b, i] = x[b, ids[b, i]]`.
///
/// One selection of whole rows; an element-wise gather would carry D copies of every index.
///
/// # Shapes
/// `[B, L, D]`, ids `[B, K]` → `[B, K, D]`
pub fn take_rows(x: Tensor<3>, ids: Tensor<2, Int>) -> Tensor<3> {
    let [batch, len, dim] = x.dims();
    let [_, kept] = ids.dims();
    let first_rows =
        Tensor::<1, Int>::arange(0..batch as i64, &ids.device()).mul_scalar(len as i64).reshape([batch, 1]); // [B, 1]
    let rows = (ids + first_rows).reshape([batch * kept]); // [B·K]
    x.reshape([batch * len, dim]).select(0, rows).reshape([batch, kept, dim]) // [B, K, D]
}
