//! The seam on libtorch: PyTorch's operations, each of them one node of Burn's graph.
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

use super::arguments::CudaMemory;
use super::fused::{Fused, Params};
pub(super) use super::fused::{attention_branch, layer_norm, linear, mlp_branch, reconstruction_loss};
use super::handover;
use crate::{Compute, Precision};

mod adamw;
mod cuda;
mod operation;
mod programs;
mod tensor;

pub(super) use adamw::{adamw, together};
use operation::{Operation, Part, Tape};
use tensor::{primitive, wrap};

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

impl Operation {
    /// The operation outside of autodiff.
    fn untracked<const N: usize>(self, inputs: [TchTensor; N]) -> TchTensor {
        TchTensor::new(self.forward(&inputs.each_ref().map(|input| &input.tensor), &mut Tape(None)))
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

/// An operation whose backward pass is here.
#[derive(Debug)]
struct Recorded;

/// What its backward pass needs.
#[derive(Clone, Debug)]
struct Record<const N: usize> {
    operation: Operation,
    inputs: [TchTensor; N],
    /// None to make them again.
    parts: Option<Vec<Part>>,
}

impl<const N: usize> Backward<LibTorch, N> for Recorded {
    type State = Record<N>;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<LibTorch>(&ops.node);
        let Record { operation, inputs, parts } = ops.state;
        let inputs = inputs.each_ref().map(|input| &input.tensor);
        let parts = parts.unwrap_or_else(|| {
            let mut tape = Tape(Some(Vec::new()));
            let _ = operation.forward(&inputs, &mut tape);
            tape.0.unwrap_or_default()
        });
        let of_inputs = operation.backward(&inputs, parts, &grad.tensor);
        for (parent, grad) in ops.parents.into_iter().zip(of_inputs) {
            if let (Some(parent), Some(grad)) = (parent, grad) {
                handover::register::<LibTorch>(grads, parent.id, TchTensor::new(grad));
            }
        }
    }
}

/// Computes, and hands Burn the whole as one node; `again` says whether what the backward pass needs is dropped, and made
/// once more when its turn comes.
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
                // The same memory, known to be shared, so that no one writes to it.
                TchTensor::from_existing(leaf, storage)
            });
            let mut tape = Tape((!again).then(Vec::new));
            // A guard, which a panic for lack of memory ends too.
            let _without = again.then(tch::no_grad_guard);
            let out = operation.forward(&inputs.each_ref().map(|leaf| &leaf.tensor), &mut tape);
            // No backward pass reads it, so that it may be written to.
            let out = TchTensor::new(out.detach());
            prep.finish(Record { operation, inputs, parts: tape.0 }, out)
        }
        OpsKind::UnTracked(prep) => prep.finish(operation.untracked(inputs)),
    }
}

/// libtorch's own name of a device, if it is one of its devices.
fn torch_device(device: &Device) -> Option<tch::Device> {
    match device.clone().without_autodiff().as_dispatch() {
        DispatchDevice::LibTorch(device) => Some(tch::Device::from(*device)),
        #[allow(unreachable_patterns, reason = "with libtorch alone compiled in, nothing is left over")]
        _ => None,
    }
}

/// See [`ops::sum_of_squares`](crate::ops::sum_of_squares).
pub(super) fn sum_of_squares(tensors: Vec<Tensor<1>>) -> Tensor<1> {
    // On a CPU, PyTorch's norm is less accurate than the portable sum.
    if torch_device(&tensors[0].device()).is_none_or(|device| !device.is_cuda()) {
        return super::portable::sum_of_squares(tensors);
    }
    let tensors = tensors.into_iter().map(|tensor| primitive(tensor).tensor).collect();
    wrap(TchTensor::new(programs::sum_of_squares(tensors)))
}

/// See [`ops::cuda_card`](crate::ops::cuda_card).
pub(super) fn cuda_card(device: &Device) -> Option<usize> {
    match torch_device(device)? {
        tch::Device::Cuda(index) => Some(index),
        _ => None,
    }
}

/// See [`CudaMemory::of`].
pub(super) fn cuda_memory(tensor: Tensor<1>) -> Option<(Tensor<1>, CudaMemory)> {
    if !applies(&tensor) {
        return None;
    }
    let tensor = primitive(tensor);
    if !tensor.tensor.device().is_cuda() || tensor.tensor.kind() != Kind::Float {
        return None;
    }
    let tensor = adamw::own(tensor);
    let memory = CudaMemory { address: tensor.tensor.data_ptr() as u64, len: tensor.tensor.numel() };
    Some((wrap(tensor), memory))
}

fn shape_of(data: &TensorData) -> Vec<i64> {
    data.shape().iter().map(|extent| *extent as i64).collect()
}

/// See [`ops::without_kernels`](crate::ops::without_kernels).
pub(super) fn without_kernels(device: &Device) -> Option<String> {
    let Some(tch::Device::Cuda(index)) = torch_device(device) else { return None };
    match cuda::card(index) {
        Some(card) => card.kernels().err().filter(|reason| *reason != cuda::NO_BF16).map(str::to_owned),
        None => Some("NVIDIA's driver does not open the card".into()),
    }
}

/// Numbers of the host on a libtorch device, in the type that they have. To a CUDA card they go from pinned memory: for any
/// other, PyTorch waits until the card has done what it was told before.
fn upload(data: &TensorData, device: &Device) -> Option<tch::Tensor> {
    let device = torch_device(device)?;
    let kind = match data.dtype() {
        DType::U8 => Kind::Uint8,
        DType::I32 => Kind::Int,
        DType::I64 => Kind::Int64,
        DType::F32 => Kind::Float,
        _ => return None,
    };
    let host = tch::Tensor::from_data_size(data.as_bytes(), &shape_of(data), kind);
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
    /// Batches of images are larger; smaller uploads need no stream of their own.
    const LARGE: usize = 1 << 16;
    let bytes = data.as_bytes();
    if let Some(tch::Device::Cuda(index)) = torch_device(device)
        && (data.dtype() == DType::U8 && bytes.len() >= LARGE)
        && let Some(tensor) = cuda::card(index)
            .and_then(|card| card.upload_bytes(bytes, &shape_of(data), tch::Device::Cuda(index)))
    {
        return Some(wrap(TchTensor::new(tensor)));
    }
    Some(wrap(TchTensor::new(upload(data, device)?.to_kind(Kind::Float))))
}
