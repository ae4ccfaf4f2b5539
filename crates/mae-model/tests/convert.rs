//! Weight files adapted to other images: the new file describes the adapted model, and nothing of the old one.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use burn::tensor::Device;
use mae_model::{
    Channels, ClassifierConfig, Head, Hints, Preset, Scheme, SegmentationHead, SegmenterConfig, StoredAs,
    UperNetConfig, WeightFile, save,
};
use mae_vit::{Geometry, Normalize, Pooling, StackConfig, VitConfig};
use safetensors::SafeTensors;

fn geometry(image_size: (usize, usize), in_chans: usize) -> Geometry {
    Geometry::new(image_size, 8, in_chans).unwrap()
}

fn classifier(path: &Path) {
    let config = ClassifierConfig {
        vit: Preset::Nano.config(geometry((16, 24), 3)).vit(),
        pooling: Pooling::MeanPatch,
        head: Head::FineTuned,
        classes: vec!["cat".into(), "dog".into()],
        multi_label: false,
    };
    save(&config.init(3, &Device::flex()).unwrap(), &Normalize::half(3), &BTreeMap::new(), path).unwrap();
}

#[test]
fn a_resampled_classifier_is_a_classifier_of_the_new_size() {
    let folder = tempfile::tempdir().unwrap();
    let [old, new] = ["old.safetensors", "new.safetensors"].map(|name| folder.path().join(name));
    classifier(&old);
    let hints = Hints::default();
    let resampled = WeightFile::open(&old).unwrap().resampled(Some((32, 40)), None, &hints).unwrap();
    resampled.export(Scheme::Timm, StoredAs::Same, &hints, &new).unwrap();
    let (model, used) = WeightFile::open(&new).unwrap().classifier(&hints, &Device::flex()).unwrap();
    assert_eq!(model.config().vit.geometry, geometry((32, 40), 3));
    assert_eq!(used.unused, Vec::<String>::new());
}

#[test]
fn a_configuration_of_the_old_channels_does_not_normalise_the_new_ones() {
    let folder = tempfile::tempdir().unwrap();
    let [old, bare] = ["old.safetensors", "model.safetensors"].map(|name| folder.path().join(name));
    classifier(&old);
    // timm's file has no description of its own: the configuration beside it has the mean and deviation.
    let bytes = fs::read(&old).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    fs::write(&bare, safetensors::serialize(tensors.iter(), None).unwrap()).unwrap();
    let config = r#"{"architecture": "vit_tiny_patch16_224", "pretrained_cfg": {"input_size": [3, 16, 24], "mean": [0.1, 0.2, 0.3],
        "std": [0.4, 0.5, 0.6]}}"#;
    fs::write(folder.path().join("config.json"), config).unwrap();
    let hints = Hints { num_heads: Some(2), image_size: Some((16, 24)), ..Hints::default() };
    let adapted = |count: usize| {
        WeightFile::open(&bare).unwrap().with_channels(&Channels::Count(count), &hints).unwrap()
    };
    let said = Normalize::new(vec![0.1, 0.2, 0.3], vec![0.4, 0.5, 0.6]).unwrap();
    assert_eq!(adapted(3).normalize().unwrap(), said);
    let grey = adapted(1).normalize().unwrap();
    assert!((grey.mean()[0] - 0.2).abs() < 1e-6 && (grey.std()[0] - 0.5).abs() < 1e-6, "{grey:?}");
    // Nobody knows how five other channels are normalised, and the exported file does not claim to.
    let new = folder.path().join("new");
    fs::create_dir(&new).unwrap();
    let new = new.join("five.safetensors");
    let five = adapted(5);
    assert!(five.normalize().is_err());
    five.export(Scheme::Timm, StoredAs::Same, &hints, &new).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&fs::read(&new).unwrap()).unwrap();
    let keys = metadata.metadata().clone().unwrap_or_default();
    assert!(!keys.contains_key("mae.normalize"), "{keys:?}");
}

#[test]
fn a_head_of_any_claimed_size_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let stack = StackConfig { mlp_dim: 32, ..StackConfig::new(16, 4, 2) };
    let head = UperNetConfig { channels: 8, ..UperNetConfig::for_encoder(&stack) };
    let config = SegmenterConfig {
        vit: VitConfig { geometry: geometry((16, 24), 3), stack, norm_eps: 1e-6 },
        head: SegmentationHead::UperNet(head.clone()),
        classes: vec!["sky".into(), "road".into()],
    };
    save(&config.init(0, &Device::flex()).unwrap(), &Normalize::half(3), &BTreeMap::new(), &path).unwrap();
    let bytes = fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    for channels in [1 << 20, usize::MAX / 2 + 1] {
        let head = UperNetConfig { channels, ..head.clone() };
        let claimed = SegmenterConfig { head: SegmentationHead::UperNet(head), ..config.clone() };
        let text = serde_json::to_string(&claimed).unwrap();
        let metadata = HashMap::from([("mae.segmenter".to_owned(), text)]);
        fs::write(&path, safetensors::serialize(tensors.iter(), Some(metadata)).unwrap()).unwrap();
        let error = WeightFile::open(&path).unwrap().segmenter(&Device::flex()).unwrap_err().to_string();
        assert!(error.contains("it describes a model of"), "{error}");
    }
}
