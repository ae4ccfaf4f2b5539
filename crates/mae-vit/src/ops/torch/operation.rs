//! The operations of [`ops`](crate::ops) on PyTorch's tensors, and their backward passes.
//!
//! The backward passes of matrix products are written out here; PyTorch's autograd or our CUDA kernels differentiate
//! what lies between them. An input needs a gradient if its `requires_grad` is set.

use burn_tch::TchTensor;
use tch::{Kind, Reduction, Tensor};

use super::cuda::{self, Cuda, Normed};
use super::programs::{gradients, product, product_as};
use crate::Precision;

/// An operation of [`ops`](crate::ops). Its inputs are in the order of that function's arguments.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operation {
    Linear { precision: Precision },
    LayerNorm { eps: f32 },
    Attention { num_heads: usize, queries: usize, eps: f32, precision: Precision },
    Mlp { eps: f32, precision: Precision },
    Loss { norm_eps: Option<f32> },
}

/// A part of an operation: what the backward pass needs from the forward pass.
#[derive(Clone, Debug)]
pub(super) enum Part {
    /// Recorded by PyTorch's autograd.
    Recorded { inputs: Vec<TchTensor>, out: TchTensor },
    /// Layer norm by our CUDA kernels.
    Norm(Cuda, Normed),
    /// GELU by our CUDA kernels.
    Gelu { cuda: Cuda, x: TchTensor, out: TchTensor },
    /// A weight, as a factor of a product.
    Weight(TchTensor),
}

impl Part {
    fn out(&self) -> &Tensor {
        match self {
            Self::Recorded { out, .. } | Self::Gelu { out, .. } => &out.tensor,
            Self::Norm(_, normed) => &normed.out,
            Self::Weight(factor) => &factor.tensor,
        }
    }

    /// The gradients of the inputs that need one, given the output's.
    fn recorded_backward(&self, grad: &Tensor) -> Vec<Option<Tensor>> {
        let Self::Recorded { inputs, out } = self else { unreachable!("{self:?} was not recorded") };
        let needs = |input: &TchTensor| input.tensor.requires_grad();
        let leaves: Vec<_> = inputs.iter().filter(|input| needs(input)).map(|input| &input.tensor).collect();
        let mut grads = gradients(&out.tensor, &leaves, grad).into_iter();
        inputs.iter().map(|input| needs(input).then(|| grads.next()).flatten()).collect()
    }
}

/// The parts of an operation in the order of its forward pass; `None` outside autodiff.
pub(super) struct Tape(pub(super) Option<Vec<Part>>);

impl Tape {
    /// Computes under PyTorch's autograd and keeps its graph, if the tape keeps anything. The result has no history.
    fn part<const N: usize>(
        &mut self,
        inputs: [&Tensor; N],
        compute: impl FnOnce([&Tensor; N]) -> Tensor,
    ) -> Tensor {
        let out = compute(inputs);
        let Some(parts) = &mut self.0 else { return out };
        let seen = out.detach();
        let inputs = inputs.map(|input| TchTensor::new(input.shallow_clone()));
        parts.push(Part::Recorded { inputs: inputs.into(), out: TchTensor::new(out) });
        seen
    }

    /// The layer norm of a branch, in the dtype of the product's factors.
    fn norm(&mut self, inputs: [&Tensor; 3], eps: f32, precision: Precision) -> Tensor {
        let [x, weight, bias] = inputs;
        let fits =
            inputs.iter().all(|input| input.kind() == Kind::Float) && cuda::is_narrow(weight.size()[0]);
        match cuda::kernels(x, precision).filter(|_| fits) {
            Some(cuda) => {
                let normed = cuda.norm(x, weight, bias, eps);
                let out = normed.out.shallow_clone();
                self.keep(Part::Norm(cuda, normed));
                out
            }
            None => {
                self.part(inputs, |[x, weight, bias]| factor(&layer_norm(x, weight, bias, eps), precision))
            }
        }
    }

