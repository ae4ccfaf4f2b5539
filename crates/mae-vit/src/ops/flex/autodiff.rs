//! [`ops`](crate::ops) on Flex under autodiff: each operation has its own backward pass.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::Shape;
use mae_kernels::{AttentionSaved, BranchGradients, Buffer, Heads, MlpSaved, ProductType, Threads};

use super::{Dense, Inputs, loss, normalize, pooled, products};
use crate::ops::fused::{Fused, Params};
use crate::ops::handover;
use crate::{Compute, Precision};

impl Inputs {
    /// Registers the gradients of those among input and parameters that need one.
    fn register<S>(
        self,
        ops: Ops<S, 7>,
        grads: &mut Gradients,
        x_grad: Buffer,
        param_grads: BranchGradients,
    ) {
        let shapes = [self.x.shape()].into_iter().chain(self.params.iter().map(Dense::shape));
        let buffers = [x_grad].into_iter().chain(param_grads);
        for ((parent, shape), buffer) in ops.parents.into_iter().zip(shapes).zip(buffers) {
            if let Some(parent) = parent {
                handover::register::<Flex>(grads, parent.id, pooled::tensor(buffer, shape));
            }
        }
    }
}

impl<C: CheckpointStrategy> Fused for Autodiff<Flex, C> {
    fn linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Step;
        impl Backward<Flex, 3> for Step {
            type State = ([Dense; 2], ProductType);

            fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
                let grad = Dense::new(grads.consume::<Flex>(&ops.node));
                let (([x, weight], products), [to_x, to_weight, to_bias]) = (ops.state, ops.parents);
                let [d_in, d_out] = weight.shape().dims();
                if let Some(to) = to_x {
                    let x_grad = mae_kernels::linear_input_backward(&grad, &weight, d_out, products);
                    handover::register::<Flex>(grads, to.id, pooled::tensor(x_grad, x.shape()));
                }
                if to_weight.is_some() || to_bias.is_some() {
                    let (weight_grad, bias_grad) =
                        mae_kernels::linear_backward(&grad, &x, d_in, d_out, products);
                    if let Some(to) = to_weight {
                        handover::register::<Flex>(grads, to.id, pooled::tensor(weight_grad, weight.shape()));
                    }
                    if let Some(to) = to_bias {
                        handover::register::<Flex>(
                            grads,
                            to.id,
                            pooled::tensor(bias_grad, Shape::new([d_out])),
                        );
                    }
                }
            }
        }
        let nodes = [x.node(), weight.node(), bias.node()];
        let [x, weight, bias] = [x, weight, bias].map(|tensor| tensor.into_primitive());
        match Step.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let state = [x.clone(), weight.clone()].map(Dense::new);
                prep.finish((state, products(precision)), Flex::linear(x, weight, bias, precision))
            }
            OpsKind::UnTracked(prep) => prep.finish(Flex::linear(x, weight, bias, precision)),
        }
    }

    fn layer_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f32,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Step;
        impl Backward<Flex, 3> for Step {
            type State = ([Dense; 2], Arc<Buffer>);

            fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
                let grad = Dense::new(grads.consume::<Flex>(&ops.node));
                let ([x, weight], stats) = ops.state;
                let mut x_grad = Buffer::any(grad.len());
                x_grad.copy_from_slice(&grad);
                let (weight_grad, bias_grad) =
                    mae_kernels::layer_norm_backward(&mut x_grad, &x, &stats, &weight, None, Threads::All);
                let shapes = [x.shape(), weight.shape(), weight.shape()];
                let buffers = [x_grad, weight_grad, bias_grad];
                for ((parent, shape), buffer) in ops.parents.into_iter().zip(shapes).zip(buffers) {
                    if let Some(parent) = parent {
                        handover::register::<Flex>(grads, parent.id, pooled::tensor(buffer, shape));
                    }
                }
            }
        }
        let nodes = [x.node(), weight.node(), bias.node()];
        let [x, weight, bias] = [x, weight, bias].map(|tensor| Dense::new(tensor.into_primitive()));
        let (out, stats) = normalize(&x, &weight, &bias, eps);
        match Step.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(([x, weight], Arc::new(stats)), out),
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }

    fn attention_branch(
        x: FloatTensor<Self>,
        params: Params<Self>,
        num_heads: usize,
        queries: usize,
        eps: f32,
        compute: Compute,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Step;
        impl Backward<Flex, 7> for Step {
            type State = (Inputs, Heads, f32, Option<Arc<AttentionSaved>>);

            fn backward(self, ops: Ops<Self::State, 7>, grads: &mut Gradients, _: &mut Checkpointer) {
                let grad = Dense::new(grads.consume::<Flex>(&ops.node));
                let (inputs, heads, eps, saved) = ops.state.clone();
                let saved = saved.unwrap_or_else(|| Arc::new(inputs.attention(heads, eps).1));
                let (x_grad, param_grads) =
                    mae_kernels::attention_branch_backward(&grad, &inputs.x, inputs.branch(), heads, &saved);
                inputs.register(ops, grads, x_grad, param_grads);
            }
        }
        let (nodes, inputs) = inputs(x, params, compute);
        let heads = inputs.heads(num_heads, queries);
        let (out, saved) = inputs.attention(heads, eps);
        match Step.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let saved = (!compute.grad_checkpointing).then(|| Arc::new(saved));
                prep.finish((inputs, heads, eps, saved), out)
            }
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }

    fn mlp_branch(
        x: FloatTensor<Self>,
        params: Params<Self>,
        eps: f32,
        compute: Compute,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Step;
        impl Backward<Flex, 7> for Step {
            type State = (Inputs, f32, Option<Arc<MlpSaved>>);

            fn backward(self, ops: Ops<Self::State, 7>, grads: &mut Gradients, _: &mut Checkpointer) {
                let grad = Dense::new(grads.consume::<Flex>(&ops.node));
                let (inputs, eps, saved) = ops.state.clone();
                let saved = saved.unwrap_or_else(|| Arc::new(inputs.mlp(eps).1));
                let (x_grad, param_grads) =
                    mae_kernels::mlp_branch_backward(&grad, &inputs.x, inputs.branch(), &saved);
                inputs.register(ops, grads, x_grad, param_grads);
            }
        }
        let (nodes, inputs) = inputs(x, params, compute);
        let (out, saved) = inputs.mlp(eps);
        match Step.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let saved = (!compute.grad_checkpointing).then(|| Arc::new(saved));
                prep.finish((inputs, eps, saved), out)
            }
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }

    fn reconstruction_loss(
        pred: FloatTensor<Self>,
        patches: FloatTensor<Self>,
        norm_eps: Option<f32>,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Step;
        impl Backward<Flex, 1> for Step {
            type State = (Shape, Arc<Buffer>);

            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                let grad = Dense::new(grads.consume::<Flex>(&ops.node));
                let (shape, difference) = ops.state;
                if let [Some(parent)] = ops.parents {
                    let mut out = Buffer::any(difference.len());
                    mae_kernels::reconstruction_backward(&mut out, &difference, grad[0]);
                    handover::register::<Flex>(grads, parent.id, pooled::tensor(out, shape));
                }
            }
        }
        let nodes = [pred.node()];
        let (pred, patches) = (Dense::new(pred.into_primitive()), Dense::new(patches.into_primitive()));
        let (out, difference) = loss(&pred, &patches, norm_eps);
        match Step.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((pred.shape(), Arc::new(difference)), out),
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }
}

/// A branch's inputs and their graph nodes.
fn inputs<C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<Flex, C>>,
    params: Params<Autodiff<Flex, C>>,
    compute: Compute,
) -> ([NodeGuard; 7], Inputs) {
    let [a, b, c, d, e, f] = params.into_array();
    let nodes = [x.node(), a.node(), b.node(), c.node(), d.node(), e.node(), f.node()];
    let params = [a, b, c, d, e, f].map(|tensor| tensor.into_primitive());
    (nodes, Inputs::new(x.into_primitive(), params, compute))
}
