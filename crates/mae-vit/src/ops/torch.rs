//! The seam on libtorch: PyTorch's operations, and its autograd for their backward passes.
//!
//! Burn's graph holds each operation as one node. What happens inside of it, libtorch records and takes back.
#![allow(deprecated, reason = "Burn means to give up libtorch; until then it is here")]

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, BackendTensor, DispatchDevice, DispatchTensorKind, LibTorch};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use burn_tch::TchTensor;
use tch::Kind;

use super::fused::{Fused, Params};
pub(super) use super::fused::{attention_branch, layer_norm, linear, mlp_branch, reconstruction_loss};
pub(super) use super::portable::sum_of_squares;
use crate::{Compute, Precision};

mod adamw;

pub(super) use adamw::adamw;

/// Whether the tensor is one of libtorch's.
pub(super) fn applies<const D: usize>(tensor: &Tensor<D>) -> bool {
    fn torch(kind: &DispatchTensorKind) -> bool {
        match kind {
            DispatchTensorKind::LibTorch(_) => true,
            DispatchTensorKind::Autodiff(inner) => torch(inner),
            #[allow(unreachable_patterns, reason = "with libtorch alone compiled in, nothing is left over")]
            _ => false,
        }
    }
    torch(&tensor.clone().into_dispatch().kind)
}

/// An operation of the seam. Its inputs are in the order of the seam's arguments.
#[derive(Clone, Copy, Debug)]
enum Operation {
    Linear { precision: Precision },
    LayerNorm { eps: f32 },
    Attention { num_heads: usize, queries: usize, eps: f32, precision: Precision },
    Mlp { eps: f32, precision: Precision },
    Loss { norm_eps: Option<f32> },
}

impl Operation {
    /// What it makes of its inputs.
    fn of(self, inputs: &[&tch::Tensor]) -> tch::Tensor {
        match (self, inputs) {
            (Self::Linear { precision }, [x, weight, bias]) => {
                forward::linear(x, weight, bias, precision).to_kind(x.kind())
            }
            (Self::LayerNorm { eps }, [x, weight, bias]) => forward::layer_norm(x, weight, bias, eps),
            (Self::Attention { num_heads, queries, eps, precision }, [x, params @ ..]) => {
                forward::attention(x, params, num_heads, queries, eps, precision)
            }
            (Self::Mlp { eps, precision }, [x, params @ ..]) => forward::mlp(x, params, eps, precision),
            (Self::Loss { norm_eps }, [pred, patches]) => forward::loss(pred, patches, norm_eps),
            _ => unreachable!("{self:?} of {} inputs", inputs.len()),
        }
    }

    /// The same outside autodiff.
    fn untracked<const N: usize>(self, inputs: [TchTensor; N]) -> TchTensor {
        TchTensor::new(self.of(&inputs.each_ref().map(|input| &input.tensor)))
    }
}

/// The operations on libtorch's tensors.
mod forward {
    use tch::{Kind, Reduction, Tensor};

    use crate::Precision;

    /// A factor of a matrix product; the same tensor where it has that type.
    fn factor(x: &Tensor, precision: Precision) -> Tensor {
        x.to_kind(match precision {
            Precision::F32 => Kind::Float,
            Precision::Bf16 => Kind::BFloat16,
        })
    }

    /// `[.., d_in]`, `[d_in, d_out]`, `[d_out]` → `[.., d_out]` in that precision
    pub(super) fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor, precision: Precision) -> Tensor {
        let [x, weight, bias] = [x, weight, bias].map(|tensor| factor(tensor, precision));
        let mut shape = x.size();
        let [d_in, d_out] = weight.size()[..] else { unreachable!("a weight is a matrix") };
        *shape.last_mut().expect("at least one axis") = d_out;
        // Not by `linear`, whose weight is the transpose: the weight's gradient would come out transposed, and be copied.
        bias.addmm(&x.reshape([-1, d_in]), &weight).reshape(shape)
    }

    pub(super) fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f32) -> Tensor {
        x.layer_norm(weight.size(), Some(weight), Some(bias), f64::from(eps), false)
    }

    /// `[B, L, D]` → `[B, Q, D]`
    pub(super) fn attention(
        x: &Tensor,
        params: &[&Tensor],
        num_heads: usize,
        queries: usize,
        eps: f32,
        precision: Precision,
    ) -> Tensor {
        let (qkv, [out_weight, out_bias]) = into(x, params, eps, precision);
        let last = |tensor: &Tensor, dim: i64| {
            let len = tensor.size()[dim as usize];
            tensor.narrow(dim, len - queries as i64, queries as i64)
        };
        let (batch, len, width) = x.size3().expect("a tensor of rank 3");
        let heads = num_heads as i64;
        let qkv = qkv.reshape([batch, len, 3, heads, width / heads]).permute([2, 0, 3, 1, 4]); // [3, B, N, L, D/N]
        let [q, k, v] = &qkv.unbind(0)[..] else { unreachable!("three along the first axis") };
        let q = last(q, 2);
        let mixed = Tensor::scaled_dot_product_attention(&q, k, v, None::<Tensor>, 0.0, false, None, false)
            .transpose(1, 2)
            .reshape([batch, queries as i64, width]);
        last(x, 1) + linear(&mixed, out_weight, out_bias, precision)
    }

    /// `[B, L, D]` → `[B, L, D]`
    pub(super) fn mlp(x: &Tensor, params: &[&Tensor], eps: f32, precision: Precision) -> Tensor {
        let (hidden, [out_weight, out_bias]) = into(x, params, eps, precision);
        x + linear(&hidden.gelu("none"), out_weight, out_bias, precision)
    }

    /// A branch's norm and first linear map, and the parameters of its second.
    fn into<'a>(
        x: &Tensor,
        params: &[&'a Tensor],
        eps: f32,
        precision: Precision,
    ) -> (Tensor, [&'a Tensor; 2]) {
        let &[norm_weight, norm_bias, in_weight, in_bias, out_weight, out_bias] = params else {
            unreachable!("a branch has six parameters")
        };
        let normed = layer_norm(x, norm_weight, norm_bias, eps);
        (linear(&normed, in_weight, in_bias, precision), [out_weight, out_bias])
    }

    /// `[B, M, P·P·C]` twice → `[1]`
    pub(super) fn loss(pred: &Tensor, patches: &Tensor, norm_eps: Option<f32>) -> Tensor {
        let normalized = norm_eps.map(|eps| {
            let (var, mean) = patches.var_mean_dim(-1, true, true);
            (patches - mean) / (var + f64::from(eps)).sqrt()
        });
        pred.mse_loss(normalized.as_ref().unwrap_or(patches), Reduction::Mean).reshape([1])
    }
}

