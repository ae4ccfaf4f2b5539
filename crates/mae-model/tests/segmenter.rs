//! Segmenters: checked, refused, saved and loaded.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Device, Distribution, Tensor};
use mae_model::{
    Classifier, ClassifierConfig, Contents, Head, HeadDropout, Hints, MaeConfig, ModelError, Pooling,
    SegmentationHead, Segmenter, SegmenterConfig, UperNetConfig, WeightFile, list_params, load_into, save,
};
use mae_vit::{Geometry, Normalize, StackConfig, VitConfig};
use safetensors::SafeTensors;

fn vit(image_size: (usize, usize)) -> VitConfig {
    let stack = StackConfig { mlp_dim: 32, ..StackConfig::new(16, 4, 2) };
    VitConfig { geometry: Geometry::new(image_size, 8, 3).unwrap(), stack, norm_eps: 1e-6 }
}

fn uper(image_size: (usize, usize)) -> SegmenterConfig {
    let vit = vit(image_size);
    let head = UperNetConfig { channels: 8, ..UperNetConfig::for_encoder(&vit.stack) };
    let classes = ["sky", "road", "car"].map(str::to_owned).into();
    SegmenterConfig { vit, head: SegmentationHead::UperNet(head), classes }
}

fn linear(image_size: (usize, usize)) -> SegmenterConfig {
    SegmenterConfig { head: SegmentationHead::Linear, ..uper(image_size) }
}

fn images(batch: usize, (height, width): (usize, usize)) -> Tensor<4> {
    Tensor::random([batch, 3, height, width], Distribution::Default, &Device::flex())
}

fn write(model: &Segmenter, path: &Path) {
    save(model, &Normalize::imagenet(), &BTreeMap::new(), path).unwrap();
}

fn refused(config: &SegmenterConfig, said: &[&str]) {
    let error = config.init(0, &Device::flex()).unwrap_err();
    let source = std::error::Error::source(&error).map_or(String::new(), ToString::to_string);
    let message = format!("{error}: {source}");
    for said in said {
        assert!(message.contains(said), "'{said}' is not in '{message}'");
    }
}

#[test]
fn inconsistent_descriptions_are_refused_with_name_value_and_bound() {
    let with = |change: &dyn Fn(&mut UperNetConfig)| {
        let mut config = uper((24, 40));
        let SegmentationHead::UperNet(head) = &mut config.head else { unreachable!() };
        change(head);
        config
    };
    refused(
        &SegmenterConfig { classes: vec!["one".into()], ..linear((24, 40)) },
        &["classes is 1", "at least 2"],
    );
    refused(&uper((8, 40)), &["rows of patches is 1", "at least 2"]);
    refused(&uper((24, 8)), &["columns of patches is 1", "at least 2"]);
    refused(&with(&|head| head.channels = 0), &["channels is 0", "at least 1"]);
    refused(&with(&|head| head.pool_scales = vec![1, 0]), &["pool scale is 0", "at least 1"]);
    refused(&with(&|head| head.dropout = 1.0), &["dropout is 1", "[0, 1)"]);
    refused(
        &with(&|head| head.blocks = [1, 2, 2, 4]),
        &["block of the pyramid is 2", "larger", "[1, 2, 2, 4]"],
    );
    refused(&with(&|head| head.blocks = [1, 2, 3, 5]), &["block of the pyramid is 5", "at most 4"]);
    refused(&with(&|head| head.blocks = [0, 1, 2, 3]), &["block of the pyramid is 0"]);
    let mut coarse = uper((80, 80));
    coarse.vit.geometry = Geometry::new((80, 80), 40, 3).unwrap();
    refused(&coarse, &["patch_size is 40", "at most 32"]);
    let mut shallow = uper((24, 40));
    shallow.vit.stack.depth = 3;
    shallow.head = SegmentationHead::UperNet(UperNetConfig::for_encoder(&shallow.vit.stack));
    refused(&shallow, &["block of the pyramid", "at most 3"]);
}

#[test]
fn the_published_blocks() {
    let blocks = |depth| UperNetConfig::for_encoder(&StackConfig::new(16, depth, 2)).blocks;
    // BEiT's configurations for mmsegmentation, which count from 0: 3, 5, 7, 11 and 7, 11, 15, 23.
    assert_eq!((blocks(12), blocks(24)), ([4, 6, 8, 12], [8, 12, 16, 24]));
    assert_eq!((blocks(4), blocks(5)), ([1, 2, 3, 4], [1, 2, 3, 5]));
}

