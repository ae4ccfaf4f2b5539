//! Weight files: what is written is read back, and what is damaged or belongs elsewhere is refused by name.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use mae_masking::{Masker, Strategy};
use mae_model::{
    Contents, Hints, Mae, MaeConfig, ModelError, Preset, Scheme, StoredAs, WeightFile, list_params, load,
    load_into, save,
};
use mae_vit::{Geometry, Normalize};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

fn config(patch_size: usize) -> MaeConfig {
    Preset::Nano.config(Geometry::new((16, 24), patch_size, 3).unwrap())
}

fn saved(folder: &Path) -> (Mae, std::path::PathBuf) {
    let model = config(8).init(5, &Device::flex()).unwrap();
    let path = folder.join("model.safetensors");
    let metadata = BTreeMap::from([("mae.recipe".to_owned(), "epochs = 3".to_owned())]);
    save(&model, &Normalize::half(3), &metadata, &path).unwrap();
    (model, path)
}

fn loss(model: &Mae) -> f32 {
    let geometry = model.config().geometry;
    let masks =
        Masker::new(Strategy::Random, geometry.grid(), 0.5).unwrap().draw_batch(0, [(0, 1), (0, 2)]).unwrap();
    let pixels = (0..2 * 3 * 16 * 24).map(|i| ((i * 37 % 101) as f32 / 50.0) - 1.0).collect::<Vec<_>>();
    let images = Tensor::from_data(TensorData::new(pixels, [2, 3, 16, 24]), &Device::flex());
    model.forward(images, &masks).into_scalar()
}

#[test]
fn a_file_brings_its_model_back_to_the_last_bit() {
    let folder = tempfile::tempdir().unwrap();
    let (model, path) = saved(folder.path());
    let loaded = load(&path, &Device::flex()).unwrap();
    assert_eq!(loaded.model.config(), model.config());
    assert_eq!(loaded.normalize, Normalize::half(3));
    assert_eq!(loaded.metadata, BTreeMap::from([("mae.recipe".to_owned(), "epochs = 3".to_owned())]));
    assert_eq!(loss(&loaded.model).to_bits(), loss(&model).to_bits());
    assert_eq!(list_params(&loaded.model), list_params(&model));
}

#[test]
fn names_and_shapes_are_the_official_ones() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(saved(folder.path()).1).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let shape = |name: &str| file.tensor(name).unwrap().shape().to_vec();
    assert_eq!(shape("patch_embed.proj.weight"), [64, 3, 8, 8]);
    assert_eq!(shape("blocks.3.attn.qkv.weight"), [192, 64]);
    assert_eq!(shape("blocks.0.mlp.fc1.weight"), [256, 64]);
    assert_eq!(shape("pos_embed"), [1, 7, 64]);
    assert_eq!(shape("mask_token"), [1, 1, 64]);
    assert_eq!(shape("decoder_pos_embed"), [1, 7, 64]);
    assert_eq!(shape("decoder_embed.weight"), [64, 64]);
    assert_eq!(shape("decoder_blocks.0.norm1.weight"), [64]);
    assert_eq!(shape("decoder_pred.weight"), [192, 64]);
    assert!(file.names().iter().all(|name| !name.contains("encoder.") && !name.contains("decoder.")));
}

/// A tensor in a file: dtype, shape and bytes.
type Stored = (Dtype, Vec<usize>, Vec<u8>);

