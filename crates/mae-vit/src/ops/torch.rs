//! [`ops`](crate::ops) on libtorch: PyTorch's operations, each as one node of Burn's graph.
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

/// Whether the tensor is on libtorch.
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
    /// Runs the operation outside autodiff.
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

/// An operation with its own backward pass.
#[derive(Debug)]
struct Recorded;

/// The state that the backward pass needs.
#[derive(Clone, Debug)]
struct Record<const N: usize> {
    operation: Operation,
    inputs: [TchTensor; N],
    /// `None` to recompute them.
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

/// Runs an operation and records it in Burn's graph as one node. With `again`, the parts that the backward pass needs
/// are not kept but recomputed there.
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
                // The same memory, marked as shared so that nothing writes to it.
                TchTensor::from_existing(leaf, storage)
            });
            let mut tape = Tape((!again).then(Vec::new));
            // A guard, because it also ends on an out-of-memory panic.
            let _without = again.then(tch::no_grad_guard);
            let out = operation.forward(&inputs.each_ref().map(|leaf| &leaf.tensor), &mut tape);
            // No backward pass reads the output, so it may be overwritten.
            let out = TchTensor::new(out.detach());
            prep.finish(Record { operation, inputs, parts: tape.0 }, out)
        }
        OpsKind::UnTracked(prep) => prep.finish(operation.untracked(inputs)),
    }
}

/// The libtorch device behind a Burn device, if it is one.
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
        None => Some("NVIDIA's driver cannot open the GPU".into()),
    }
}

/// Uploads host data to a libtorch device, in the dtype that it has. Uploads to a CUDA card go through pinned memory:
/// with any other, PyTorch waits until the card has finished its pending work.
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
    // PyTorch caches pinned memory, and reuses it only when the card has finished with it.
    match host.f_pin_memory(device) {
        Ok(pinned) => Some(pinned.to_device_(device, kind, true, false)),
        Err(_) => Some(host.to_device(device)),
    }
}

/// Uploads integers from the host to a libtorch device.
pub(super) fn upload_ints<const D: usize>(data: &TensorData, device: &Device) -> Option<Tensor<D, Int>> {
    let kind = DispatchTensorKind::LibTorch(BackendTensor::Int(TchTensor::new(upload(data, device)?)));
    Some(Tensor::from_dispatch(burn::backend::DispatchTensor { kind, autodiff: Default::default() }))
}

/// Uploads bytes or other values from the host to a libtorch device, and converts them to f32 there.
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