#[test]
fn scores_have_the_heads_own_resolution() {
    let device = Device::flex();
    // 3 x 5 patches; the coarsest map of the pyramid has 1 x 2.
    for (config, size) in [(uper((24, 40)), [12, 20]), (linear((24, 40)), [3, 5])] {
        let model = config.init(0, &device).unwrap();
        assert_eq!(model.forward(images(2, (24, 40))).dims(), [2, 3, size[0], size[1]]);
        let out = model.train_forward(images(2, (24, 40)), None, None);
        assert_eq!(out.scores.dims(), [2, 3, size[0], size[1]]);
        assert_eq!(out.auxiliary.map(|scores| scores.dims()), (size[0] == 12).then_some([2, 3, 3, 5]));
        let wider = model.with_image_size((24, 56)).unwrap();
        assert_eq!(wider.forward(images(1, (24, 56))).dims(), [1, 3, size[0], size[1] / 5 * 7]);
    }
}

#[test]
fn dropout_leaves_out_whole_channels() {
    let device = Device::flex();
    let config = uper((24, 40));
    let SegmentationHead::UperNet(head) = &config.head else { unreachable!() };
    let model = config.init(0, &device).unwrap();
    let x = images(2, (24, 40));
    let scores =
        |dropout: Option<&HeadDropout>| model.train_forward(x.clone(), None, dropout).scores.into_data();
    // Everything is dropped, so only the classifier's bias remains, which is zero at first.
    let none = HeadDropout::draw(head, 2, || 0.0);
    assert!(scores(Some(&none)).iter::<f32>().all(|score| score == 0.0));
    let kept = HeadDropout::draw(&UperNetConfig { dropout: 0.0, ..head.clone() }, 2, || 0.5);
    assert_eq!(scores(Some(&kept)), scores(None));
}

#[test]
fn a_frozen_encoder_and_what_is_not_computed_are_not_trained() {
    let device = Device::flex();
    let trained = |model: &Segmenter| -> Vec<String> {
        list_params(model).into_iter().filter(|param| param.trained).map(|param| param.path).collect()
    };
    let model = uper((24, 40)).init(0, &device).unwrap();
    assert!(trained(&model).iter().all(|path| !path.starts_with("encoder.norm")));
    assert!(trained(&model).iter().any(|path| path == "encoder.pos_embed"));
    assert!(trained(&model).iter().all(|path| !path.contains("running")));
    assert!(trained(&model.with_frozen_encoder()).iter().all(|path| path.starts_with("uper.")));
    let linear = linear((24, 40)).init(0, &device).unwrap().with_trained_blocks(1);
    let of_encoder = trained(&linear).into_iter().filter(|path| path.starts_with("encoder."));
    assert!(of_encoder.into_iter().all(|path| path.contains("blocks.3.") || path.contains("encoder.norm")));
}

#[test]
fn a_segmenter_goes_to_a_file_and_back() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("segmenter.safetensors");
    for config in [uper((24, 40)), linear((24, 40))] {
        let model = config.init(3, &device).unwrap();
        // Running statistics that differ from their initial values.
        let statistics = model.train_forward(images(2, (24, 40)), None, None).statistics;
        let model = model.take_in(&statistics);
        write(&model, &path);
        let file = WeightFile::open(&path).unwrap();
        assert_eq!(file.contents(), Contents::Segmenter { classes: 3 });
        assert!(file.describe(&Hints::default()).contains("segmentation head of 3 classes"));
        let (again, used) = file.segmenter(&device).unwrap();
        assert_eq!((again.config(), used.unused.len()), (&config, 0));
        let x = images(2, (24, 40));
        assert_eq!(again.forward(x.clone()).into_data(), model.forward(x.clone()).into_data());
        let other = load_into(config.init(4, &device).unwrap(), &path).unwrap();
        assert_eq!(other.forward(x.clone()).into_data(), model.forward(x).into_data());
        // Its encoder is read like any other.
        let (encoder, used) = file.encoder(&Hints::default(), &device).unwrap();
        assert_eq!((encoder.config(), used.unused.is_empty()), (&config.vit, false));
        assert!(matches!(file.classifier(&Hints::default(), &device), Err(ModelError::Description { .. })));
    }
}

