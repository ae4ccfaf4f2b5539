//! Compares whole tensors with transformers, lightly and a plain reference. `golden/make_golden.py` makes the reference
//! values, and `common::tolerance` holds every tolerance.

mod common;

use burn::module::{Module, Param};
use burn::tensor::{Device, Gradients, Tensor};
use common::{Golden, Pick, assert_slice, tolerance, visit_official};
use mae_masking::{MaskBatch, Masking, num_keep};
use mae_model::{Mae, MaeConfig, load_into};
use mae_vit::{Compute, Normalize, Precision, StackConfig};

/// Masks from the reference's noise, row by row.
fn masks(noise: &[f64], model: &Mae) -> MaskBatch {
    let len = model.config().geometry.num_patches();
    let keep = num_keep(len, 0.75).unwrap();
    let rows: Vec<Masking> = noise
        .chunks(len)
        .map(|row| {
            let noise: Vec<f32> = row.iter().map(|v| *v as f32).collect();
            Masking::from_noise(&noise, keep).unwrap()
        })
        .collect();
    MaskBatch::new(&rows).unwrap()
}

struct Gradient<'a>(&'a Gradients);

impl Pick for Gradient<'_> {
    fn pick<const D: usize>(&mut self, param: &Param<Tensor<D>>) -> Option<Tensor<D>> {
        param.is_require_grad().then(|| param.grad(self.0).expect("every trained parameter has a gradient"))
    }
}

/// Compares latent, prediction, mask, restore order, losses and all gradients of one file.
fn forward_and_gradients(file: &str) {
    let device = common::device();
    let golden = Golden::open(file);
    for (norm_pix_loss, suffix) in [(false, "raw"), (true, "norm_pix")] {
        let model = golden.model(norm_pix_loss, &device);
        let masks = masks(&golden.get("noise").0, &model);
        let images = golden.tensor::<4>("image", &device);

        let as_f64 = |values: &[i32]| values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
        assert_eq!(as_f64(masks.ids_restore()), golden.get("ids_restore").0);
        let mask: Vec<f64> = masks.mask().iter().map(|v| f64::from(*v)).collect();
        assert_eq!(mask, golden.get("mask").0);

        let out = model.reconstruct(images.clone(), &masks);
        golden.assert_close("latent", out.latent, tolerance::OUTPUT);
        golden.assert_close("pred", out.pred, tolerance::OUTPUT);

        let model = model.train();
        let loss = model.forward(images, &masks);
        let name = format!("loss.{suffix}");
        assert_slice(&name, &common::floats(loss.clone()), &golden.get(&name).0, tolerance::OUTPUT);

        let gradients = loss.backward();
        let mut compared = 0;
        visit_official(&model, Gradient(&gradients), |name, values| {
            let name = format!("grad.{suffix}.{name}");
            let (reference, _) = golden.get(&name);
            compared += 1;
            assert!(reference.iter().any(|v| *v != 0.0), "{name} says nothing");
            assert_slice(&name, &values, &reference, tolerance::GRADIENT);
        });
        // Twelve outside the blocks: two tokens, and weight and bias of the patch embedding, both norms, the decoder
        // embedding and the head. Twelve per block.
        let config = model.config();
        assert_eq!(compared, 12 + 12 * (config.encoder.depth + config.decoder.depth));
    }
}

#[test]
fn transformers_vit_mae_for_pre_training() {
    forward_and_gradients("transformers.safetensors");
}

#[test]
fn plain_reference_on_a_non_square_image_with_four_channels() {
    forward_and_gradients("reference.safetensors");
}

#[test]
fn lightlys_example() {
    let device = common::device();
    let golden = Golden::open("lightly.safetensors");
    let model = golden.model(false, &device);
    let len = model.config().geometry.num_patches();
    // lightly's indices count tokens, the class token's 0 included; ours count patches.
    let (idx_mask, shape) = golden.get("idx_mask");
    let rows: Vec<Masking> = idx_mask
        .chunks(shape[1])
        .map(|row| {
            let mut mask = vec![false; len];
            row.iter().for_each(|i| mask[*i as usize - 1] = true);
            Masking::from_mask(&mask).unwrap()
        })
        .collect();
    let masks = MaskBatch::new(&rows).unwrap();
    let images = golden.tensor::<4>("image", &device);
    let loss = model.forward(images.clone(), &masks);
    assert_slice("loss.raw", &common::floats(loss), &golden.get("loss.raw").0, tolerance::OUTPUT);

    // Ours predicts every patch in image order; pick lightly's masked ones in its order.
    let pred = model.reconstruct(images, &masks).pred;
    let [_, _, width] = pred.dims();
    let ours = common::floats(pred);
    let picked: Vec<f64> = idx_mask
        .iter()
        .enumerate()
        .flat_map(|(i, index)| {
            let row = (i / shape[1]) * len + *index as usize - 1;
            ours[row * width..(row + 1) * width].to_vec()
        })
        .collect();
    assert_slice("pred", &picked, &golden.get("pred").0, tolerance::OUTPUT);
}

