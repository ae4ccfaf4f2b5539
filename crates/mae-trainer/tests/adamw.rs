//! Compares ten AdamW steps with transformers' model under PyTorch's optimizer. `mae-model/tests/golden/make_golden.py`
//! makes the expected values.

#[path = "../../mae-model/tests/common/mod.rs"]
mod common;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use common::{Golden, Pick, assert_slice, floats, tolerance, visit_official};
use mae_masking::{MaskBatch, Masking, num_keep};
use mae_trainer::{AdamW, Backward, Groups};

struct Value;

impl Pick for Value {
    fn pick<const D: usize>(&mut self, param: &Param<Tensor<D>>) -> Option<Tensor<D>> {
        param.is_require_grad().then(|| param.val())
    }
}

#[test]
fn ten_steps_follow_pytorch() {
    let device = Device::flex();
    let golden = Golden::open("transformers.safetensors");
    let mut model = golden.model(true, &device).train();
    let mut optimizer = AdamW::default().init(&model);
    let images = golden.tensor::<4>("image", &device);
    let len = model.config().geometry.num_patches();
    let keep = num_keep(len, 0.75).unwrap();

    let (noise, shape) = golden.get("steps.noise");
    let mut losses = Vec::new();
    for step in noise.chunks(shape[1] * shape[2]) {
        let rows: Vec<Masking> = step
            .chunks(len)
            .map(|row| {
                let row: Vec<f32> = row.iter().map(|v| *v as f32).collect();
                Masking::from_noise(&row, keep).unwrap()
            })
            .collect();
        let mut backward = Backward::alone();
        let loss = model.forward(images.clone(), &MaskBatch::new(&rows).unwrap());
        backward.add(&model, loss, (0, 1)).unwrap();
        let (gradients, loss) = backward.finish();
        let loss = mean(loss);
        losses.push(loss);
        model = optimizer.step(1e-3, model, gradients);
    }
    assert_slice("steps.loss", &losses, &golden.get("steps.loss").0, tolerance::STEPS);

    let dim = model.config().encoder.embed_dim;
    let decoder_dim = model.config().decoder.embed_dim;
    visit_official(&model, Value, |name, mut values| {
        let name = format!("steps.w.{name}");
        let (mut reference, _) = golden.get(&name);
        if name.ends_with("attn.qkv.bias") {
            // The keys' bias has a zero gradient in exact arithmetic; Adam turns its rounding errors into steps.
            let dim = if name.contains("decoder") { decoder_dim } else { dim };
            values.drain(dim..2 * dim);
            reference.drain(dim..2 * dim);
        }
        assert_slice(&name, &values, &reference, tolerance::STEPS);
    });
}

/// The mean loss of batches.
fn mean(losses: Vec<Tensor<1>>) -> f64 {
    floats(Tensor::cat(losses, 0).mean())[0]
}

#[test]
fn accumulated_gradients_are_the_mean_of_the_whole_batch() {
    let device = Device::flex();
    let golden = Golden::open("transformers.safetensors");
    let model = golden.model(true, &device).train();
    let images = golden.tensor::<4>("image", &device);
    let len = model.config().geometry.num_patches();
    let maskings: Vec<Masking> = golden
        .get("noise")
        .0
        .chunks(len)
        .map(|row| Masking::from_noise(&row.iter().map(|v| *v as f32).collect::<Vec<_>>(), 6).unwrap())
        .collect();

    let mut whole = Backward::alone();
    let loss = model.forward(images.clone(), &MaskBatch::new(&maskings).unwrap());
    whole.add(&model, loss, (0, 1)).unwrap();
    let mut halves = Backward::alone();
    for (i, image) in images.split(1, 0).into_iter().enumerate() {
        let loss = model.forward(image, &MaskBatch::new(&maskings[i..=i]).unwrap());
        halves.add(&model, loss, (i, 2)).unwrap();
    }
    let ((whole, whole_loss), (halves, halves_loss)) = (whole.finish(), halves.finish());
    let (whole_loss, halves_loss) = (mean(whole_loss), mean(halves_loss));
    assert!((whole_loss - halves_loss).abs() < 1e-6 * whole_loss);
    let gradient = |gradients: &burn::optim::GradientsParams| {
        floats(gradients.get::<2>(model.encoder.blocks[0].mlp.fc1.weight.id).unwrap())
    };
    assert_slice("fc1.weight", &gradient(&halves), &gradient(&whole), tolerance::OUTPUT);
}

#[test]
fn groups_are_those_of_the_official_code() {
    let model = Golden::open("transformers.safetensors").model(true, &Device::flex());
    let groups = Groups::of(&model);
    assert!(groups.no_decay.iter().all(|p| p.ends_with("bias") || p.contains("norm")));
    assert!(groups.decay.iter().all(|p| p.ends_with("weight") || p.ends_with("_token")));
    // The fixed positions of both towers are in neither group.
    let fixed = 26 * (32 + 24);
    assert_eq!(groups.sizes.0 + groups.sizes.1 + fixed, model.config().num_params());
}
