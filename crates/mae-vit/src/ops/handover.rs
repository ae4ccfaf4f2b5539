//! Hands over the gradients of parameters during the backward pass.

use std::cell::RefCell;
use std::collections::HashMap;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::{Backend, BackendTensor, DispatchTensor, DispatchTensorKind, TensorMetadata};
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;

/// Receives a parameter's gradient, flattened to `[N]`.
pub(super) type Take = Box<dyn FnMut(ParamId, Tensor<1>)>;

/// The receiver of gradients during this thread's backward pass.
struct Receiver {
    /// Parameters by their graph nodes. Each is handed over once; Burn keeps any further gradient of it.
    parameters: HashMap<u64, ParamId>,
    take: Take,
}

thread_local! {
    static RECEIVER: RefCell<Option<Receiver>> = const { RefCell::new(None) };
}

/// A backend whose operations have backward passes of their own.
pub(super) trait HandsOver: Backend {
    /// Wraps a tensor of rank 1 for Burn's dispatch.
    fn dispatch(tensor: Self::FloatTensorPrimitive) -> DispatchTensorKind;
}

#[cfg(feature = "flex")]
impl HandsOver for burn::backend::Flex {
    fn dispatch(tensor: Self::FloatTensorPrimitive) -> DispatchTensorKind {
        DispatchTensorKind::Flex(BackendTensor::Float(tensor))
    }
}

#[cfg(feature = "tch")]
#[allow(deprecated, reason = "Burn means to give up libtorch; until then it is here")]
impl HandsOver for burn::backend::LibTorch {
    fn dispatch(tensor: Self::FloatTensorPrimitive) -> DispatchTensorKind {
        DispatchTensorKind::LibTorch(BackendTensor::Float(tensor))
    }
}

/// Passes a node's gradient to the receiver if it awaits one, else to Burn.
pub(super) fn register<B: HandsOver>(grads: &mut Gradients, node: NodeId, gradient: B::FloatTensorPrimitive) {
    let awaited = RECEIVER.with_borrow_mut(|receiver| receiver.as_mut()?.parameters.remove(&node.value));
    let Some(parameter) = awaited else {
        grads.register::<B>(node, gradient);
        return;
    };
    let len = gradient.shape().num_elements();
    let kind = B::dispatch(B::float_reshape(gradient, [len].into()));
    let flat = Tensor::from_dispatch(DispatchTensor { kind, autodiff: Default::default() });
    RECEIVER.with_borrow_mut(|receiver| {
        if let Some(receiver) = receiver {
            (receiver.take)(parameter, flat);
        }
    });
}

/// Runs a backward pass that hands over the gradients of `parameters`.
pub(super) fn during<T>(parameters: HashMap<u64, ParamId>, take: Take, backward: impl FnOnce() -> T) -> T {
    /// Removes the receiver, also after a panic.
    struct Forget;
    impl Drop for Forget {
        fn drop(&mut self) {
            RECEIVER.set(None);
        }
    }
    let _forget = Forget;
    RECEIVER.set(Some(Receiver { parameters, take }));
    backward()
}

/// The graph nodes of a model's `wanted` parameters, on backends whose operations hand over gradients.
pub(super) fn nodes<M: Module>(model: &M, wanted: impl Fn(ParamId) -> bool) -> HashMap<u64, ParamId> {
    struct Nodes<F>(F, HashMap<u64, ParamId>);
    impl<F: Fn(ParamId) -> bool> ModuleVisitor for Nodes<F> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if (self.0)(param.id)
                && let Some(node) = node(param.val())
            {
                self.1.insert(node, param.id);
            }
        }
    }
    let mut nodes = Nodes(wanted, HashMap::new());
    model.visit(&mut nodes);
    nodes.1
}

fn node<const D: usize>(tensor: Tensor<D>) -> Option<u64> {
    let DispatchTensorKind::Autodiff(inner) = tensor.into_dispatch().kind else { return None };
    match *inner {
        #[cfg(feature = "flex")]
        DispatchTensorKind::Flex(BackendTensor::Autodiff(tensor)) => Some(tensor.id().value),
        #[cfg(feature = "tch")]
        DispatchTensorKind::LibTorch(BackendTensor::Autodiff(tensor)) => Some(tensor.id().value),
        _ => None,
    }
}
