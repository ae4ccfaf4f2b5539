//! Compares steps of fine-tuning and of a probe with timm's models, losses and optimizers in PyTorch.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData};
use mae_model::{Classifier, ClassifierConfig, Head, Hints, WeightFile};
use mae_vit::{DropPath, Geometry, Normalize, Pooling, StackConfig, VitConfig};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::Deserialize;

use super::probe::standardise;
use super::{Lars, Mix, Mixing, binary_cross_entropy, cross_entropy};
use crate::run::single;
use crate::tasks::layers::{layer_scales, layer_wise};
use crate::{AdamW, At};

#[derive(Deserialize)]
struct Golden {
    finetune: Finetune,
    probe: Probe,
    multi_label: MultiLabel,
}

#[derive(Deserialize)]
struct MultiLabel {
    batch: usize,
    classes: usize,
    scores: Vec<f32>,
    targets: Vec<f32>,
    loss: f64,
    gradient: Vec<f32>,
}

#[derive(Deserialize)]
struct Initial {
    shape: Vec<usize>,
    values: Vec<f32>,
}

#[derive(Deserialize)]
struct Finetune {
    size: (usize, usize),
    heads: usize,
    depth: usize,
    classes: usize,
    batch: usize,
    decay: f64,
    lr: Vec<f64>,
    smoothing: f64,
    kept: f64,
    drop: f64,
    initial: BTreeMap<String, Initial>,
    images: Vec<u8>,
    labels: Vec<u32>,
    draws: Vec<f64>,
    losses: Vec<f64>,
    scales: BTreeMap<String, f64>,
    #[serde(rename = "final")]
    last: BTreeMap<String, Vec<f32>>,
}

#[derive(Deserialize)]
struct Probe {
    images: usize,
    dim: usize,
    classes: usize,
    lr: Vec<f64>,
    weight: Vec<f32>,
    features: Vec<f32>,
    labels: Vec<u32>,
    losses: Vec<f64>,
    final_weight: Vec<f32>,
    final_bias: Vec<f32>,
    running_mean: Vec<f32>,
    running_var: Vec<f32>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../../../tests/golden/classify.json")).unwrap()
}

/// The largest difference, relative to the largest of `theirs`.
fn off(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    let largest = theirs.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest
}

fn assert_losses(ours: &[f64], theirs: &[f64]) {
    assert!(theirs.len() >= 4 && ours.len() == theirs.len());
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert!((ours / theirs - 1.0).abs() < 1e-5, "{ours}, {theirs}");
    }
}

#[test]
fn fine_tuning_is_timms_step_for_step() {
    let golden = golden().finetune;
    let (device, folder) = (Device::flex(), tempfile::tempdir().unwrap());
    let path = folder.path().join("timm.safetensors");
    let bytes = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let initial: Vec<_> =
        golden.initial.iter().map(|(name, Initial { shape, values })| (name, shape, bytes(values))).collect();
    let views = initial
        .iter()
        .map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap()));
    safetensors::serialize_to_file(views, None, &path).unwrap();
    let hints = Hints { num_heads: Some(golden.heads), image_size: Some(golden.size), ..Hints::default() };
    let (model, used) = WeightFile::open(&path).unwrap().classifier(&hints, &device).unwrap();
    assert!(used.unused.is_empty());
    assert_eq!(model.config().pooling, Pooling::MeanPatch);

    // All of timm's parameters are trained here, each at the same multiple of the learning rate.
    let scales = layer_scales(&model, golden.decay);
    assert_eq!(scales.len(), golden.scales.len());
    for (param, scale) in &scales {
        let name = param.path.strip_prefix("encoder.").unwrap_or(&param.path);
        let theirs = golden.scales.get(name).or_else(|| golden.scales.get(&format!("fc_{name}"))).unwrap();
        assert!((scale - theirs).abs() < 1e-12, "{name}: {scale}, {theirs}");
    }

    let adamw = AdamW { betas: (0.9, 0.999), ..AdamW::default() };
    let mut optimizer = layer_wise(&model, adamw, golden.decay);
    let mut model = model.train();
    let mix = Mix { label_smoothing: golden.smoothing, ..Mix::default() };
    let mixing = Mixing::Mixup { kept: golden.kept };
    let normalize = Normalize::new(vec![0.5; 3], vec![1.0; 3]).unwrap();
    let (height, width) = golden.size;
    let steps =
        golden.images.chunks(golden.batch * 3 * height * width).zip(golden.labels.chunks(golden.batch));
    let draws = golden.draws.chunks(golden.depth * 2 * golden.batch);
    let mut losses = Vec::new();
    for (((images, labels), draws), lr) in steps.zip(draws).zip(&golden.lr) {
        let shape = [golden.batch, 3, height, width];
        let images = mixing.apply(normalize.images(images.to_vec(), shape, &device));
        let targets = mix.targets(&mixing, labels.as_chunks::<1>().0, golden.classes);
        let targets = Tensor::from_data(TensorData::new(targets, [golden.batch, golden.classes]), &device);
        let mut draws = draws.iter().copied();
        let drop = DropPath::draw(golden.drop, golden.depth, golden.batch, || draws.next().unwrap());
        let loss = cross_entropy(model.classify(model.features(images, Some(&drop))), targets);
        losses.push(f64::from(loss.clone().inner().into_scalar::<f32>()));
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(*lr, model, gradients);
    }
    assert_losses(&losses, &golden.losses);

    let path = folder.path().join("ours.safetensors");
    mae_model::save(&model.valid(), &normalize, &BTreeMap::new(), &path).unwrap();
    let file = std::fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&file).unwrap();
    assert_eq!(file.len(), golden.last.len());
    for (name, theirs) in &golden.last {
        let ours = file.tensor(name).unwrap();
        let mut ours: Vec<f32> = ours.data().as_chunks().0.iter().map(|x| f32::from_le_bytes(*x)).collect();
        if name.ends_with("qkv.bias") {
            // The keys' bias has a zero gradient in exact arithmetic; Adam turns its rounding errors into steps.
            let keys = ours.len() / 3..2 * ours.len() / 3;
            ours[keys.clone()].copy_from_slice(&theirs[keys]);
        }
        let off = off(&ours, theirs);
        assert!(off < 1e-4, "{name}: {off}");
    }
}

