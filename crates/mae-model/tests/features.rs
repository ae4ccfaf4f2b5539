//! Features of weight files: those that the model defines, wherever its norm is applied.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use mae_model::{
    Classifier, ClassifierConfig, FeatureExtractor, Head, Hints, ModelError, Preset, Scheme, StoredAs,
    WeightFile, save,
};
use mae_vit::{Geometry, Normalize, Pooling, VisionTransformer, VitConfig};
use safetensors::SafeTensors;

const ALL: [Option<Pooling>; 3] = [None, Some(Pooling::ClassToken), Some(Pooling::MeanPatch)];

fn vit() -> VitConfig {
    Preset::Nano.config(Geometry::new((16, 24), 8, 3).unwrap()).vit()
}

fn head(head: Head, pooling: Pooling) -> ClassifierConfig {
    let classes = vec!["cat".into(), "dog".into(), "owl".into()];
    ClassifierConfig { vit: vit(), pooling, head, classes, multi_label: false }
}

fn images() -> Tensor<4> {
    let pixels = (0..2 * 3 * 16 * 24).map(|i| ((i * 37 % 101) as f32 / 50.0) - 1.0).collect::<Vec<_>>();
    Tensor::from_data(TensorData::new(pixels, [2, 3, 16, 24]), &Device::flex())
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

/// Sets a norm that no other norm equals, so that a wrong norm or a wrong place for it changes the features.
fn norm(encoder: &mut VisionTransformer) {
    let numbers = |from: f32, step: f32| -> Param<Tensor<1>> {
        let numbers: Vec<f32> = (0..64).map(|i| from + step * (i * 29 % 64) as f32).collect();
        Param::from_data(TensorData::new(numbers, [64]), &Device::flex())
    };
    encoder.norm.weight = numbers(0.5, 0.03);
    encoder.norm.bias = numbers(-1.0, 0.02);
}

fn classifier(config: ClassifierConfig) -> Classifier {
    let mut model = config.init(3, &Device::flex()).unwrap();
    norm(&mut model.encoder);
    model
}

fn saved(model: &Classifier, folder: &Path) -> PathBuf {
    let path = folder.join("model.safetensors");
    save(model, &Normalize::imagenet(), &BTreeMap::new(), &path).unwrap();
    path
}

fn features(path: &Path, pooling: Option<Pooling>) -> Result<FeatureExtractor, ModelError> {
    // Values that a file without a description does not state.
    let hints = Hints { num_heads: Some(2), image_size: Some((16, 24)), ..Hints::default() };
    Ok(WeightFile::open(path)?.features(pooling, &hints, &Device::flex())?.0)
}

/// Rewrites a file without a description, with the tensors that `keep` accepts. Those in `twice`, as (first, second),
/// are also stored under a second name.
fn bare(path: &Path, keep: impl Fn(&str) -> bool, twice: &[(&str, &str)]) {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Vec<_> = file.tensors().into_iter().filter(|(name, _)| keep(name)).collect();
    tensors.extend(twice.iter().map(|(from, to)| ((*to).to_owned(), file.tensor(from).unwrap())));
    safetensors::serialize_to_file(tensors, None, path).unwrap();
}

#[test]
fn what_was_fine_tuned_on_means_has_its_norm_behind_the_mean() {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::flex();
    let config = head(Head::FineTuned, Pooling::MeanPatch);
    let model = classifier(config.clone());
    let path = saved(&model, folder.path());
    let expected = values(model.features(images(), None));
    assert_eq!(values(model.extractor().forward(images())), expected);
    // Computed by hand, and unlike a norm before the mean.
    let tokens = model.encoder.forward_to(images(), vit().stack.depth);
    let by_hand = model.encoder.norm.forward(VisionTransformer::pool(tokens, Pooling::MeanPatch));
    assert_eq!(values(by_hand), expected);
    let wrong = VisionTransformer::pool(model.encoder.forward(images()), Pooling::MeanPatch);
    assert_ne!(values(wrong), expected);

    // With the description, without it as in timm's and the official files, and for the encoder of such a file alone.
    let as_expected = || {
        for pooling in [None, Some(Pooling::MeanPatch)] {
            let features = features(&path, pooling).unwrap();
            assert_eq!(values(features.forward(images())), expected);
            assert!(features.pooling() == Pooling::MeanPatch && !features.norms_tokens());
            assert!(features.tokens(images()).is_none());
        }
        let refused = |error: ModelError| {
            assert!(matches!(error, ModelError::NoTokenNorm { .. }), "{error}");
            assert!(error.to_string().contains("fine-tuned on means"), "{error}");
        };
        refused(features(&path, Some(Pooling::ClassToken)).unwrap_err());
        let file = WeightFile::open(&path).unwrap();
        let hints = Hints { num_heads: Some(2), image_size: Some((16, 24)), ..Hints::default() };
        refused(file.encoder(&hints, &device).unwrap_err());
        // A new head works only if its norm is new too.
        for other in [head(Head::Probe, Pooling::MeanPatch), head(Head::FineTuned, Pooling::ClassToken)] {
            refused(file.new_classifier(other, 0, &hints, &device).unwrap_err());
        }
        let (again, _) = file.new_classifier(config.clone(), 0, &hints, &device).unwrap();
        assert_eq!(
            values(again.encoder.forward_to(images(), 4)),
            values(model.encoder.forward_to(images(), 4))
        );
    };
    as_expected();
    bare(&path, |_| true, &[]);
    as_expected();
    bare(&path, |name| !name.starts_with("head."), &[]);
    as_expected();
    // Export must not turn it into another model.
    let file = WeightFile::open(&path).unwrap();
    let hints = Hints { num_heads: Some(2), image_size: Some((16, 24)), ..Hints::default() };
    let out = folder.path().join("others");
    let error = file.export(Scheme::Transformers, StoredAs::Same, &hints, &out).unwrap_err().to_string();
    assert!(error.contains("normalises tokens") && !out.exists(), "{error}");

    // A file with a norm both before and after the mean is refused, not guessed at.
    bare(&path, |_| true, &[("fc_norm.weight", "norm.weight"), ("fc_norm.bias", "norm.bias")]);
    for pooling in ALL {
        let error = features(&path, pooling).unwrap_err().to_string();
        assert!(error.contains("norm and fc_norm"), "{error}");
    }
}

#[test]
fn other_classifiers_norm_tokens() {
    let folder = tempfile::tempdir().unwrap();
    for (kind, own) in [
        (Head::FineTuned, Pooling::ClassToken),
        (Head::Probe, Pooling::ClassToken),
        (Head::Probe, Pooling::MeanPatch),
    ] {
        let model = classifier(head(kind, own));
        let path = saved(&model, folder.path());
        assert_eq!(features(&path, None).unwrap().pooling(), own);
        for pooling in ALL {
            let features = features(&path, pooling).unwrap();
            let pooling = pooling.unwrap_or(own);
            let expected = VisionTransformer::pool(model.encoder.forward(images()), pooling);
            let (found, tokens) = (values(features.forward(images())), features.tokens(images()).unwrap());
            assert_eq!(found, values(expected), "{kind:?} {own:?} {pooling:?}");
            assert_eq!(values(tokens), values(model.encoder.forward(images())));
            if pooling == own {
                assert_eq!(found, values(model.features(images(), None)));
            }
        }
    }
}

#[test]
fn features_of_a_pre_trained_encoder_are_pooled_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::flex();
    let mut model = Preset::Nano.config(vit().geometry).init(5, &device).unwrap();
    norm(&mut model.encoder);
    let path = folder.path().join("model.safetensors");
    save(&model, &Normalize::imagenet(), &BTreeMap::new(), &path).unwrap();
    for described in [true, false] {
        if !described {
            bare(&path, |name| !name.starts_with("decoder_") && name != "mask_token", &[]);
        }
        for pooling in ALL {
            let features = features(&path, pooling).unwrap();
            let pooling = pooling.unwrap_or(Pooling::MeanPatch);
            let expected = values(VisionTransformer::pool(model.encode(images()), pooling));
            assert_eq!(values(features.forward(images())), expected);
            assert_eq!(values(model.features(pooling).forward(images())), expected);
            assert_eq!(values(features.tokens(images()).unwrap()), values(model.encode(images())));
        }
    }
}
