//! The weighted cross entropy on Flex, with a backward pass of its own.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Int, Shape, Tensor};
use mae_kernels::Buffer;

use super::{Dense, pooled, primitive};
use crate::ops::handover;

/// The true classes of the rows, and the rows' weights.
#[derive(Clone, Debug)]
struct Truth {
    classes: Arc<Vec<u32>>,
    weights: Dense,
}

/// See [`ops::cross_entropy`](crate::ops::cross_entropy).
#[backend_extension(Flex, Autodiff)]
trait CrossEntropy: Backend {
    fn cross_entropy(scores: FloatTensor<Self>, truth: Truth) -> FloatTensor<Self>;
}

pub(in crate::ops) fn cross_entropy(
    scores: Tensor<2>,
    classes: Tensor<1, Int>,
    weights: Tensor<1>,
) -> Tensor<1> {
    let classes = classes.into_data().convert::<u32>().iter().collect();
    let truth = Truth { classes: Arc::new(classes), weights: Dense::new(primitive(weights)) };
    Tensor::from_dispatch(Dispatch::cross_entropy(scores.into_dispatch(), truth))
}

/// The loss and the scores' gradient.
fn loss(scores: FlexTensor, truth: &Truth) -> (FlexTensor, Buffer) {
    let (loss, grad) = mae_kernels::cross_entropy(&Dense::new(scores), &truth.classes, &truth.weights);
    let mut out = Buffer::any(1);
    out[0] = loss;
    (pooled::tensor(out, Shape::new([1])), grad)
}

impl CrossEntropy for Flex {
    fn cross_entropy(scores: FlexTensor, truth: Truth) -> FlexTensor {
        loss(scores, &truth).0
    }
}

impl<C: CheckpointStrategy> CrossEntropy for Autodiff<Flex, C> {
    fn cross_entropy(scores: FloatTensor<Self>, truth: Truth) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Step;
        impl Backward<Flex, 1> for Step {
            /// The scores' gradient and their shape.
            type State = (Arc<Buffer>, Shape);

            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                let grad = Dense::new(grads.consume::<Flex>(&ops.node));
                let (of_scores, shape) = ops.state;
                if let [Some(parent)] = ops.parents {
                    let mut out = Buffer::any(of_scores.len());
                    mae_kernels::scale(&mut out, &of_scores, grad[0]);
                    handover::register::<Flex>(grads, parent.id, pooled::tensor(out, shape));
                }
            }
        }
        let (nodes, scores) = ([scores.node()], scores.into_primitive());
        let shape = burn::backend::TensorMetadata::shape(&scores);
        let (out, grad) = loss(scores, &truth);
        match Step.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((Arc::new(grad), shape), out),
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }
}