    /// GELU of a product's output.
    fn gelu(&mut self, x: &Tensor, precision: Precision) -> Tensor {
        match cuda::kernels(x, precision) {
            Some(cuda) => {
                let out = cuda.gelu(x);
                let [kept, shared] = [x, &out].map(|tensor| TchTensor::new(tensor.shallow_clone()));
                self.keep(Part::Gelu { cuda, x: kept, out: shared });
                out
            }
            None => self.part([&self.leaf(x)], |[x]| x.gelu("none")),
        }
    }

    /// A weight, as a factor of the products of both passes. PyTorch's autocast keeps it for the backward pass too.
    fn weight(&mut self, weight: &Tensor, precision: Precision) -> Tensor {
        let factor = factor(&weight.detach(), precision);
        self.keep(Part::Weight(TchTensor::new(factor.shallow_clone())));
        factor
    }

    fn keep(&mut self, part: Part) {
        if let Some(parts) = &mut self.0 {
            parts.push(part);
        }
    }

    /// The output of a product as a leaf, from which the next part starts.
    fn leaf(&self, tensor: &Tensor) -> Tensor {
        tensor.detach().set_requires_grad(self.0.is_some())
    }
}

/// The gradient of a linear map's output: a factor of the products in the backward pass, and its column sums if a
/// kernel has computed them too.
struct OutGrad {
    factor: Tensor,
    sums: Option<Tensor>,
}

impl OutGrad {
    fn new(grad: &Tensor, precision: Precision) -> Self {
        match cuda::kernels(grad, precision) {
            Some(cuda) if grad.kind() == Kind::Float => {
                let (factor, sums) = cuda.rounded(&rows(grad));
                Self { factor, sums: Some(sums) }
            }
            Some(cuda) if grad.kind() == Kind::BFloat16 => {
                let factor = rows(grad);
                let sums = Some(cuda.column_sums(&factor));
                Self { factor, sums }
            }
            _ => Self { factor: rows(&factor(grad, precision)), sums: None },
        }
    }
}

impl Operation {
    /// Computes the output.
    pub(super) fn forward(self, inputs: &[&Tensor], tape: &mut Tape) -> Tensor {
        match (self, inputs) {
            (Self::Linear { precision }, [x, weight, bias]) => {
                linear(x, &tape.weight(weight, precision), bias, precision).to_kind(x.kind())
            }
            (Self::LayerNorm { eps }, &[x, weight, bias]) => {
                tape.part([x, weight, bias], |[x, weight, bias]| layer_norm(x, weight, bias, eps))
            }
            (Self::Attention { num_heads, queries, eps, precision }, [x, params @ ..]) => {
                let mixed = |qkv: &Tensor, tape: &mut Tape| {
                    tape.part([&tape.leaf(qkv)], |[qkv]| attention(qkv, num_heads, queries))
                };
                let branch = branch(x, params, mixed, eps, precision, tape);
                sum(&last_tokens(&x.detach(), queries), &branch, precision)
            }
            (Self::Mlp { eps, precision }, [x, params @ ..]) => {
                let mixed = |hidden: &Tensor, tape: &mut Tape| tape.gelu(hidden, precision);
                sum(&x.detach(), &branch(x, params, mixed, eps, precision, tape), precision)
            }
            (Self::Loss { norm_eps }, &[pred, patches]) => {
                tape.part([pred, patches], |[pred, patches]| loss(pred, patches, norm_eps))
            }
            _ => unreachable!("{self:?} of {} inputs", inputs.len()),
        }
    }