/// timm's encoder with a decoder of ours, through one of our weight files.
fn timm_model(golden: &Golden, device: &Device) -> Mae {
    let config = MaeConfig {
        geometry: golden.geometry(),
        encoder: golden.encoder(),
        decoder: StackConfig::new(24, 1, 2),
        norm_eps: 1e-6,
        norm_pix_loss: false,
    };
    let fresh = config.init(0, device).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    mae_model::save(&fresh, &Normalize::imagenet(), &Default::default(), &path).unwrap();
    golden.overwrite(&path);
    load_into(fresh, &path).unwrap()
}

#[test]
fn timm_features_at_its_own_and_at_another_resolution() {
    let device = common::device();
    let golden = Golden::open("timm.safetensors");
    let model = timm_model(&golden, &device);
    let features = model.encode(golden.tensor::<4>("image", &device));
    golden.assert_close("features", features, tolerance::OUTPUT);

    let images = golden.tensor::<4>("resampled.image", &device);
    let [_, _, height, width] = images.dims();
    let encoder = model.encoder.with_image_size((height, width)).unwrap();
    golden.assert_close("resampled.pos_embed", encoder.pos_embed.val(), tolerance::OUTPUT);
    golden.assert_close("resampled.features", encoder.forward(images), tolerance::OUTPUT);
}

#[test]
fn timm_attention_weights_and_their_rollout() {
    let device = common::device();
    let golden = Golden::open("attention.safetensors");
    let encoder = timm_model(&golden, &device).encoder;
    let images = golden.tensor::<4>("image", &device);
    let attentions: Vec<Tensor<4>> = encoder.attentions(images.clone()).collect();
    assert_eq!(attentions.len(), golden.encoder().depth);
    for (block, weights) in attentions.iter().enumerate() {
        let sums = common::floats(weights.clone().sum_dim(3));
        assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-6), "rows of block {block}");
        golden.assert_close(&format!("attention.{block}"), weights.clone(), tolerance::OUTPUT);
    }
    golden.assert_close("rollout", encoder.rollout(images.clone()), tolerance::OUTPUT);

    let last = attentions[attentions.len() - 1].clone();
    let [batch, heads, len, _] = last.dims();
    let row = common::floats(last.slice([0..batch, 0..heads, 0..1, 1..len]));
    assert_eq!(common::floats(encoder.class_attention(images)), row);
}

#[test]
fn unmasked_features_of_the_reference() {
    let device = common::device();
    let golden = Golden::open("reference.safetensors");
    let model = golden.model(false, &device);
    let features = model.encode(golden.tensor::<4>("image", &device));
    golden.assert_close("features", features, tolerance::OUTPUT);
}

#[test]
fn in_bf16_the_losses_stay_near_those_of_the_reference() {
    let device = common::device();
    let bf16 = Compute { precision: Precision::Bf16, grad_checkpointing: false };
    if !Precision::Bf16.is_supported_by(&device) {
        return;
    }
    for file in ["transformers.safetensors", "reference.safetensors"] {
        let golden = Golden::open(file);
        for (norm_pix_loss, suffix) in [(false, "raw"), (true, "norm_pix")] {
            let model = golden.model(norm_pix_loss, &device);
            let masks = masks(&golden.get("noise").0, &model);
            let images = golden.tensor::<4>("image", &device);
            let whole = common::floats(model.forward(images.clone(), &masks));
            let model = model.with_compute(bf16).train();
            let loss = model.forward(images, &masks);
            let name = format!("loss.{suffix}");
            assert_ne!(common::floats(loss.clone()), whole, "{name} of {file} is that of f32");
            assert_slice(&name, &common::floats(loss.clone()), &golden.get(&name).0, tolerance::BF16_LOSS);
            let gradients = loss.backward();
            visit_official(&model, Gradient(&gradients), |name, values| {
                assert!(values.iter().all(|value| value.is_finite()), "the gradient of {name}");
            });
        }
    }
}
