//! 3 x 3 convolutions on Flex, with a backward pass of their own.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Shape, Tensor};
use mae_kernels::{Map, ProductType};

use super::{Dense, pooled, products};
use crate::Precision;
use crate::ops::handover;

/// See [`ops::conv`](crate::ops::conv).
#[backend_extension(Flex, Autodiff)]
trait Convolution: Backend {
    fn conv3x3(x: FloatTensor<Self>, weight: FloatTensor<Self>, precision: Precision) -> FloatTensor<Self>;
}

pub(in crate::ops) fn conv3x3(x: Tensor<4>, weight: Tensor<4>, precision: Precision) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::conv3x3(x.into_dispatch(), weight.into_dispatch(), precision))
}

/// A convolution's factors, which its backward pass reads too.
#[derive(Clone, Debug)]
struct Factors {
    x: Dense,
    weight: Dense,
    products: ProductType,
}

impl Factors {
    fn new(x: FlexTensor, weight: FlexTensor, precision: Precision) -> Self {
        Self { x: Dense::new(x), weight: Dense::new(weight), products: products(precision) }
    }

    fn map(&self) -> Map {
        let [batch, height, width, _] = self.x.shape().dims();
        Map { batch, height, width }
    }

    /// Input and output channels.
    fn channels(&self) -> [usize; 2] {
        let [c_out, c_in, _, _] = self.weight.shape().dims();
        [c_in, c_out]
    }

    fn forward(&self) -> FlexTensor {
        let (map, channels) = (self.map(), self.channels());
        let y = mae_kernels::conv3x3(&self.x, &self.weight, map, channels, self.products);
        pooled::tensor(y, Shape::new([map.batch, map.height, map.width, channels[1]]))
    }
}

impl Convolution for Flex {
    fn conv3x3(x: FlexTensor, weight: FlexTensor, precision: Precision) -> FlexTensor {
        Factors::new(x, weight, precision).forward()
    }
}

impl<C: CheckpointStrategy> Convolution for Autodiff<Flex, C> {
    fn conv3x3(x: FloatTensor<Self>, weight: FloatTensor<Self>, precision: Precision) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Step;
        impl Backward<Flex, 2> for Step {
            type State = Factors;

            fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
                let grad = Dense::new(grads.consume::<Flex>(&ops.node));
                let ([to_x, to_weight], factors) = (ops.parents, ops.state);
                let (map, channels) = (factors.map(), factors.channels());
                let Factors { x, weight, products } = factors;
                if let Some(to) = to_x {
                    let x_grad = mae_kernels::conv3x3_input_backward(&grad, &weight, map, channels, products);
                    handover::register::<Flex>(grads, to.id, pooled::tensor(x_grad, x.shape()));
                }
                if let Some(to) = to_weight {
                    let weight_grad =
                        mae_kernels::conv3x3_weight_backward(&grad, &x, map, channels, products);
                    handover::register::<Flex>(grads, to.id, pooled::tensor(weight_grad, weight.shape()));
                }
            }
        }
        let nodes = [x.node(), weight.node()];
        let factors = Factors::new(x.into_primitive(), weight.into_primitive(), precision);
        let y = factors.forward();
        match Step.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(factors, y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}
