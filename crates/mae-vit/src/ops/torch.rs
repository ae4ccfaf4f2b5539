//! The seam on libtorch: PyTorch's operations, and its autograd for their backward passes.
//!
//! Burn's graph holds each operation as one node. What happens inside of it, libtorch records and takes back.
#![allow(deprecated, reason = "Burn means to give up libtorch; until then it is here")]

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, BackendTensor, DispatchTensorKind, LibTorch};
use burn::tensor::Tensor;
use burn_tch::TchTensor;
use tch::{Device, Kind, Reduction};

use super::AdamWStep;
use super::fused::{Fused, Params};
pub(super) use super::fused::{attention_branch, layer_norm, linear, mlp_branch, reconstruction_loss};
use super::portable;
pub(super) use super::portable::sum_of_squares;

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

/// The operations on libtorch's tensors. Inputs in the order of the seam's arguments.
mod forward {
    use tch::Tensor;

    use super::Reduction;

    /// `[.., d_in]`, `[d_in, d_out]`, `[d_out]` → `[.., d_out]`
    pub(super) fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
        x.linear(&weight.tr(), Some(bias))
    }

    pub(super) fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f32) -> Tensor {
        x.layer_norm(weight.size(), Some(weight), Some(bias), f64::from(eps), false)
    }

    /// `[B, L, D]` → `[B, Q, D]`
    pub(super) fn attention(inputs: [&Tensor; 7], num_heads: usize, queries: usize, eps: f32) -> Tensor {
        let [x, norm_weight, norm_bias, in_weight, in_bias, out_weight, out_bias] = inputs;
        let last = |tensor: &Tensor, dim: i64| {
            let len = tensor.size()[dim as usize];
            tensor.narrow(dim, len - queries as i64, queries as i64)
        };
        let (batch, len, width) = x.size3().expect("a tensor of rank 3");
        let heads = num_heads as i64;
        let qkv = linear(&layer_norm(x, norm_weight, norm_bias, eps), in_weight, in_bias)
            .reshape([batch, len, 3, heads, width / heads])
            .permute([2, 0, 3, 1, 4]); // [3, B, N, L, D/N]
        let (q, k, v) = (last(&qkv.select(0, 0), 2), qkv.select(0, 1), qkv.select(0, 2));
        let mixed = Tensor::scaled_dot_product_attention(&q, &k, &v, None::<Tensor>, 0.0, false, None, false)
            .transpose(1, 2)
            .reshape([batch, queries as i64, width]);
        last(x, 1) + linear(&mixed, out_weight, out_bias)
    }

    /// `[B, L, D]` → `[B, L, D]`
    pub(super) fn mlp(inputs: [&Tensor; 7], eps: f32) -> Tensor {
        let [x, norm_weight, norm_bias, in_weight, in_bias, out_weight, out_bias] = inputs;
        let hidden = linear(&layer_norm(x, norm_weight, norm_bias, eps), in_weight, in_bias);
        x + linear(&hidden.gelu("none"), out_weight, out_bias)
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
    fn linear(x: TchTensor, weight: TchTensor, bias: TchTensor) -> TchTensor {
        TchTensor::new(forward::linear(&x.tensor, &weight.tensor, &bias.tensor))
    }

    fn layer_norm(x: TchTensor, weight: TchTensor, bias: TchTensor, eps: f32) -> TchTensor {
        TchTensor::new(forward::layer_norm(&x.tensor, &weight.tensor, &bias.tensor, eps))
    }

    fn attention_branch(
        x: TchTensor,
        params: Params<Self>,
        num_heads: usize,
        queries: usize,
        eps: f32,
    ) -> TchTensor {
        let inputs = branch_inputs(x, params);
        TchTensor::new(forward::attention(
            inputs.each_ref().map(|input| &input.tensor),
            num_heads,
            queries,
            eps,
        ))
    }

    fn mlp_branch(x: TchTensor, params: Params<Self>, eps: f32) -> TchTensor {
        let inputs = branch_inputs(x, params);
        TchTensor::new(forward::mlp(inputs.each_ref().map(|input| &input.tensor), eps))
    }

    fn reconstruction_loss(pred: TchTensor, patches: TchTensor, norm_eps: Option<f32>) -> TchTensor {
        TchTensor::new(forward::loss(&pred.tensor, &patches.tensor, norm_eps))
    }
}

fn branch_inputs<B: burn::backend::Backend>(x: FloatTensor<B>, params: Params<B>) -> [FloatTensor<B>; 7] {
    let [a, b, c, d, e, f] = params.into_array();
    [x, a, b, c, d, e, f]
}

impl<C: CheckpointStrategy> Fused for Autodiff<LibTorch, C> {
    fn linear(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        recorded::<C, _>([x, weight, bias], |[x, weight, bias]| forward::linear(x, weight, bias))
    }