    /// The gradients of the inputs that need one, given the output's.
    pub(super) fn backward(self, inputs: &[&Tensor], parts: Vec<Part>, grad: &Tensor) -> Vec<Option<Tensor>> {
        let mut parts = parts.into_iter();
        let mut part = || parts.next().expect("as many as the forward pass left");
        match (self, inputs) {
            (Self::Linear { precision }, &[x, weight, bias]) => {
                let grad = OutGrad::new(grad, precision);
                linear_backward(x, [weight, bias], &part(), &grad, precision, x.requires_grad()).into()
            }
            (Self::LayerNorm { .. } | Self::Loss { .. }, _) => part().recorded_backward(grad),
            (Self::Attention { precision, .. } | Self::Mlp { precision, .. }, _) => {
                branch_backward(inputs, [part(), part(), part(), part()], grad, precision)
            }
            _ => unreachable!("{self:?} of {} inputs", inputs.len()),
        }
    }
}

/// A factor of a matrix product. Shares the memory of `x` if that has the dtype already.
fn factor(x: &Tensor, precision: Precision) -> Tensor {
    x.to_kind(match precision {
        Precision::F32 => Kind::Float,
        Precision::Bf16 => Kind::BFloat16,
    })
}

/// `[.., D]` → `[R, D]`
fn rows(x: &Tensor) -> Tensor {
    x.reshape([-1, *x.size().last().expect("at least one axis")])
}

/// A linear map: `[.., d_in]`, the weight as a factor `[d_in, d_out]`, `[d_out]` → `[.., d_out]` in that precision
fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor, precision: Precision) -> Tensor {
    let [x, bias] = [x, bias].map(|tensor| factor(&tensor.detach(), precision));
    let mut shape = x.size();
    *shape.last_mut().expect("at least one axis") = bias.size()[0];
    product(&rows(&x), weight, Some(&bias)).reshape(shape)
}

/// The gradients of a linear map's inputs, each in the dtype of its input; that of `x` only if `needs_x`.
fn linear_backward(
    x: &Tensor,
    [weight, bias]: [&Tensor; 2],
    weight_factor: &Part,
    OutGrad { factor: grad, sums }: &OutGrad,
    precision: Precision,
    needs_x: bool,
) -> [Option<Tensor>; 3] {
    let of = |needed: bool, input: &Tensor, gradient: &dyn Fn() -> Tensor| {
        needed.then(|| gradient().to_kind(input.kind()))
    };
    [
        of(needs_x, x, &|| product(grad, &weight_factor.out().tr(), None).reshape(x.size())),
        of(weight.requires_grad(), weight, &|| {
            product_as(&rows(&factor(&x.detach(), precision)).tr(), grad, weight.kind())
        }),
        of(bias.requires_grad(), bias, &|| match sums {
            Some(sums) => sums.shallow_clone(),
            None => grad.sum_dim_intlist(0, false, None),
        }),
    ]
}

fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f32) -> Tensor {
    x.layer_norm(weight.size(), Some(weight), Some(bias), f64::from(eps), false)
}

/// A branch without its residual connection: norm, first linear map, `between`, second linear map.
fn branch(
    x: &Tensor,
    params: &[&Tensor],
    between: impl FnOnce(&Tensor, &mut Tape) -> Tensor,
    eps: f32,
    precision: Precision,
    tape: &mut Tape,
) -> Tensor {
    let &[norm_weight, norm_bias, in_weight, in_bias, out_weight, out_bias] = params else {
        unreachable!("a branch has six parameters")
    };
    let normed = tape.norm([x, norm_weight, norm_bias], eps, precision);
    let in_factor = tape.weight(in_weight, precision);
    let mapped = linear(&normed, &in_factor, in_bias, precision);
    let mixed = between(&mapped, tape);
    let out_factor = tape.weight(out_weight, precision);
    linear(&mixed, &out_factor, out_bias, precision)
}

