//! Batch normalisation on Flex, with a backward pass of its own.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Tensor, TensorData};
use mae_kernels::{ChannelMoments, ChannelNorm, Nonlinearity};

use super::{Dense, pooled, primitive};
use crate::ops::arguments::Activation;
use crate::ops::handover;

/// The non-tensor arguments of a batch norm.
#[derive(Clone, Debug)]
struct Settings {
    /// The moments of the input.
    moments: Arc<ChannelMoments>,
    eps: f32,
    activation: Nonlinearity,
}

/// See [`ops::batch_norm`](crate::ops::batch_norm).
#[backend_extension(Flex, Autodiff)]
trait BatchNormalization: Backend {
    fn batch_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        settings: Settings,
    ) -> FloatTensor<Self>;
}

pub(in crate::ops) fn batch_norm(
    x: Tensor<4>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    eps: f64,
    activation: Activation,
) -> (Tensor<4>, [Tensor<1>; 2]) {
    let ([batch, height, width, channels], device) = (x.dims(), x.device());
    let moments = ChannelMoments::new(&Dense::new(primitive(x.clone())), channels);
    let rows = (batch * height * width) as f32;
    let unbiased = moments.var.iter().map(|var| var * (rows / (rows - 1.0))).collect();
    let of_batch = [moments.mean.clone(), unbiased]
        .map(|moment| Tensor::from_data(TensorData::new(moment, [channels]), &device));
    let activation = match activation {
        Activation::Identity => Nonlinearity::Identity,
        Activation::Relu => Nonlinearity::Relu,
        Activation::Gelu => Nonlinearity::Gelu,
    };
    let settings = Settings { moments: Arc::new(moments), eps: eps as f32, activation };
    let (x, weight, bias) = (x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
    (Tensor::from_dispatch(Dispatch::batch_norm(x, weight, bias, settings)), of_batch)
}

/// The state that the backward pass reads.
#[derive(Clone, Debug)]
struct Inputs {
    x: Dense,
    weight: Dense,
    bias: Dense,
    settings: Settings,
}

impl Inputs {
    fn new(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, settings: Settings) -> Self {
        let [x, weight, bias] = [x, weight, bias].map(Dense::new);
        Self { x, weight, bias, settings }
    }

    fn norm(&self) -> ChannelNorm<'_> {
        let Settings { moments, eps, activation } = &self.settings;
        let (weight, bias, eps, activation) = (&self.weight, &self.bias, *eps, *activation);
        ChannelNorm { moments, weight, bias, eps, activation }
    }

    fn forward(&self) -> FlexTensor {
        pooled::tensor(mae_kernels::batch_norm(&self.x, self.norm()), self.x.shape())
    }
}

impl BatchNormalization for Flex {
    fn batch_norm(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, settings: Settings) -> FlexTensor {
        Inputs::new(x, weight, bias, settings).forward()
    }
}

impl<C: CheckpointStrategy> BatchNormalization for Autodiff<Flex, C> {
    fn batch_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        settings: Settings,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Step;
        impl Backward<Flex, 3> for Step {
            type State = Inputs;

            fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
                let grad = Dense::new(grads.consume::<Flex>(&ops.node));
                let inputs = ops.state;
                let shapes = [inputs.x.shape(), inputs.weight.shape(), inputs.bias.shape()];
                let of_inputs = mae_kernels::batch_norm_backward(&grad, &inputs.x, inputs.norm());
                for ((parent, shape), buffer) in ops.parents.into_iter().zip(shapes).zip(of_inputs) {
                    if let Some(parent) = parent {
                        handover::register::<Flex>(grads, parent.id, pooled::tensor(buffer, shape));
                    }
                }
            }
        }
        let nodes = [x.node(), weight.node(), bias.node()];
        let inputs =
            Inputs::new(x.into_primitive(), weight.into_primitive(), bias.into_primitive(), settings);
        let y = inputs.forward();
        match Step.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(inputs, y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}
