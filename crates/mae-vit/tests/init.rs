//! The initial weights have the official statistics, and depend on the seed alone.

use burn::tensor::{Device, Tensor};
use mae_vit::{Geometry, InitRng, StackConfig, VisionTransformer, VitConfig};

fn vit(seed: u64) -> VisionTransformer {
    let config = VitConfig {
        geometry: Geometry::new((32, 48), 8, 3).unwrap(),
        stack: StackConfig::new(192, 2, 3),
        norm_eps: 1e-6,
    };
    config.init(&mut InitRng::new(seed), &Device::flex()).unwrap()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    let data = tensor.into_data();
    data.as_slice::<f32>().unwrap().iter().map(|v| f64::from(*v)).collect()
}

fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt())
}

/// A Xavier-uniform matrix: bounded by √(6 / (in + out)), with the mean 0 and the deviation bound/√3 of a uniform
/// distribution, each within five standard errors.
fn assert_xavier(name: &str, weight: Tensor<2>) {
    let [d_in, d_out] = weight.dims();
    let bound = (6.0 / (d_in + d_out) as f64).sqrt();
    let values = values(weight);
    let n = values.len() as f64;
    let (mean, std) = moments(&values);
    let expected = bound / 3f64.sqrt();
    assert!(values.iter().all(|v| v.abs() <= bound * (1.0 + 1e-6)), "{name} exceeds {bound}");
    assert!(mean.abs() < 5.0 * expected / n.sqrt(), "{name}: mean {mean}");
    // The sample deviation of a uniform distribution has the relative standard error √(0.2 / n).
    assert!((std / expected - 1.0).abs() < 5.0 * (0.2 / n).sqrt(), "{name}: deviation {std}, not {expected}");
    let largest = values.iter().fold(0f64, |m, v| m.max(v.abs()));
    assert!(largest > 0.99 * bound, "{name}: the largest is {largest}, the bound {bound}");
}

#[test]
fn linear_maps_are_xavier_uniform_with_zero_biases() {
    let vit = vit(0);
    assert_xavier("patch_embed.proj", vit.patch_embed.proj.weight.val());
    for block in &vit.blocks {
        // qkv counts as one matrix of 3·D columns, as in the official code.
        let linears = [&block.attn.qkv, &block.attn.proj, &block.mlp.fc1, &block.mlp.fc2];
        for (name, linear) in ["qkv", "proj", "fc1", "fc2"].into_iter().zip(linears) {
            assert_xavier(name, linear.weight.val());
            assert!(values(linear.bias.val()).iter().all(|v| *v == 0.0), "{name}.bias");
        }
        for norm in [&block.norm1, &block.norm2, &vit.norm] {
            assert!(values(norm.weight.val()).iter().all(|v| *v == 1.0));
            assert!(values(norm.bias.val()).iter().all(|v| *v == 0.0));
        }
    }
}

#[test]
fn tokens_are_normal_with_deviation_a_fiftieth() {
    let mut rng = InitRng::new(7);
    let values: Vec<f64> = rng.normal(100_000, 0.02).into_iter().map(f64::from).collect();
    let (mean, std) = moments(&values);
    assert!(mean.abs() < 5.0 * 0.02 / 1e5f64.sqrt(), "{mean}");
    assert!((std / 0.02 - 1.0).abs() < 5.0 / 2e5f64.sqrt(), "{std}");
    // Normal tails: 4.55% lie beyond two deviations, with a standard error of 0.066%.
    let beyond = values.iter().filter(|v| v.abs() > 0.04).count() as f64 / 1e5;
    assert!((beyond - 0.0455).abs() < 5.0 * 0.00066, "{beyond}");
    let token = self::values(vit(0).cls_token.val());
    assert!(token.iter().any(|v| *v != 0.0) && token.iter().all(|v| v.abs() < 0.02 * 5.0));
}

#[test]
fn weights_follow_from_the_seed() {
    let weight = |seed| values(vit(seed).blocks[1].mlp.fc2.weight.val());
    assert_eq!(weight(3), weight(3));
    assert_ne!(weight(3), weight(4));
}

#[test]
fn encoding_a_subset_of_all_patches_is_encoding_the_image() {
    let device = Device::flex();
    let vit = vit(0);
    let geometry = vit.config().geometry;
    let bytes = InitRng::new(1).uniform(2 * 3 * 32 * 48, 1.0);
    let images = Tensor::<4>::from_data(burn::tensor::TensorData::new(bytes, [2, 3, 32, 48]), &device);
    let order: Vec<i32> = (0..24).rev().chain((0..24).map(|i| (i * 5) % 24)).collect();
    let ids = Tensor::from_data(burn::tensor::TensorData::new(order.clone(), [2, 24]), &device);
    let whole = vit.forward(images.clone());
    let kept = vit.forward_kept(mae_vit::patchify(images, &geometry), ids);
    // Attention does not depend on the order: the tokens are the same, permuted.
    let (whole, kept) = (values(whole), values(kept));
    for image in 0..2 {
        for (place, id) in std::iter::once(-1).chain(order[image * 24..][..24].iter().copied()).enumerate() {
            let token = |values: &[f64], at: usize| values[(image * 25 + at) * 192..][..192].to_vec();
            let (a, b) = (token(&whole, (id + 1) as usize), token(&kept, place));
            assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-4), "image {image}, patch {id}");
        }
    }
}
