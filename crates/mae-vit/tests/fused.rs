//! Compares the fused operations with the portable ones: outputs, and the gradients of everything that has one.

use burn::tensor::{Device, Int, Tensor, TensorData};
use mae_vit::ops::{self, Activation, AdamWStep, BranchParams, portable};
use mae_vit::{Compute, InitRng, Precision};

/// The backends with fused operations: Flex, and libtorch if it is compiled in.
#[cfg_attr(
    feature = "tch",
    allow(deprecated, reason = "Burn means to give up libtorch; until then it is here")
)]
fn devices() -> Vec<Device> {
    vec![
        Device::flex(),
        #[cfg(feature = "tch")]
        Device::libtorch(),
    ]
}

/// In f32, with everything kept for the backward pass.
const KEEP: Compute = Compute { precision: Precision::F32, grad_checkpointing: false };

/// The largest difference allowed, relative to the largest absolute value of the portable result.
const TOLERANCE: f32 = 1e-5;

fn random<const D: usize>(shape: [usize; D], seed: u64, device: &Device) -> Tensor<D> {
    let values = InitRng::new(seed).uniform(shape.iter().product(), 1.0);
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

fn assert_near(what: &str, ours: &[f32], reference: &[f32]) {
    assert_eq!(ours.len(), reference.len(), "{what}");
    let scale = reference.iter().fold(1e-6_f32, |max, x| max.max(x.abs()));
    for (i, (ours, reference)) in ours.iter().zip(reference).enumerate() {
        assert!((ours - reference).abs() / scale < TOLERANCE, "{what}[{i}] = {ours}, not {reference}");
    }
}

/// Weights an output so that its gradient is not the same everywhere.
fn objective<const D: usize>(y: Tensor<D>) -> Tensor<1> {
    let weights = random(y.dims(), 77, &y.device());
    (y * weights).sum()
}

fn params(
    [batch, len, width]: [usize; 3],
    inner: usize,
    out: usize,
    device: &Device,
) -> (Tensor<3>, BranchParams) {
    let params = BranchParams {
        norm_weight: random([width], 1, device).require_grad(),
        norm_bias: random([width], 2, device).require_grad(),
        in_weight: random([width, inner], 3, device).require_grad(),
        in_bias: random([inner], 4, device).require_grad(),
        out_weight: random([out, width], 5, device).require_grad(),
        out_bias: random([width], 6, device).require_grad(),
    };
    (random([batch, len, width], 0, device).require_grad(), params)
}

/// The output and all seven gradients.
fn run(
    x: Tensor<3>,
    params: BranchParams,
    f: impl Fn(Tensor<3>, BranchParams) -> Tensor<3>,
) -> Vec<Vec<f32>> {
    let y = f(x.clone(), params.clone());
    let grads = objective(y.clone()).backward();
    vec![
        floats(y),
        floats(x.grad(&grads).unwrap()),
        floats(params.norm_weight.grad(&grads).unwrap()),
        floats(params.norm_bias.grad(&grads).unwrap()),
        floats(params.in_weight.grad(&grads).unwrap()),
        floats(params.in_bias.grad(&grads).unwrap()),
        floats(params.out_weight.grad(&grads).unwrap()),
        floats(params.out_bias.grad(&grads).unwrap()),
    ]
}

fn compare(fused: Vec<Vec<f32>>, reference: Vec<Vec<f32>>) {
    for (i, (fused, reference)) in fused.iter().zip(&reference).enumerate() {
        assert_near(&format!("result {i}"), fused, reference);
    }
}

const SHAPES: [([usize; 3], usize, usize); 4] =
    [([2, 5, 12], 2, 7), ([3, 50, 24], 3, 96), ([1, 1, 6], 1, 5), ([1, 150, 8], 4, 32)];

#[test]
fn branches_agree_with_the_portable_ones() {
    for device in devices().into_iter().map(Device::autodiff) {
        for (shape, heads, hidden) in SHAPES {
            let width = shape[2];
            let (x, p) = params(shape, 3 * width, width, &device);
            compare(
                run(x.clone(), p.clone(), |x, p| ops::attention_branch(x, p, heads, shape[1], 1e-6, KEEP)),
                run(x.clone(), p.clone(), |x, p| {
                    portable::attention_branch(x, p, heads, shape[1], 1e-6, KEEP)
                }),
            );
            let queries = shape[1].div_ceil(2);
            compare(
                run(x.clone(), p.clone(), |x, p| ops::attention_branch(x, p, heads, queries, 1e-6, KEEP)),
                run(x, p, |x, p| portable::attention_branch(x, p, heads, queries, 1e-6, KEEP)),
            );
            let (x, p) = params(shape, hidden, hidden, &device);
            compare(
                run(x.clone(), p.clone(), |x, p| ops::mlp_branch(x, p, 1e-6, KEEP)),
                run(x, p, |x, p| portable::mlp_branch(x, p, 1e-6, KEEP)),
            );
        }
    }
}

#[test]
fn tokens_that_do_not_ask_change_nothing_for_those_that_do() {
    for device in devices().into_iter().map(Device::autodiff) {
        let (x, p) = params([2, 9, 12], 36, 12, &device);
        let all =
            portable::attention_branch(x.clone(), p.clone(), 3, 9, 1e-6, KEEP).slice([0..2, 5..9, 0..12]);
        assert_near("last four", &floats(ops::attention_branch(x, p, 3, 4, 1e-6, KEEP)), &floats(all));
    }
}

#[test]
fn linear_and_norm_agree_with_the_portable_ones() {
    for device in devices().into_iter().map(Device::autodiff) {
        let x = random([2, 5, 6], 0, &device).require_grad();
        let (weight, bias) =
            (random([6, 9], 1, &device).require_grad(), random([9], 2, &device).require_grad());
        let (scale, shift) = (random([6], 3, &device).require_grad(), random([6], 4, &device).require_grad());
        // Strided inputs, and one that is used twice.
        let run = |linear: &dyn Fn(Tensor<3>) -> Tensor<3>, norm: &dyn Fn(Tensor<3>) -> Tensor<3>| {
            let view = x.clone().swap_dims(0, 1);
            let y = objective(linear(norm(view.clone())) * 2.0) + objective(linear(view));
            let grads = y.clone().backward();
            vec![
                floats(y),
                floats(x.grad(&grads).unwrap()),
                floats(weight.grad(&grads).unwrap()),
                floats(bias.grad(&grads).unwrap()),
                floats(scale.grad(&grads).unwrap()),
                floats(shift.grad(&grads).unwrap()),
            ]
        };
        compare(
            run(&|x| ops::linear(x, weight.clone(), bias.clone(), Precision::F32), &|x| {
                ops::layer_norm(x, scale.clone(), shift.clone(), 1e-6)
            }),
            run(&|x| portable::linear(x, weight.clone(), bias.clone(), Precision::F32), &|x| {
                portable::layer_norm(x, scale.clone(), shift.clone(), 1e-6)
            }),
        );
    }
}

#[test]
fn batch_norm_agrees_with_the_portable_one() {
    type Norm = fn(Tensor<4>, Tensor<1>, Tensor<1>, f64, Activation) -> (Tensor<4>, [Tensor<1>; 2]);
    for device in devices().into_iter().map(Device::autodiff) {
        for activation in [Activation::Identity, Activation::Relu, Activation::Gelu] {
            let x = random([3, 6, 5, 4], 0, &device).require_grad();
            let [weight, bias] = [1, 2].map(|seed| random([6], seed, &device).require_grad());
            let run = |norm: Norm| {
                // A strided input, and one that is used twice.
                let view = x.clone().permute([0, 3, 2, 1]); // [3, 4, 5, 6]
                let (y, [mean, var]) = norm(view.clone(), weight.clone(), bias.clone(), 1e-5, activation);
                let grads = (objective(y.clone()) + objective(view)).backward();
                let inputs = [floats(weight.grad(&grads).unwrap()), floats(bias.grad(&grads).unwrap())];
                let [of_weight, of_bias] = inputs;
                vec![
                    floats(y),
                    floats(mean),
                    floats(var),
                    floats(x.grad(&grads).unwrap()),
                    of_weight,
                    of_bias,
                ]
            };
            compare(run(ops::batch_norm), run(portable::batch_norm));
        }
    }
}

#[test]
fn weighted_sums_and_cross_entropy_agree_with_the_portable_ones() {
    type Mix = fn(Tensor<3>, &[f32]) -> Tensor<3>;
    type Loss = fn(Tensor<2>, Tensor<1, Int>, Tensor<1>) -> Tensor<1>;
    for device in devices().into_iter().map(Device::autodiff) {
        let x = random([4, 2, 3], 0, &device).require_grad();
        let matrix = [0.5, 0.5, 0.0, 0.25, 0.75, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.2, 0.3, 0.1, 0.4];
        let classes = Tensor::<1, Int>::from_data([2, 0, 1, 1, 0, 2, 2, 1], &device);
        let weights = Tensor::<1>::from_data([1.0, 0.0, 2.0, 1.0, 1.0, 0.5, 1.0, 3.0], &device);
        let run = |mix: Mix, loss: Loss| {
            let mixed = mix(x.clone().swap_dims(0, 1), &matrix); // [2, 4, 3]
            let loss = loss(mixed.reshape([8, 3]).mul_scalar(5.0), classes.clone(), weights.clone());
            let grads = loss.clone().mul_scalar(0.4).backward();
            vec![floats(loss), floats(x.grad(&grads).unwrap())]
        };
        compare(run(ops::mix_rows, ops::cross_entropy), run(portable::mix_rows, portable::cross_entropy));
    }
}

#[test]
fn what_needs_no_gradient_gets_none() {
    for device in devices().into_iter().map(Device::autodiff) {
        let x = random([3, 4], 0, &device);
        let weight = random([4, 2], 1, &device).require_grad();
        let bias = random([2], 2, &device);
        let grads =
            objective(ops::linear(x.clone(), weight.clone(), bias.clone(), Precision::F32)).backward();
        assert!(weight.grad(&grads).is_some() && x.grad(&grads).is_none() && bias.grad(&grads).is_none());
    }
}

#[test]
fn what_is_computed_again_is_what_was_kept() {
    const AGAIN: Compute = Compute { grad_checkpointing: true, ..KEEP };
    for device in devices().into_iter().map(Device::autodiff) {
        let (x, p) = params([3, 50, 24], 72, 24, &device);
        let attention =
            |compute| run(x.clone(), p.clone(), |x, p| ops::attention_branch(x, p, 3, 40, 1e-6, compute));
        assert_eq!(attention(AGAIN), attention(KEEP), "{device:?}");
        let (x, p) = params([3, 50, 24], 96, 96, &device);
        let mlp = |compute| run(x.clone(), p.clone(), |x, p| ops::mlp_branch(x, p, 1e-6, compute));
        assert_eq!(mlp(AGAIN), mlp(KEEP), "{device:?}");
    }
}

/// The norm of the difference from the reference, relative to the reference's norm.
fn distance(ours: &[f32], reference: &[f32]) -> f32 {
    let length = |numbers: &mut dyn Iterator<Item = f32>| numbers.map(|x| x * x).sum::<f32>().sqrt();
    length(&mut ours.iter().zip(reference).map(|(a, b)| a - b)) / length(&mut reference.iter().copied())
}

/// Factors with 8 significant bits are off by up to 2^-9 each; the rest is f32.
#[test]
fn products_of_bf16_are_near_those_of_f32_and_all_else_is_f32() {
    const BF16: Compute = Compute { precision: Precision::Bf16, ..KEEP };
    // Scales weights to about their Xavier initialisation: with larger ones, the softmax is 1 for a single token.
    let small = |weight: Tensor<2>, bound: f64| (weight.detach() * bound).detach().require_grad();
    for device in devices().into_iter().map(Device::autodiff) {
        let (x, mut p) = params([3, 50, 24], 72, 24, &device);
        (p.in_weight, p.out_weight) = (small(p.in_weight, 0.25), small(p.out_weight, 0.35));
        let attention =
            |compute| run(x.clone(), p.clone(), |x, p| ops::attention_branch(x, p, 3, 40, 1e-6, compute));
        let (y, mut q) = params([3, 50, 24], 96, 96, &device);
        (q.in_weight, q.out_weight) = (small(q.in_weight, 0.22), small(q.out_weight, 0.22));
        let mlp = |compute| run(y.clone(), q.clone(), |x, p| ops::mlp_branch(x, p, 1e-6, compute));
        let rounded = [attention(BF16), mlp(BF16)].concat();
        for (i, (rounded, whole)) in rounded.iter().zip([attention(KEEP), mlp(KEEP)].concat()).enumerate() {
            let off = distance(rounded, &whole);
            assert!(off < 1e-2, "result {i} on {device:?} is off by {off}");
            let is_output = i % 8 == 0;
            assert!(
                !is_output || off > 1e-4,
                "output {i} on {device:?} is off by {off}: nothing was rounded"
            );
        }
        // The residual stream is not rounded: with zero weights, the output equals the input bit for bit.
        let zero =
            BranchParams { out_weight: q.out_weight.zeros_like(), out_bias: q.out_bias.zeros_like(), ..q };
        assert_eq!(floats(ops::mlp_branch(y.clone(), zero, 1e-6, BF16)), floats(y));
    }
}

#[test]
fn without_autodiff_the_outputs_are_the_same() {
    for device in devices().into_iter().map(Device::autodiff) {
        let (x, p) = params([2, 7, 12], 36, 12, &device);
        let inner = BranchParams {
            norm_weight: p.norm_weight.clone().inner(),
            norm_bias: p.norm_bias.clone().inner(),
            in_weight: p.in_weight.clone().inner(),
            in_bias: p.in_bias.clone().inner(),
            out_weight: p.out_weight.clone().inner(),
            out_bias: p.out_bias.clone().inner(),
        };
        let untracked = ops::attention_branch(x.clone().inner(), inner, 3, 5, 1e-6, KEEP);
        assert_eq!(floats(untracked), floats(ops::attention_branch(x, p, 3, 5, 1e-6, KEEP)));
    }
}

#[test]
fn the_loss_agrees_with_the_portable_one() {
    for device in devices().into_iter().map(Device::autodiff) {
        for eps in [None, Some(1e-6)] {
            let pred = random([2, 3, 12], 0, &device).require_grad();
            let patches = random([2, 3, 12], 1, &device);
            let run = |f: &dyn Fn(Tensor<3>, Tensor<3>, Option<f64>) -> Tensor<1>| {
                let loss = f(pred.clone(), patches.clone(), eps);
                // Scaled, as in gradient accumulation.
                let grads = loss.clone().div_scalar(4.0).backward();
                vec![floats(loss), floats(pred.grad(&grads).unwrap())]
            };
            compare(run(&ops::reconstruction_loss), run(&portable::reconstruction_loss));
        }
    }
}

#[test]
fn adamw_is_the_portable_one_on_flex_to_the_last_bit() {
    type AdamW = fn(Tensor<2>, Tensor<2>, [Tensor<2>; 2], &AdamWStep) -> (Tensor<2>, [Tensor<2>; 2]);
    let shape = [37, 1001];
    let run = |adamw: AdamW, device: &Device| {
        let start = random(shape, 0, device);
        let (mut param, mut moments) = (start.clone(), [start.zeros_like(), start.zeros_like()]);
        for time in 1..=3 {
            let grad = random(shape, time as u64, device);
            let step = AdamWStep { betas: (0.9, 0.95), eps: 1e-8, weight_decay: 0.05, lr: 1.5e-3, time };
            (param, moments) = adamw(param, grad, moments, &step);
        }
        // A parameter that is still shared is not overwritten.
        assert_eq!(floats(start), floats(random(shape, 0, device)));
        let [first, second] = moments;
        [param, first, second].map(|tensor| floats(tensor).into_iter().map(f32::to_bits).collect::<Vec<_>>())
    };
    let reference = run(portable::adamw, &Device::flex());
    for device in devices() {
        assert!(run(ops::adamw, &device) == reference, "{device:?}");
    }
}

#[test]
fn the_sum_of_squares_is_that_of_the_numbers() {
    for device in devices() {
        let x = random([40_000, 3], 0, &device);
        let reference = 2.0 * floats(x.clone()).iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        let ours = f64::from(
            ops::sum_of_squares(vec![x.clone().flatten(0, 1), x.flatten(0, 1)]).into_scalar::<f32>(),
        );
        assert!((ours / reference - 1.0).abs() < 1e-6, "{ours} {reference}");
    }
}
