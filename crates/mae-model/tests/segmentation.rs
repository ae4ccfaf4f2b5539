//! Compares whole tensors and every gradient of segmenters with timm's encoder under the pyramid and heads of
//! transformers' `BeitForSemanticSegmentation`, and under PyTorch's batch norm and convolution.
//! `golden/segmentation.py` makes the reference values.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Gradients, Int, Tensor, TensorData, activation};
use common::{Golden, assert_slice, tolerance};
use mae_model::{
    AuxiliaryConfig, BatchStatistics, SegmentationHead, Segmenter, SegmenterConfig, UperNetConfig, load_into,
    save,
};
use mae_vit::dense::resize_bilinear;
use mae_vit::{Normalize, StackConfig, VitConfig};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

/// The weight of the auxiliary head's loss.
const AUXILIARY: f64 = 0.4;

fn config(golden: &Golden, head: &str) -> SegmenterConfig {
    let mlp_dim = golden.number("mlp_ratio") * golden.number("embed_dim");
    let stack = StackConfig { mlp_dim, ..golden.encoder() };
    let head = match head {
        "linear" => SegmentationHead::Linear,
        _ => SegmentationHead::UperNet(UperNetConfig {
            channels: golden.number("head_channels"),
            blocks: golden.numbers("blocks").try_into().unwrap(),
            pool_scales: golden.numbers("pool_scales"),
            auxiliary: Some(AuxiliaryConfig { channels: golden.number("auxiliary") }),
            dropout: 0.1,
        }),
    };
    let classes = (0..golden.number("classes")).map(|class| class.to_string()).collect();
    SegmenterConfig { vit: VitConfig { geometry: golden.geometry(), stack, norm_eps: 1e-6 }, head, classes }
}

/// The model with the file's weights, read through a weight file of their own.
fn model(golden: &Golden, head: &str) -> Segmenter {
    let fresh = config(golden, head).init(0, &common::device()).unwrap();
    let of_encoder =
        |name: &String| !["decode_head", "auxiliary_head", "fpn"].iter().any(|head| name.starts_with(head));
    let mut names: Vec<(String, String)> = golden
        .names("w.")
        .into_iter()
        .filter(|name| head == "uper" || of_encoder(name))
        .map(|name| (format!("w.{name}"), name))
        .collect();
    if head == "linear" {
        names.extend(golden.names("linear.w.").into_iter().map(|name| (format!("linear.w.{name}"), name)));
    }
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = names
        .into_iter()
        .map(|(stored, name)| {
            let (values, shape) = golden.get(&stored);
            (name, shape, values.iter().flat_map(|value| (*value as f32).to_le_bytes()).collect())
        })
        .collect();
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    safetensors::serialize_to_file(views, None, &path).unwrap();
    load_into(fresh, &path).unwrap()
}

/// The cross entropy of scores at the labels' resolution.
fn cross_entropy(scores: Tensor<4>, labels: Tensor<3, Int>) -> Tensor<1> {
    let [_, height, width] = labels.dims();
    let resized = resize_bilinear(scores.permute([0, 2, 3, 1]), (height, width)); // [B, H, W, K]
    let likelihoods = activation::log_softmax(resized, 3);
    likelihoods.gather(3, labels.unsqueeze_dim(3)).mean().neg()
}

/// The tensors of a model under their official names.
fn tensors(model: &Segmenter) -> BTreeMap<String, Vec<f64>> {
    fn read(path: &Path) -> BTreeMap<String, Vec<f64>> {
        let bytes = std::fs::read(path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let values = |view: TensorView<'_>| {
            let numbers = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
            numbers.map(f64::from).collect()
        };
        file.tensors().into_iter().map(|(name, view)| (name, values(view))).collect()
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    save(model, &Normalize::imagenet(), &BTreeMap::new(), &path).unwrap();
    read(&path)
}

/// The model with gradients in place of its parameters, and infinities where there is no gradient.
fn gradients(model: Segmenter, gradients: &Gradients) -> Segmenter {
    struct Replace<'a>(&'a Gradients);
    impl ModuleMapper for Replace<'_> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let gradient = param.grad(self.0);
            param.map(|value| match gradient {
                Some(gradient) => Tensor::from_data(gradient.into_data(), &value.device()),
                None => value.full_like(f64::INFINITY),
            })
        }
    }
    model.map(&mut Replace(gradients))
}

