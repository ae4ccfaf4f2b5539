//! The fused operations against the portable ones: outputs, and gradients of everything that has one.

use burn::tensor::{Device, Tensor, TensorData};
use mae_vit::InitRng;
use mae_vit::ops::{self, AdamWStep, BranchParams, portable};

/// The backends with operations of their own: libtorch where it is compiled in.
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

/// Largest difference allowed, relative to the largest number of the portable result.
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
                run(x.clone(), p.clone(), |x, p| ops::attention_branch(x, p, heads, shape[1], 1e-6)),
                run(x.clone(), p.clone(), |x, p| portable::attention_branch(x, p, heads, shape[1], 1e-6)),
            );
            let queries = shape[1].div_ceil(2);
            compare(
                run(x.clone(), p.clone(), |x, p| ops::attention_branch(x, p, heads, queries, 1e-6)),
                run(x, p, |x, p| portable::attention_branch(x, p, heads, queries, 1e-6)),
            );
            let (x, p) = params(shape, hidden, hidden, &device);
            compare(
                run(x.clone(), p.clone(), |x, p| ops::mlp_branch(x, p, 1e-6)),
                run(x, p, |x, p| portable::mlp_branch(x, p, 1e-6)),
            );
        }
    }
}

#[test]
fn tokens_that_do_not_ask_change_nothing_for_those_that_do() {
    for device in devices().into_iter().map(Device::autodiff) {
        let (x, p) = params([2, 9, 12], 36, 12, &device);
        let all = portable::attention_branch(x.clone(), p.clone(), 3, 9, 1e-6).slice([0..2, 5..9, 0..12]);
        assert_near("last four", &floats(ops::attention_branch(x, p, 3, 4, 1e-6)), &floats(all));
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
            run(&|x| ops::linear(x, weight.clone(), bias.clone()), &|x| {
                ops::layer_norm(x, scale.clone(), shift.clone(), 1e-6)
            }),
            run(&|x| portable::linear(x, weight.clone(), bias.clone()), &|x| {
                portable::layer_norm(x, scale.clone(), shift.clone(), 1e-6)
            }),
        );
    }
}

#[test]
fn what_needs_no_gradient_gets_none() {
    for device in devices().into_iter().map(Device::autodiff) {
        let x = random([3, 4], 0, &device);
        let weight = random([4, 2], 1, &device).require_grad();
        let bias = random([2], 2, &device);
        let grads = objective(ops::linear(x.clone(), weight.clone(), bias.clone())).backward();
        assert!(weight.grad(&grads).is_some() && x.grad(&grads).is_none() && bias.grad(&grads).is_none());
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
        let untracked = ops::attention_branch(x.clone().inner(), inner, 3, 5, 1e-6);
        assert_eq!(floats(untracked), floats(ops::attention_branch(x, p, 3, 5, 1e-6)));
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
                // Weighted, as accumulation does.
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
        // A parameter that someone else still holds is not written to.
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
        let reference: f64 = floats(x.clone()).iter().map(|x| f64::from(*x).powi(2)).sum();
        let ours = f64::from(ops::sum_of_squares(x).into_scalar::<f32>());
        assert!((ours / reference - 1.0).abs() < 1e-6, "{ours} {reference}");
    }
}
