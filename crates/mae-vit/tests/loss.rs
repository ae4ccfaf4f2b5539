//! The loss of images with missing pixels, against its definition in f64.

use burn::tensor::{Device, Tensor, TensorData};
use mae_vit::{InitRng, ops};

const SHAPE: [usize; 3] = [2, 5, 48];

fn random(seed: u64) -> Vec<f32> {
    InitRng::new(seed).uniform(SHAPE.iter().product(), 1.0)
}

fn tensor(numbers: &[f32]) -> Tensor<3> {
    Tensor::from_data(TensorData::new(numbers.to_vec(), SHAPE), &Device::flex().autodiff())
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

/// A presence mask that lacks a third of the pixels, all of one patch, and all but one pixel of another.
fn present() -> Vec<f32> {
    let draw = random(7);
    let pixel = |i: usize| match i / SHAPE[2] {
        2 => 0.0,
        3 => f32::from(i % SHAPE[2] == 11),
        _ => f32::from(draw[i] > -0.33),
    };
    (0..draw.len()).map(pixel).collect()
}

fn defined(pred: &[f32], patches: &[f32], present: &[f32], norm_eps: Option<f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    let patches = patches.chunks(SHAPE[2]).zip(pred.chunks(SHAPE[2])).zip(present.chunks(SHAPE[2]));
    for ((patch, pred), present) in patches {
        let seen: Vec<usize> = (0..SHAPE[2]).filter(|i| present[*i] == 1.0).collect();
        let number = |i: usize| f64::from(patch[i]);
        let mean = seen.iter().map(|i| number(*i)).sum::<f64>() / seen.len() as f64;
        let squares = seen.iter().map(|i| (number(*i) - mean).powi(2)).sum::<f64>();
        let var = squares / (seen.len() as f64 - 1.0).max(1.0);
        for i in seen {
            let target = norm_eps.map_or(number(i), |eps| (number(i) - mean) / (var + eps).sqrt());
            sum += (f64::from(pred[i]) - target).powi(2);
            count += 1.0;
        }
    }
    sum / count
}

#[test]
fn it_is_the_mean_over_present_pixels_whatever_the_others_are() {
    let (pred, patches, present) = (random(1), random(2), present());
    for norm_eps in [None, Some(1e-6)] {
        let loss = |patches: &[f32]| {
            let leaf = tensor(&pred).require_grad();
            let loss =
                ops::reconstruction_loss_present(leaf.clone(), tensor(patches), tensor(&present), norm_eps);
            let gradient = floats(leaf.grad(&loss.backward()).unwrap());
            (floats(loss)[0], gradient)
        };
        let (found, gradient) = loss(&patches);
        let expected = defined(&pred, &patches, &present, norm_eps);
        assert!((f64::from(found) - expected).abs() < 1e-5 * expected, "{found}, not {expected}");
        assert!(gradient.iter().zip(&present).all(|(g, p)| g.is_finite() && (*p == 1.0 || *g == 0.0)));

        let other: Vec<f32> =
            patches.iter().zip(&present).map(|(x, p)| if *p == 1.0 { *x } else { 0.5 }).collect();
        let again = loss(&other).0;
        assert!((again - found).abs() <= 2e-6 * found, "{again} {found}");
    }
}

#[test]
fn without_missing_pixels_it_is_the_usual_loss() {
    let (pred, patches, all) = (random(3), random(4), vec![1.0; random(3).len()]);
    for norm_eps in [None, Some(1e-6)] {
        let usual = floats(ops::reconstruction_loss(tensor(&pred), tensor(&patches), norm_eps))[0];
        let ours = ops::reconstruction_loss_present(tensor(&pred), tensor(&patches), tensor(&all), norm_eps);
        let ours = floats(ours)[0];
        assert!((ours - usual).abs() < 1e-6 * usual, "{ours} {usual}");
    }
}

#[test]
fn no_pixel_has_no_loss() {
    let none = vec![0.0; random(3).len()];
    let loss = ops::reconstruction_loss_present(tensor(&random(1)), tensor(&none), tensor(&none), Some(1e-6));
    assert_eq!(floats(loss), [0.0]);
}
