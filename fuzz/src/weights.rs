//! Weight files.

use std::collections::HashMap;
use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use mae_model::{Hints, WeightFile};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::{file, scratch};

/// Reads everything that a file says, without building a model from it.
fn look(path: &Path) -> Option<Value> {
    let weights = WeightFile::open(path).ok()?;
    let hints = Hints::default();
    assert!(!weights.describe(&hints).is_empty());
    let _ = (weights.normalize(), weights.classifier_config(&hints));
    let sized = Hints { image_size: Some((8, 8)), num_heads: Some(2), ..hints };
    let _ = (weights.vit_config(&sized), weights.mae_config(&sized));
    Some(weights.to_json(&hints))
}

/// Our description of the tensors must be that of the `safetensors` crate, which must accept the file too.
pub fn safetensors(data: &[u8]) {
    let Some(ours) = look(&file("model.safetensors", data)) else { return };
    let theirs = SafeTensors::deserialize(data).expect("we have taken it");
    for tensor in ours["tensors"].as_object().expect("a map by name").values() {
        let name = tensor["name"].as_str().expect("its name in the file");
        let Ok(their) = theirs.tensor(name) else {
            // A model without biases of query, key and value gets zeros for them.
            assert!(name.ends_with("attn.qkv.bias"), "{name} is not in the file");
            continue;
        };
        assert_eq!(tensor["dtype"], format!("{:?}", their.dtype()), "{name}");
        let shape: Vec<usize> = serde_json::from_value(tensor["shape"].clone()).expect("a shape");
        // Query, key and value are one tensor under the official names.
        let mut stacked = their.shape().to_vec();
        stacked.iter_mut().take(1).for_each(|rows| *rows = rows.wrapping_mul(3));
        assert!(shape == their.shape() || shape == stacked, "{name}: {shape:?}, {:?}", their.shape());
    }
}

/// Reads the two files of [`write_shards`] with `data` as their index.
pub fn sharded(data: &[u8]) {
    file("model.safetensors.index.json", data);
    look(scratch());
}

/// Writes a small model in two files.
pub fn write_shards() {
    let tensors = small_model();
    for (number, part) in [(1, &tensors[..4]), (2, &tensors[4..])] {
        file(&format!("model-0000{number}-of-00002.safetensors"), &serialized(part));
    }
}

/// Reads `data` as a checkpoint.
pub fn pth(data: &[u8]) {
    look(&file("model.pth", data));
}

/// Reads a checkpoint whose pickle is `data`.
pub fn pickle(data: &[u8]) {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, data) in
        [("data.pkl", data), ("byteorder", b"little"), ("data/0", &[0; 4096]), ("version", b"3\n")]
    {
        archive.start_file(format!("archive/{name}"), options).expect("a member");
        archive.write_all(data).expect("written to memory");
    }
    let file = archive.finish().expect("written to memory").into_inner();
    pth(&file);
}

/// Reads both configuration files of a model, next to the weights of [`write_model`].
pub fn config(text: &str) {
    let (config, preprocessor) = text.split_once("\n==\n").unwrap_or((text, ""));
    file("config.json", config.as_bytes());
    match preprocessor {
        "" => drop(fs::remove_file(scratch().join("preprocessor_config.json"))),
        text => drop(file("preprocessor_config.json", text.as_bytes())),
    }
    look(scratch());
}

/// Writes a small model under the tensor names of transformers.
pub fn write_model() {
    file("model.safetensors", &serialized(&small_model()));
}

type Tensors = Vec<(&'static str, Vec<usize>)>;

/// An encoder of one block, 4 wide, for images of 4 x 4 pixels in patches of 2.
fn small_model() -> Tensors {
    [
        ("vit.embeddings.cls_token", vec![1, 1, 4]),
        ("vit.embeddings.position_embeddings", vec![1, 5, 4]),
        ("vit.embeddings.patch_embeddings.projection.weight", vec![4, 3, 2, 2]),
        ("vit.embeddings.patch_embeddings.projection.bias", vec![4]),
        ("vit.encoder.layer.0.attention.attention.query.weight", vec![4, 4]),
        ("vit.encoder.layer.0.attention.attention.key.weight", vec![4, 4]),
        ("vit.encoder.layer.0.attention.attention.value.weight", vec![4, 4]),
        ("vit.encoder.layer.0.attention.output.dense.weight", vec![4, 4]),
        ("vit.encoder.layer.0.intermediate.dense.weight", vec![8, 4]),
        ("vit.encoder.layer.0.output.dense.weight", vec![4, 8]),
        ("vit.layernorm.weight", vec![4]),
    ]
    .into()
}

fn serialized(tensors: &[(&'static str, Vec<usize>)]) -> Vec<u8> {
    let zeros = [0; 4 * 64];
    let views = tensors.iter().map(|(name, shape)| {
        let bytes = &zeros[..4 * shape.iter().product::<usize>()];
        (*name, TensorView::new(Dtype::F32, shape.clone(), bytes).expect("bytes fill the shape"))
    });
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize(views, Some(metadata)).expect("plain tensors")
}