/// The gradients of a branch's input and parameters, including the residual connection.
fn branch_backward(
    inputs: &[&Tensor],
    [norm, in_factor, between, out_factor]: [Part; 4],
    grad: &Tensor,
    precision: Precision,
) -> Vec<Option<Tensor>> {
    let &[x, norm_weight, norm_bias, in_weight, in_bias, out_weight, out_bias] = inputs else {
        unreachable!("a branch has an input and six parameters")
    };
    let of_out = OutGrad::new(grad, precision);
    let [of_mixed, of_out_weight, of_out_bias] =
        linear_backward(between.out(), [out_weight, out_bias], &out_factor, &of_out, precision, true);
    let of_mixed = of_mixed.expect("it was asked for");
    let of_mapped = match &between {
        Part::Gelu { cuda, x, .. } => {
            let (factor, sums) = cuda.gelu_backward(&of_mixed, &x.tensor);
            OutGrad { factor: rows(&factor), sums: Some(sums) }
        }
        _ => {
            let of_mapped = between.recorded_backward(&of_mixed).pop().flatten();
            OutGrad::new(&of_mapped.expect("recorded from its input on"), precision)
        }
    };
    let needs_norm = [x, norm_weight, norm_bias].iter().any(|input| input.requires_grad());
    let [of_normed, of_in_weight, of_in_bias] =
        linear_backward(norm.out(), [in_weight, in_bias], &in_factor, &of_mapped, precision, needs_norm);
    let mut grads = match (of_normed, &norm) {
        (Some(of_normed), Part::Norm(cuda, normed)) => {
            cuda.norm_backward(normed, x, norm_weight, &of_normed, grad).map(Some).into()
        }
        (Some(of_normed), _) => {
            let grads = norm.recorded_backward(&of_normed);
            if let Some(of_x) = &grads[0] {
                let _ = last_tokens(of_x, grad.size()[1] as usize).g_add_(grad);
            }
            grads
        }
        (None, _) => vec![None, None, None],
    };
    grads.extend([of_in_weight, of_in_bias, of_out_weight, of_out_bias]);
    grads
}

/// Adds a branch's output to the residual stream, which is f32.
fn sum(x: &Tensor, branch: &Tensor, precision: Precision) -> Tensor {
    let fits = x.kind() == Kind::Float && branch.kind() == Kind::BFloat16;
    match cuda::kernels(x, precision).filter(|_| fits) {
        Some(cuda) => cuda.add(x, branch),
        None => x + branch,
    }
}

/// `[B, L, D]` → `[B, Q, D]`
fn last_tokens(x: &Tensor, queries: usize) -> Tensor {
    let (len, queries) = (x.size()[1], queries as i64);
    // The backward pass of `narrow` fills a tensor with zeros and copies, even if it takes all tokens.
    if queries == len { x.shallow_clone() } else { x.narrow(1, len - queries, queries) }
}

/// Queries, keys and values `[B, L, 3 · D]` → `[B, Q, D]`
fn attention(qkv: &Tensor, num_heads: usize, queries: usize) -> Tensor {
    let (batch, _, width) = qkv.size3().expect("a tensor of rank 3");
    let heads = num_heads as i64;
    // Split along the last axis, so that one copy assembles their gradients.
    let parts = qkv.chunk(3, 2);
    let [q, k, v] = &parts[..] else { unreachable!("three times as wide as the tokens") };
    let [q, k, v] = [&last_tokens(q, queries), k, v]
        .map(|part| part.reshape([batch, part.size()[1], heads, -1]).transpose(1, 2)); // [B, N, L, D/N]
    Tensor::scaled_dot_product_attention(&q, &k, &v, None::<Tensor>, 0.0, false, None, false)
        .transpose(1, 2)
        .reshape([batch, queries as i64, width / 3])
}

/// `[B, M, P·P·C]` twice → `[1]`
fn loss(pred: &Tensor, patches: &Tensor, norm_eps: Option<f32>) -> Tensor {
    let normalized = norm_eps.map(|eps| {
        let (var, mean) = patches.var_mean_dim(-1, true, true);
        (patches - mean) / (var + f64::from(eps)).sqrt()
    });
    pred.mse_loss(normalized.as_ref().unwrap_or(patches), Reduction::Mean).reshape([1])
}