    fn layer_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f32,
    ) -> FloatTensor<Self> {
        recorded::<C, _>([x, weight, bias], |[x, weight, bias]| forward::layer_norm(x, weight, bias, eps))
    }

    fn attention_branch(
        x: FloatTensor<Self>,
        params: Params<Self>,
        num_heads: usize,
        queries: usize,
        eps: f32,
    ) -> FloatTensor<Self> {
        let inputs = branch_inputs::<Self>(x, params);
        recorded::<C, _>(inputs, |inputs| forward::attention(inputs, num_heads, queries, eps))
    }

    fn mlp_branch(x: FloatTensor<Self>, params: Params<Self>, eps: f32) -> FloatTensor<Self> {
        recorded::<C, _>(branch_inputs::<Self>(x, params), |inputs| forward::mlp(inputs, eps))
    }

    fn reconstruction_loss(
        pred: FloatTensor<Self>,
        patches: FloatTensor<Self>,
        norm_eps: Option<f32>,
    ) -> FloatTensor<Self> {
        let patches = patches.into_primitive();
        recorded::<C, _>([pred], |[pred]| forward::loss(pred, &patches.tensor, norm_eps))
    }
}

/// An operation whose graph libtorch keeps.
#[derive(Debug)]
struct Recorded;

impl<const N: usize> Backward<LibTorch, N> for Recorded {
    /// The inputs, as leaves of that graph, and the output at its root.
    type State = ([TchTensor; N], TchTensor);

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<LibTorch>(&ops.node);
        let (inputs, out) = ops.state;
        let (parents, leaves): (Vec<_>, Vec<_>) = ops
            .parents
            .into_iter()
            .zip(&inputs)
            .filter_map(|(parent, input)| Some((parent?, &input.tensor)))
            .unzip();
        // tch starts from a scalar only; this one's gradient at the output is `grad`.
        let start = out.tensor.reshape(-1).dot(&grad.tensor.reshape(-1));
        let leaf_grads = tch::Tensor::run_backward(&[start], &leaves, false, false);
        for (parent, grad) in parents.into_iter().zip(leaf_grads) {
            grads.register::<LibTorch>(parent.id, TchTensor::new(grad));
        }
    }
}

/// Computes under libtorch's autograd, and hands Burn the whole as one node.
fn recorded<C: CheckpointStrategy, const N: usize>(
    inputs: [FloatTensor<Autodiff<LibTorch, C>>; N],
    forward: impl FnOnce([&tch::Tensor; N]) -> tch::Tensor,
) -> FloatTensor<Autodiff<LibTorch, C>> {
    let nodes = inputs.each_ref().map(|input| input.node());
    let inputs = inputs.map(|input| input.into_primitive());
    match Recorded.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let leaves = inputs.map(|TchTensor { tensor, storage }| {
                TchTensor::from_existing(tensor.detach().set_requires_grad(true), storage)
            });
            let out = TchTensor::new(forward(leaves.each_ref().map(|leaf| &leaf.tensor)));
            // The same memory, known to be shared, so that no one writes to it.
            let seen = TchTensor::from_existing(out.tensor.detach(), out.storage.clone());
            prep.finish((leaves, out), seen)
        }
        OpsKind::UnTracked(prep) => {
            prep.finish(TchTensor::new(forward(inputs.each_ref().map(|input| &input.tensor))))
        }
    }
}

/// libtorch's fused AdamW is not among what `tch` binds: on a CPU, the kernel that Flex has does it.
pub(super) fn adamw<const D: usize>(
    param: Tensor<D>,
    grad: Tensor<D>,
    moments: [Tensor<D>; 2],
    step: &AdamWStep,
) -> (Tensor<D>, [Tensor<D>; 2]) {
    let [first, second] = moments;
    let held = primitive(param.clone()).tensor;
    if (held.kind(), held.device()) != (Kind::Float, Device::Cpu) {
        return portable::adamw(param, grad, [first, second], step);
    }
    let param = held.contiguous();
    // Each is written in place where no one else holds it, else copied first.
    let mut written = [grad, first, second].map(|tensor| own(primitive(tensor)));
    let [grad, first, second] = written.each_mut().map(numbers_mut);
    mae_kernels::adamw(grad, numbers(&param), first, second, &step.kernel());
    let [param, first, second] = written.map(wrap);
    (param, [first, second])
}

/// A tensor that no one else holds, all of its memory in order.
fn own(tensor: TchTensor) -> TchTensor {
    match tensor.can_mut() && tensor.tensor.is_contiguous() {
        true => tensor,
        false => TchTensor::new(tensor.tensor.copy().contiguous()),
    }
}

/// The numbers of a contiguous f32 tensor on the CPU.
#[allow(unsafe_code, reason = "tch gives a pointer")]
fn numbers(tensor: &tch::Tensor) -> &[f32] {
    assert_eq!((tensor.kind(), tensor.device(), tensor.is_contiguous()), (Kind::Float, Device::Cpu, true));
    // SAFETY: that many numbers lie there in order, for as long as the tensor is borrowed.
    unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast(), tensor.numel()) }
}

/// The same to write to; for a tensor that no other shares its memory with.
#[allow(unsafe_code, reason = "tch gives a pointer")]
fn numbers_mut(tensor: &mut TchTensor) -> &mut [f32] {
    let len = numbers(&tensor.tensor).len();
    assert!(tensor.can_mut(), "the memory is shared");
    // SAFETY: as above, and no one else holds the memory.
    unsafe { std::slice::from_raw_parts_mut(tensor.tensor.data_ptr().cast(), len) }
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