impl Fused for LibTorch {
    fn linear(x: TchTensor, weight: TchTensor, bias: TchTensor, precision: Precision) -> TchTensor {
        Operation::Linear { precision }.untracked([x, weight, bias])
    }

    fn layer_norm(x: TchTensor, weight: TchTensor, bias: TchTensor, eps: f32) -> TchTensor {
        Operation::LayerNorm { eps }.untracked([x, weight, bias])
    }

    fn attention_branch(
        x: TchTensor,
        params: Params<Self>,
        num_heads: usize,
        queries: usize,
        eps: f32,
        Compute { precision, .. }: Compute,
    ) -> TchTensor {
        Operation::Attention { num_heads, queries, eps, precision }.untracked(branch_inputs(x, params))
    }

    fn mlp_branch(
        x: TchTensor,
        params: Params<Self>,
        eps: f32,
        Compute { precision, .. }: Compute,
    ) -> TchTensor {
        Operation::Mlp { eps, precision }.untracked(branch_inputs(x, params))
    }

    fn reconstruction_loss(pred: TchTensor, patches: TchTensor, norm_eps: Option<f32>) -> TchTensor {
        Operation::Loss { norm_eps }.untracked([pred, patches])
    }
}

fn branch_inputs<B: burn::backend::Backend>(x: FloatTensor<B>, params: Params<B>) -> [FloatTensor<B>; 7] {
    let [a, b, c, d, e, f] = params.into_array();
    [x, a, b, c, d, e, f]
}

impl<C: CheckpointStrategy> Fused for Autodiff<LibTorch, C> {
    fn linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        recorded::<C, _>(Operation::Linear { precision }, [x, weight, bias], false)
    }

    fn layer_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f32,
    ) -> FloatTensor<Self> {
        recorded::<C, _>(Operation::LayerNorm { eps }, [x, weight, bias], false)
    }

    fn attention_branch(
        x: FloatTensor<Self>,
        params: Params<Self>,
        num_heads: usize,
        queries: usize,
        eps: f32,
        Compute { precision, grad_checkpointing }: Compute,
    ) -> FloatTensor<Self> {
        let operation = Operation::Attention { num_heads, queries, eps, precision };
        recorded::<C, _>(operation, branch_inputs::<Self>(x, params), grad_checkpointing)
    }

    fn mlp_branch(
        x: FloatTensor<Self>,
        params: Params<Self>,
        eps: f32,
        Compute { precision, grad_checkpointing }: Compute,
    ) -> FloatTensor<Self> {
        let operation = Operation::Mlp { eps, precision };
        recorded::<C, _>(operation, branch_inputs::<Self>(x, params), grad_checkpointing)
    }

    fn reconstruction_loss(
        pred: FloatTensor<Self>,
        patches: FloatTensor<Self>,
        norm_eps: Option<f32>,
    ) -> FloatTensor<Self> {
        recorded::<C, _>(Operation::Loss { norm_eps }, [pred, patches], false)
    }
}

/// An operation whose graph libtorch keeps, or makes again.
#[derive(Debug)]
struct Recorded;

/// What its backward pass needs.
#[derive(Clone, Debug)]
struct Record<const N: usize> {
    operation: Operation,
    /// The leaves of libtorch's graph.
    inputs: [TchTensor; N],
    /// Its root, if it was kept.
    out: Option<TchTensor>,
}