#[test]
fn a_probe_is_trained_as_by_timms_lars() {
    let golden = golden().probe;
    let device = Device::flex();
    // An encoder as wide as the features. What it computes is not used.
    let geometry = Geometry::new((4, 4), 4, 3).unwrap();
    let stack = StackConfig { embed_dim: 8, depth: 1, num_heads: 1, mlp_dim: 8 };
    let config = ClassifierConfig {
        vit: VitConfig { geometry, stack, norm_eps: 1e-6 },
        pooling: Pooling::ClassToken,
        head: Head::Probe,
        classes: (0..golden.classes).map(|class| class.to_string()).collect(),
        multi_label: false,
    };
    let wide = |rows: &[f32]| -> Vec<f32> {
        // Appends a feature that is 0 and remains 0, to reach the encoder's width.
        rows.chunks(golden.dim).flat_map(|row| row.iter().copied().chain([0.0])).collect()
    };
    let width = golden.dim + 1;
    assert_eq!(width, stack.embed_dim);
    let mut model = config.init(0, &device).unwrap().with_frozen_encoder();
    let weight = TensorData::new(wide(&golden.weight), [golden.classes, width]);
    let weight = Tensor::<2>::from_data(weight, &device).transpose();
    model.head.weight = model.head.weight.map(|_| weight);
    let mut model: Classifier = model.train();
    let mut optimizer = ModuleOptimizer::from(Lars::default());
    let steps = golden.features.chunks(golden.images * golden.dim).zip(golden.labels.chunks(golden.images));
    let (ranks, normalize) = (single(), Normalize::imagenet());
    let at = At { device: &device, ranks: &ranks, normalize: &normalize, number: 0 };
    let mut losses = Vec::new();
    for ((features, labels), lr) in steps.zip(&golden.lr) {
        let features = Tensor::from_data(TensorData::new(wide(features), [golden.images, width]), &device);
        let targets = Mix::default().targets(&Mixing::None, labels.as_chunks::<1>().0, golden.classes);
        let targets = Tensor::from_data(TensorData::new(targets, [golden.images, golden.classes]), &device);
        let features = standardise(&mut model, features, &at).unwrap();
        let loss = cross_entropy(model.head.forward(features), targets);
        losses.push(f64::from(loss.clone().inner().into_scalar::<f32>()));
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(*lr, model, gradients);
    }
    assert_losses(&losses, &golden.losses);
    let read = |data: TensorData| data.convert::<f32>().as_slice::<f32>().unwrap().to_vec();
    let model = model.valid();
    let norm = model.head_norm.unwrap();
    let ours = read(model.head.weight.val().transpose().into_data());
    assert!(off(&ours, &wide(&golden.final_weight)) < 1e-5);
    assert!(off(&read(model.head.bias.val().into_data()), &golden.final_bias) < 1e-5);
    assert!(off(&read(norm.running_mean.val().into_data())[..golden.dim], &golden.running_mean) < 1e-5);
    assert!(off(&read(norm.running_var.val().into_data())[..golden.dim], &golden.running_var) < 1e-5);
}

#[test]
fn the_loss_of_several_classes_and_its_gradient_are_pytorchs() {
    let golden = golden().multi_label;
    let device = Device::flex().autodiff();
    let tensor = |values: Vec<f32>| -> Tensor<2> {
        Tensor::from_data(TensorData::new(values, [golden.batch, golden.classes]), &device)
    };
    let scores = tensor(golden.scores.clone()).require_grad();
    let loss = binary_cross_entropy(scores.clone(), tensor(golden.targets.clone()));
    let value = f64::from(loss.clone().inner().into_scalar::<f32>());
    assert!((value / golden.loss - 1.0).abs() < 1e-6, "{value}, {}", golden.loss);
    let gradient = scores.grad(&loss.backward()).unwrap().into_data();
    assert!(off(&gradient.try_to_vec::<f32>().unwrap(), &golden.gradient) < 1e-6);
}