/// Rewrites a file with changed tensors, without those for which `change` returns `None`.
fn rewrite(path: &Path, change: impl Fn(&str, &TensorView<'_>) -> Option<Stored>) {
    let bytes = std::fs::read(path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors: Vec<(String, Stored)> = file
        .tensors()
        .into_iter()
        .filter_map(|(name, view)| Some((name.clone(), change(&name, &view)?)))
        .collect();
    let views = tensors
        .iter()
        .map(|(name, (dtype, shape, data))| (name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
    safetensors::serialize_to_file(views, header.metadata().clone(), path).unwrap();
}

#[test]
fn half_precision_files_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let (model, path) = saved(folder.path());
    rewrite(&path, |_, view| {
        // The upper half of an f32 is a bf16, truncated.
        let data = view.data().chunks(4).flat_map(|b| [b[2], b[3]]).collect();
        Some((Dtype::BF16, view.shape().to_vec(), data))
    });
    let (ours, theirs) = (loss(&model), loss(&load(&path, &Device::flex()).unwrap().model));
    assert!(ours != theirs && (ours - theirs).abs() < 0.05 * ours, "{ours} {theirs}");
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let same = |view: &TensorView<'_>| Some((view.dtype(), view.shape().to_vec(), view.data().to_vec()));
    let refused = |path: &Path, words: &[&str]| {
        let error = load(path, &Device::flex()).unwrap_err().to_string();
        let path = path.display().to_string();
        for word in words.iter().copied().chain([path.as_str()]) {
            assert!(error.contains(word), "'{word}' is not in: {error}");
        }
    };
    let (_, path) = saved(folder.path());
    rewrite(&path, |name, view| if name == "norm.bias" { None } else { same(view) });
    refused(&path, &["norm.bias", "1 of its tensors are missing"]);

    let (_, path) = saved(folder.path());
    rewrite(&path, |name, view| match name {
        "cls_token" => Some((Dtype::F32, vec![1, 64, 1], view.data().to_vec())),
        _ => same(view),
    });
    refused(&path, &["cls_token", "[1, 64, 1]", "[1, 1, 64]"]);

    let (_, path) = saved(folder.path());
    rewrite(&path, |name, view| match name {
        "cls_token" => Some((Dtype::I32, vec![1, 1, 64], view.data().to_vec())),
        _ => same(view),
    });
    refused(&path, &["cls_token", "I32"]);

    let (_, path) = saved(folder.path());
    let whole = std::fs::read(&path).unwrap();
    for len in [7, 100, whole.len() - 1] {
        std::fs::write(&path, &whole[..len]).unwrap();
        refused(&path, &["not a complete safetensors file"]);
    }
    std::fs::write(&path, b"").unwrap();
    refused(&path, &["is empty"]);
    let mut lying = whole;
    lying[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    std::fs::write(&path, lying).unwrap();
    refused(&path, &["not a complete safetensors file"]);
    refused(&folder.path().join("nowhere.safetensors"), &["cannot read"]);
}

#[test]
fn files_without_a_description_need_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let (model, path) = saved(folder.path());
    let bytes = std::fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let bare = folder.path().join("bare.safetensors");
    safetensors::serialize_to_file(file.tensors(), None, &bare).unwrap();
    let error = load(&bare, &Device::flex()).unwrap_err();
    let matches = matches!(error, ModelError::Description { .. });
    assert!(matches && error.to_string().contains("how many heads its blocks of width 64 have"), "{error}");
    let other = config(8).init(6, &Device::flex()).unwrap();
    assert_eq!(loss(&load_into(other, &bare).unwrap()).to_bits(), loss(&model).to_bits());
    let error = load_into(config(4).init(0, &Device::flex()).unwrap(), &bare).unwrap_err().to_string();
    assert!(error.contains("pos_embed") || error.contains("patch_embed"), "{error}");
}

#[test]
fn an_encoder_is_no_model_and_numbers_have_to_be_finite() {
    let folder = tempfile::tempdir().unwrap();
    let (model, path) = saved(folder.path());
    let same = |view: &TensorView<'_>| Some((view.dtype(), view.shape().to_vec(), view.data().to_vec()));
    rewrite(
        &path,
        |name, view| {
            if name.starts_with("decoder_") || name == "mask_token" { None } else { same(view) }
        },
    );
    let device = Device::flex();
    let file = WeightFile::open(&path).unwrap();
    assert_eq!(file.contents(), Contents::Encoder);
    let error = file.mae(&Hints::default(), &device).unwrap_err().to_string();
    assert!(error.contains("an encoder alone") && error.contains("needs a decoder"), "{error}");
    let (encoder, used) = file.encoder(&Hints::default(), &device).unwrap();
    assert!(used.unused.is_empty() && used.used.len() == 4 + 4 * 12 + 2);
    let images = Tensor::ones([1, 3, 16, 24], &device);
    let features = |tokens: Tensor<3>| tokens.into_data().try_to_vec::<f32>().unwrap();
    assert_eq!(features(encoder.forward(images.clone())), features(model.encode(images)));

    rewrite(&path, |name, view| match name {
        "blocks.1.norm1.bias" => Some((Dtype::F32, vec![64], vec![0xff; 4 * 64])),
        _ => same(view),
    });
    let error = WeightFile::open(&path).unwrap().encoder(&Hints::default(), &device).unwrap_err().to_string();
    assert!(error.contains("64 numbers of tensor blocks.1.norm1.bias are not finite"), "{error}");
    // A tensor of the encoder that this model does not know would change what it computes.
    let bytes = std::fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let hints = Hints { num_heads: Some(2), image_size: Some((16, 24)), ..Hints::default() };
    for (name, what) in [
        ("blocks.0.ls1.gamma", "LayerScale"),
        ("norm_pre.weight", "a norm before the blocks"),
        ("reg_token", "register tokens"),
        ("something", "1 are unknown"),
    ] {
        let scales = TensorView::new(Dtype::F32, vec![64], &[0; 256]).unwrap();
        let more = file.tensors().into_iter().chain([(name.to_owned(), scales)]);
        safetensors::serialize_to_file(more, None, &path).unwrap();
        let error = WeightFile::open(&path).unwrap().encoder(&hints, &device).unwrap_err().to_string();
        assert!(error.contains(&format!("{what} ({name})")), "{error}");
    }
}

#[test]
fn weights_of_other_images_or_heads_are_refused_though_all_shapes_agree() {
    let folder = tempfile::tempdir().unwrap();
    let (_, path) = saved(folder.path());
    let device = Device::flex();
    let refused = |config: MaeConfig, words: &[&str]| {
        let error = load_into(config.init(0, &device).unwrap(), &path).unwrap_err();
        assert!(matches!(error, ModelError::Different { .. }), "{error}");
        let error = error.to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    };
    let same = config(8);
    // 2 x 3 patches in the file, 3 x 2 in the model.
    let geometry = Geometry::new((24, 16), 8, 3).unwrap();
    refused(MaeConfig { geometry, ..same }, &["image_size is 16x24", "the model has 24x16"]);
    let mut other = same;
    other.encoder.num_heads = 8;
    refused(other, &["num_heads is 2", "the model has 8"]);
    let mut other = same;
    other.decoder.num_heads = 8;
    refused(other, &["decoder_num_heads is 4", "the model has 8"]);
    // The target of further training may differ.
    let other = MaeConfig { norm_pix_loss: false, ..same };
    assert!(load_into(other.init(0, &device).unwrap(), &path).is_ok());
    // Resampled, they fit.
    let file = WeightFile::open(&path).unwrap();
    let hints = Hints::default();
    let turned = folder.path().join("turned.safetensors");
    let resampled = file.resampled(Some((24, 16)), None, &hints).unwrap();
    resampled.export(Scheme::Official, StoredAs::Same, &hints, &turned).unwrap();
    assert!(load_into(MaeConfig { geometry, ..same }.init(0, &device).unwrap(), &turned).is_ok());
}

#[test]
fn what_a_file_says_is_not_contradicted() {
    let folder = tempfile::tempdir().unwrap();
    let (_, path) = saved(folder.path());
    let file = WeightFile::open(&path).unwrap();
    for (hints, words) in [
        (Hints { num_heads: Some(4), ..Hints::default() }, "num_heads is 4, but the file says 2"),
        (
            Hints { image_size: Some((24, 16)), ..Hints::default() },
            "image_size is (24, 16), but the file says",
        ),
        (
            Hints { norm_pix_loss: Some(false), as_options: true, ..Hints::default() },
            "--norm-pix-loss is false",
        ),
        (Hints { decoder_num_heads: Some(2), ..Hints::default() }, "decoder_num_heads is 2"),
    ] {
        let error = file.mae_config(&hints).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let hints = Hints { num_heads: Some(2), norm_pix_loss: Some(true), ..Hints::default() };
    assert_eq!(file.mae_config(&hints).unwrap(), config(8));
}

#[test]
fn a_description_is_believed_as_far_as_the_file_is_long() {
    let folder = tempfile::tempdir().unwrap();
    let (_, path) = saved(folder.path());
    let bytes = std::fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    for (was, claimed) in [
        (r#""embed_dim":64"#, r#""embed_dim":4000000000"#),
        (r#""depth":4"#, r#""depth":18000000000000000000"#),
        (r#""mlp_dim":256"#, r#""mlp_dim":900000000000"#),
        (r#""image_size":[16,24]"#, r#""image_size":[8000000000,8000000000]"#),
    ] {
        let mut metadata = header.metadata().clone().unwrap();
        let config = metadata.get_mut("mae.config").unwrap();
        assert!(config.contains(was), "{config}");
        *config = config.replace(was, claimed);
        let lying = folder.path().join("lying.safetensors");
        safetensors::serialize_to_file(file.tensors(), Some(metadata), &lying).unwrap();
        let error = load(&lying, &Device::flex()).unwrap_err().to_string();
        assert!(error.contains("lying.safetensors") && error.contains("but holds 0.3 M"), "{error}");
    }
}