impl<const N: usize> Backward<LibTorch, N> for Recorded {
    type State = Record<N>;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<LibTorch>(&ops.node);
        let Record { operation, inputs, out } = ops.state;
        let out = match out {
            Some(out) => out.tensor,
            None => operation.of(&inputs.each_ref().map(|input| &input.tensor)),
        };
        let (parents, leaves): (Vec<_>, Vec<_>) = ops
            .parents
            .into_iter()
            .zip(&inputs)
            .filter_map(|(parent, input)| Some((parent?, &input.tensor)))
            .unzip();
        // tch starts from a scalar only; this one's gradient at the output is `grad`.
        let start = out.reshape(-1).dot(&grad.tensor.reshape(-1));
        let leaf_grads = tch::Tensor::run_backward(&[start], &leaves, false, false);
        for (parent, grad) in parents.into_iter().zip(leaf_grads) {
            grads.register::<LibTorch>(parent.id, TchTensor::new(grad));
        }
    }
}

/// Computes under libtorch's autograd, and hands Burn the whole as one node; `again` says whether that graph is dropped
/// and made once more when its turn comes.
fn recorded<C: CheckpointStrategy, const N: usize>(
    operation: Operation,
    inputs: [FloatTensor<Autodiff<LibTorch, C>>; N],
    again: bool,
) -> FloatTensor<Autodiff<LibTorch, C>> {
    let nodes = inputs.each_ref().map(|input| input.node());
    let tracked = inputs.each_ref().map(|input| input.is_tracked());
    let inputs = inputs.map(|input| input.into_primitive());
    match Recorded.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let mut tracked = tracked.into_iter();
            let inputs = inputs.map(|TchTensor { tensor, storage }| {
                let leaf = tensor.detach().set_requires_grad(tracked.next() == Some(true));
                TchTensor::from_existing(leaf, storage)
            });
            let leaves = inputs.each_ref().map(|leaf| &leaf.tensor);
            if again {
                // A guard, which a panic for lack of memory ends too.
                let _without = tch::no_grad_guard();
                let out = TchTensor::new(operation.of(&leaves));
                return prep.finish(Record { operation, inputs, out: None }, out);
            }
            let out = TchTensor::new(operation.of(&leaves));
            // The same memory, known to be shared, so that no one writes to it.
            let seen = TchTensor::from_existing(out.tensor.detach(), out.storage.clone());
            prep.finish(Record { operation, inputs, out: Some(out) }, seen)
        }
        OpsKind::UnTracked(prep) => prep.finish(operation.untracked(inputs)),
    }
}

/// Numbers of the host on a libtorch device, in the type that they have. To a CUDA card they go from pinned memory: for any
/// other, PyTorch waits until the card has done what it was told before.
fn upload(data: &TensorData, device: &Device) -> Option<tch::Tensor> {
    let device = match device.clone().without_autodiff().as_dispatch() {
        DispatchDevice::LibTorch(device) => tch::Device::from(*device),
        #[allow(unreachable_patterns, reason = "with libtorch alone compiled in, nothing is left over")]
        _ => return None,
    };
    let kind = match data.dtype() {
        DType::U8 => Kind::Uint8,
        DType::I32 => Kind::Int,
        DType::I64 => Kind::Int64,
        DType::F32 => Kind::Float,
        _ => return None,
    };
    let shape: Vec<i64> = data.shape().iter().map(|extent| *extent as i64).collect();
    let host = tch::Tensor::from_data_size(data.as_bytes(), &shape, kind);
    if !device.is_cuda() {
        return Some(host.to_device(device));
    }
    // PyTorch keeps pinned memory that it is done with, and knows when the card is done with it.
    match host.f_pin_memory(device) {
        Ok(pinned) => Some(pinned.to_device_(device, kind, true, false)),
        Err(_) => Some(host.to_device(device)),
    }
}

/// Integers of the host on a libtorch device.
pub(super) fn upload_ints<const D: usize>(data: &TensorData, device: &Device) -> Option<Tensor<D, Int>> {
    let kind = DispatchTensorKind::LibTorch(BackendTensor::Int(TchTensor::new(upload(data, device)?)));
    Some(Tensor::from_dispatch(burn::backend::DispatchTensor { kind, autodiff: Default::default() }))
}

/// Bytes or numbers of the host on a libtorch device, as f32 there.
pub(super) fn upload_floats<const D: usize>(data: &TensorData, device: &Device) -> Option<Tensor<D>> {
    Some(wrap(TchTensor::new(upload(data, device)?.to_kind(Kind::Float))))
}

/// What is in a tensor on libtorch, without its history.
fn primitive<const D: usize>(tensor: Tensor<D>) -> TchTensor {
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
fn wrap<const D: usize>(tensor: TchTensor) -> Tensor<D> {
    let kind = DispatchTensorKind::LibTorch(BackendTensor::Float(tensor));
    Tensor::from_dispatch(burn::backend::DispatchTensor { kind, autodiff: Default::default() })
}