#[test]
fn every_tensor_of_a_segmenter_counts() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let (path, changed) =
        (folder.path().join("whole.safetensors"), folder.path().join("changed.safetensors"));
    write(&uper((24, 40)).init(0, &device).unwrap(), &path);
    let bytes = std::fs::read(&path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let whole = SafeTensors::deserialize(&bytes).unwrap();
    let nan = [f32::NAN; 8].map(f32::to_le_bytes).concat();
    let open = |change: &dyn Fn(&mut BTreeMap<String, safetensors::tensor::TensorView<'_>>)| {
        let mut tensors: BTreeMap<_, _> = whole.tensors().into_iter().collect();
        change(&mut tensors);
        safetensors::serialize_to_file(tensors, header.metadata().clone(), &changed).unwrap();
        WeightFile::open(&changed).unwrap().segmenter(&device).unwrap_err()
    };
    let running = "decode_head.lateral_convs.1.bn.running_var";
    let missing = open(&|tensors| drop(tensors.remove(running)));
    assert!(matches!(&missing, ModelError::Mismatch { missing, .. } if missing == &[running]), "{missing}");
    let more = open(&|tensors| {
        let tensor = tensors[running].clone();
        tensors.insert("decode_head.more".into(), tensor);
    });
    assert!(
        matches!(&more, ModelError::Mismatch { unknown, .. } if unknown == &["decode_head.more"]),
        "{more}"
    );
    let shape = open(&|tensors| {
        let tensor = tensors["fpn1.0.bias"].clone();
        tensors.insert(running.into(), tensor);
    });
    assert!(matches!(&shape, ModelError::Shape { name, .. } if name == running), "{shape}");
    let not_finite = {
        let view =
            safetensors::tensor::TensorView::new(safetensors::tensor::Dtype::F32, vec![8], &nan).unwrap();
        let mut tensors: BTreeMap<_, _> = whole.tensors().into_iter().collect();
        tensors.insert(running.into(), view);
        safetensors::serialize_to_file(tensors, header.metadata().clone(), &changed).unwrap();
        WeightFile::open(&changed).unwrap().segmenter(&device).unwrap_err()
    };
    assert!(matches!(&not_finite, ModelError::NotFinite { count: 8, .. }), "{not_finite}");
}

#[test]
fn a_new_head_on_the_encoder_of_any_file() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mae.safetensors");
    let (small, large) = (vit((16, 16)), vit((24, 40)));
    let mae = MaeConfig {
        geometry: small.geometry,
        encoder: small.stack,
        decoder: StackConfig::new(8, 1, 2),
        norm_eps: small.norm_eps,
        norm_pix_loss: true,
    };
    let mae = mae.init(0, &device).unwrap();
    save(&mae, &Normalize::imagenet(), &BTreeMap::new(), &path).unwrap();
    let file = WeightFile::open(&path).unwrap();
    let hints = Hints::default();
    for config in [uper((24, 40)), linear((24, 40))] {
        // At another size: positions are resampled, the rest stays.
        let (model, _) = file.new_segmenter(config.clone(), 1, &hints, &device).unwrap();
        let resampled = mae.encoder.clone().with_image_size((24, 40)).unwrap();
        let x = images(1, (24, 40));
        let tokens = |encoder: &mae_vit::VisionTransformer| encoder.forward(x.clone()).into_data();
        assert_eq!(tokens(&model.encoder), tokens(&resampled));
        assert_eq!(model.encoder.config(), &large);
        let mut other = config;
        other.vit.stack.num_heads = 4;
        let error = file.new_segmenter(other, 1, &hints, &device).unwrap_err();
        assert!(matches!(&error, ModelError::Encoder { .. }), "{error}");
    }
    // A model fine-tuned on means has no norm for tokens; a UPerNet needs none.
    let classes = vec!["a".into(), "b".into()];
    let config = ClassifierConfig {
        vit: small,
        pooling: Pooling::MeanPatch,
        head: Head::FineTuned,
        classes,
        multi_label: false,
    };
    let classifier = Classifier::new(mae.encoder.clone(), config, 0, &device);
    save(&classifier, &Normalize::imagenet(), &BTreeMap::new(), &path).unwrap();
    let file = WeightFile::open(&path).unwrap();
    assert!(file.new_segmenter(uper((24, 40)), 1, &hints, &device).is_ok());
    let error = file.new_segmenter(linear((24, 40)), 1, &hints, &device).unwrap_err();
    assert!(matches!(&error, ModelError::NoTokenNorm { .. }), "{error}");
}
