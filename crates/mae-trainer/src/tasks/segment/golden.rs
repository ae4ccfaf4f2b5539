//! Compares the losses of label maps with PyTorch's.

use burn::tensor::{Device, Tensor, TensorData};
use mae_data::IGNORE;
use serde::Deserialize;

use super::loss::{Truth, channels_last};

#[derive(Deserialize)]
struct Golden {
    /// `[B, K, H, W]`, as in PyTorch.
    shape: [usize; 4],
    scores: Vec<f32>,
    labels: Vec<u16>,
    weights: Vec<f64>,
    plain: Case,
    weighted: Case,
    dice: Case,
}

#[derive(Deserialize)]
struct Case {
    loss: f64,
    gradient: Vec<f32>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../../../tests/golden/segment.json")).unwrap()
}

#[test]
fn losses_and_gradients_are_pytorchs() {
    let Golden { shape, scores, labels, weights, plain, weighted, dice } = golden();
    assert!(labels.contains(&IGNORE));
    let device = Device::flex().autodiff();
    let [batch, _, height, width] = shape;
    let truth = Truth::new(&labels, [batch, height, width], &device);
    let check = |name: &str, expected: Case, loss: &dyn Fn(Tensor<4>) -> Tensor<1>| {
        let scores = Tensor::<4>::from_data(TensorData::new(scores.clone(), shape), &device).require_grad();
        let loss = loss(channels_last(scores.clone()));
        let gradient = scores.grad(&loss.backward()).unwrap().into_data().try_to_vec::<f32>().unwrap();
        let off = (f64::from(loss.into_scalar::<f32>()) - expected.loss).abs();
        assert!(off < 1e-6, "{name}: the loss is {off} off");
        for (ours, theirs) in gradient.iter().zip(&expected.gradient) {
            assert!((ours - theirs).abs() < 1e-7, "{name}: {ours} instead of {theirs}");
        }
    };
    check("plain", plain, &|scores| truth.cross_entropy(scores, &[]));
    check("weighted", weighted, &|scores| truth.cross_entropy(scores, &weights));
    check("dice", dice, &|scores| truth.dice(scores));
}

#[test]
fn a_batch_that_is_ignored_as_a_whole_has_no_loss_and_no_gradient() {
    let Golden { shape, scores, labels, .. } = golden();
    let device = Device::flex().autodiff();
    let [batch, _, height, width] = shape;
    let truth = Truth::new(&vec![IGNORE; labels.len()], [batch, height, width], &device);
    let scores = Tensor::<4>::from_data(TensorData::new(scores, shape), &device).require_grad();
    let loss = truth.cross_entropy(channels_last(scores.clone()), &[]);
    let gradient = scores.grad(&loss.backward()).unwrap().into_data().try_to_vec::<f32>().unwrap();
    assert_eq!(loss.into_scalar::<f32>(), 0.0);
    assert!(gradient.iter().all(|number| *number == 0.0), "{gradient:?}");
}

#[test]
fn surprisal_is_the_cross_entropy_of_probabilities() {
    let Golden { shape, scores, labels, plain, .. } = golden();
    let device = Device::flex();
    let [batch, _, height, width] = shape;
    let truth = Truth::new(&labels, [batch, height, width], &device);
    let scores = Tensor::<4>::from_data(TensorData::new(scores, shape), &device);
    let (sum, count) = truth.surprisal(burn::tensor::activation::softmax(channels_last(scores), 3));
    assert_eq!(count, labels.iter().filter(|label| **label != IGNORE).count() as f64);
    assert!((sum / count - plain.loss).abs() < 1e-6, "{} instead of {}", sum / count, plain.loss);
}
