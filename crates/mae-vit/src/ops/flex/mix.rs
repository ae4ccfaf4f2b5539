//! Weighted sums along an axis on Flex, with a backward pass of their own.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Shape, Tensor};
use mae_kernels::Taps;

use super::{Dense, pooled};
use crate::ops::handover;

/// See [`ops::mix_rows`](crate::ops::mix_rows).
#[backend_extension(Flex, Autodiff)]
trait RowMixing: Backend {
    fn mix_rows(x: FloatTensor<Self>, taps: Arc<Taps>) -> FloatTensor<Self>;
}

pub(in crate::ops) fn mix_rows(x: Tensor<3>, matrix: &[f32]) -> Tensor<3> {
    let taps = Arc::new(Taps::new(matrix, x.dims()[1]));
    Tensor::from_dispatch(Dispatch::mix_rows(x.into_dispatch(), taps))
}

fn mixed(x: &Dense, taps: &Taps) -> FlexTensor {
    let [count, _, len] = x.shape().dims();
    pooled::tensor(mae_kernels::mix_rows(x, taps, len), Shape::new([count, taps.outputs(), len]))
}

impl RowMixing for Flex {
    fn mix_rows(x: FlexTensor, taps: Arc<Taps>) -> FlexTensor {
        mixed(&Dense::new(x), &taps)
    }
}

impl<C: CheckpointStrategy> RowMixing for Autodiff<Flex, C> {
    fn mix_rows(x: FloatTensor<Self>, taps: Arc<Taps>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Step;
        impl Backward<Flex, 1> for Step {
            type State = Arc<Taps>;

            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                let grad = Dense::new(grads.consume::<Flex>(&ops.node));
                if let [Some(parent)] = ops.parents {
                    handover::register::<Flex>(grads, parent.id, mixed(&grad, &ops.state.transposed()));
                }
            }
        }
        let nodes = [x.node()];
        let y = mixed(&Dense::new(x.into_primitive()), &taps);
        match Step.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(taps, y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}