/// Compares evaluation, a training step and the running statistics after it.
fn forward_and_gradients(head: &str) -> BatchStatistics {
    let device = common::device();
    let golden = Golden::open("segmentation.safetensors");
    let images = golden.tensor::<4>("image", &device);
    let (labels, shape) = golden.get("labels");
    let labels: Vec<i64> = labels.iter().map(|label| *label as i64).collect();
    let labels = Tensor::<3, Int>::from_data(TensorData::new(labels, shape), &device);

    let plain = model(&golden, head);
    golden.assert_close(&format!("{head}.eval"), plain.forward(images.clone()), tolerance::OUTPUT);

    let model = plain.train();
    let images = Tensor::from_data(images.into_data(), &device.clone().autodiff()).require_grad();
    let loss = cross_entropy(model.forward(images.clone()), labels.clone());
    let gradient = images.grad(&loss.backward()).unwrap();
    golden.assert_close(&format!("{head}.eval.grad.image"), gradient, tolerance::GRADIENT);

    let out = model.train_forward(images.clone(), None, None);
    golden.assert_close(&format!("{head}.train"), out.scores.clone(), tolerance::OUTPUT);
    let mut loss = cross_entropy(out.scores, labels.clone());
    if let Some(scores) = out.auxiliary {
        golden.assert_close(&format!("{head}.auxiliary"), scores.clone(), tolerance::OUTPUT);
        loss = loss + cross_entropy(scores, labels).mul_scalar(AUXILIARY);
    }
    let name = format!("{head}.loss");
    assert_slice(&name, &common::floats(loss.clone()), &golden.get(&name).0, tolerance::OUTPUT);

    let of_loss = loss.backward();
    let name = format!("{head}.grad.image");
    golden.assert_close(&name, images.grad(&of_loss).unwrap(), tolerance::GRADIENT);
    let ours = tensors(&gradients(model.clone(), &of_loss));
    let names = golden.names(&format!("{head}.grad."));
    for name in names.iter().filter(|name| *name != "image") {
        let (reference, _) = golden.get(&format!("{head}.grad.{name}"));
        let scale = match taken_away_by(head, name) {
            Some(norm) => largest(&golden.get(&format!("{head}.grad.{norm}")).0),
            None => largest(&reference),
        };
        assert!(scale > 1e-4, "{name} says nothing");
        let worst = ours[name].iter().zip(&reference).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        let allowed = tolerance::GRADIENT * scale;
        assert!(worst <= allowed, "gradient of {name}: off by {worst:.2e}, and {allowed:.2e} is allowed");
    }
    // Our model has no gradients but those compared; the image is the one name that is no parameter.
    let with_gradient =
        ours.iter().filter(|(_, values)| values.iter().all(|value| value.is_finite())).count();
    assert_eq!(with_gradient, names.len() - 1);

    let taken_in = tensors(&model.take_in(&out.statistics));
    let names = golden.names(&format!("{head}.running."));
    for name in &names {
        let (reference, _) = golden.get(&format!("{head}.running.{name}"));
        assert_slice(name, &taken_in[name], &reference, tolerance::OUTPUT);
    }
    assert_eq!(names.len(), taken_in.keys().filter(|name| name.contains("running")).count());
    out.statistics
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |most, value| value.abs().max(most))
}

/// The batch norm after a parameter that shifts or scales all values of a channel alike. The norm cancels this, so the
/// parameter's gradient is only rounding error.
fn taken_away_by(head: &str, name: &str) -> Option<&'static str> {
    match (head, name) {
        ("linear", "norm.weight" | "norm.bias") => Some("decode_head.bn.weight"),
        ("uper", "fpn1.0.bias") => Some("fpn1.1.weight"),
        ("uper", "fpn1.3.bias" | "fpn2.0.bias") => Some("decode_head.lateral_convs.0.bn.weight"),
        _ => None,
    }
}

#[test]
fn upernet_with_its_auxiliary_head() {
    let statistics = forward_and_gradients("uper");
    // As ranks do: flattened, averaged, restored.
    let flat = statistics.to_flat();
    let doubled: Vec<f32> = flat.iter().map(|value| 2.0 * value).collect();
    let other = statistics.with_flat(&doubled);
    let mean = BatchStatistics::mean(vec![statistics, other]).unwrap().to_flat();
    for (mean, value) in mean.iter().zip(&flat) {
        assert!((mean - 1.5 * value).abs() <= 1e-6 * value.abs(), "{mean} is not 1.5 times {value}");
    }
}

#[test]
fn linear_head() {
    forward_and_gradients("linear");
}
