//! Weight files: safetensors with the official parameter names and the model's description inside.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use burn::tensor::{DType, Device, TensorData};
use mae_vit::{Geometry, Normalize};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::params::{replace_params, visit_params};
use crate::{Mae, MaeConfig, ModelError};

/// Metadata keys of the description.
const CONFIG_KEY: &str = "mae.config";
const NORMALIZE_KEY: &str = "mae.normalize";

/// A model with what is needed to use it.
#[derive(Debug)]
pub struct Loaded {
    /// The model.
    pub model: Mae,
    /// How its images were normalised.
    pub normalize: Normalize,
    /// The file's other metadata, such as the recipe it was trained by.
    pub metadata: BTreeMap<String, String>,
}

/// Writes a model to `path`, completely or not at all.
///
/// Names and shapes are the official ones, in f32; `metadata` is stored beside the description.
///
/// # Errors
/// If the file cannot be written; one that was there before stays as it was.
pub fn save(
    model: &Mae,
    normalize: &Normalize,
    metadata: &BTreeMap<String, String>,
    path: &Path,
) -> Result<(), ModelError> {
    let mut tensors: Vec<(String, Vec<usize>, TensorData)> = Vec::new();
    visit_params(model, |param, read| {
        let (shape, data) = to_official(&param.path, read(), &model.config().geometry);
        tensors.push((official_name(&param.path), shape, data));
    });
    let views = tensors.iter().map(|(name, shape, data)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), data.as_bytes());
        (name, view.expect("the data was made with this shape"))
    });
    let mut all: HashMap<String, String> = metadata.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    // The key that Python's loaders expect.
    all.insert("format".into(), "pt".into());
    all.insert(CONFIG_KEY.into(), json(model.config()));
    all.insert(NORMALIZE_KEY.into(), json(normalize));
    safetensors::serialize_to_file(views, Some(all), path)
        .and_then(|()| Ok(settle(path)?))
        .map_err(|source| ModelError::Write { path: path.into(), source })
}

/// Makes a file last through a power cut, and as readable as any other that this process makes: safetensors writes
/// through a temporary file, which only its owner may read.
fn settle(path: &Path) -> std::io::Result<()> {
    let mut probe = path.as_os_str().to_owned();
    probe.push(".mode");
    let permissions = std::fs::File::create(&probe)?.metadata()?.permissions();
    std::fs::remove_file(&probe)?;
    std::fs::set_permissions(path, permissions)?;
    // Windows syncs only files that are open for writing.
    std::fs::OpenOptions::new().append(true).open(path)?.sync_all()
}

/// Reads a model that [`save`] wrote, by the description in the file.
///
/// # Errors
/// If the file is missing, damaged, without a description, or its tensors are not the model's.
pub fn load(path: &Path, device: &Device) -> Result<Loaded, ModelError> {
    let bytes = read(path)?;
    let (_, header) = SafeTensors::read_metadata(&bytes)
        .map_err(|source| ModelError::Format { path: path.into(), source })?;
    let mut metadata: BTreeMap<String, String> =
        header.metadata().clone().unwrap_or_default().into_iter().collect();
    let config: MaeConfig = described(&mut metadata, CONFIG_KEY, path)?;
    let normalize: Normalize = described(&mut metadata, NORMALIZE_KEY, path)?;
    normalize
        .validate(config.geometry.in_chans())
        .map_err(|e| ModelError::Description { path: path.into(), reason: e.to_string() })?;
    metadata.remove("format");
    let model = replace_from(config.init(0, device)?, &bytes, path)?;
    Ok(Loaded { model, normalize, metadata })
}

/// Reads the weights of `path` into a model of the same shape; every tensor must be there.
///
/// # Errors
/// As [`load`], but the file needs no description.
pub fn load_into(model: Mae, path: &Path) -> Result<Mae, ModelError> {
    let bytes = read(path)?;
    replace_from(model, &bytes, path)
}

fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    std::fs::read(path).map_err(|source| ModelError::Read { path: path.into(), source })
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("descriptions have string keys and finite numbers")
}

fn described<T: serde::de::DeserializeOwned>(
    metadata: &mut BTreeMap<String, String>,
    key: &str,
    path: &Path,
) -> Result<T, ModelError> {
    let refuse = |reason: String| ModelError::Description { path: path.into(), reason };
    let text = metadata.remove(key).ok_or_else(|| refuse(format!("no '{key}' in its metadata")))?;
    serde_json::from_str(&text).map_err(|e| refuse(format!("'{key}': {e}")))
}

fn replace_from(model: Mae, bytes: &[u8], path: &Path) -> Result<Mae, ModelError> {
    let file =
        SafeTensors::deserialize(bytes).map_err(|source| ModelError::Format { path: path.into(), source })?;
    let mut views: BTreeMap<String, TensorView<'_>> = file.tensors().into_iter().collect();
    let geometry = model.config().geometry;

    // Everything is checked before anything is replaced.
    let mut found: HashMap<String, TensorData> = HashMap::new();
    let (mut missing, mut failure) = (Vec::new(), None);
    visit_params(&model, |param, _| {
        let name = official_name(&param.path);
        match views.remove(&name) {
            None => missing.push(name),
            Some(view) => match from_official(&param.path, &param.shape, &name, &view, &geometry, path) {
                Ok(data) => drop(found.insert(param.path, data)),
                Err(error) => failure = failure.take().or(Some(error)),
            },
        }
    });
    let unknown: Vec<String> = views.into_keys().collect();
    if !missing.is_empty() || !unknown.is_empty() {
        return Err(ModelError::Mismatch { path: path.into(), missing, unknown });
    }
    match failure {
        Some(error) => Err(error),
        None => Ok(replace_params(model, |param, _| found.remove(param))),
    }
}

/// The official name of a parameter: the encoder's stand bare, the decoder's carry a prefix.
fn official_name(param: &str) -> String {
    match param.split_once('.') {
        Some(("encoder", rest)) => rest.into(),
        Some(("decoder", "mask_token")) => "mask_token".into(),
        Some(("decoder", rest)) => format!("decoder_{rest}"),
        _ => param.into(),
    }
}

/// How a parameter of ours lies in an official file.
enum Layout {
    Same,
    /// `[d_in, d_out]` here, `[d_out, d_in]` there.
    Transposed,
    /// `[P·P·C, D]` here, a convolution kernel `[D, C, P, P]` there.
    Kernel,
}

fn layout(param: &str, rank: usize) -> Layout {
    match rank {
        2 if param == "encoder.patch_embed.proj.weight" => Layout::Kernel,
        2 => Layout::Transposed,
        _ => Layout::Same,
    }
}

fn to_official(param: &str, data: TensorData, g: &Geometry) -> (Vec<usize>, TensorData) {
    let shape = data.shape().to_vec();
    let (p, c) = (g.patch_size(), g.in_chans());
    match layout(param, shape.len()) {
        Layout::Same => (shape, data),
        Layout::Transposed => {
            let official = vec![shape[1], shape[0]];
            let data = permuted(&data, &official, |i| (i % shape[0]) * shape[1] + i / shape[0]);
            (official, data)
        }
        Layout::Kernel => {
            let dim = shape[1];
            let official = vec![dim, c, p, p];
            let data = permuted(&data, &official, |i| {
                let (d, channel, pixel) = (i / (c * p * p), i / (p * p) % c, i % (p * p));
                (pixel * c + channel) * dim + d
            });
            (official, data)
        }
    }
}

fn from_official(
    param: &str,
    shape: &[usize],
    name: &str,
    view: &TensorView<'_>,
    g: &Geometry,
    path: &Path,
) -> Result<TensorData, ModelError> {
    let (p, c) = (g.patch_size(), g.in_chans());
    let expected = match layout(param, shape.len()) {
        Layout::Same => shape.to_vec(),
        Layout::Transposed => vec![shape[1], shape[0]],
        Layout::Kernel => vec![shape[1], c, p, p],
    };
    if view.shape() != expected {
        return Err(ModelError::Shape {
            path: path.into(),
            name: name.into(),
            found: view.shape().to_vec(),
            expected,
        });
    }
    let dtype = match view.dtype() {
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        other => {
            return Err(ModelError::Dtype {
                path: path.into(),
                name: name.into(),
                dtype: format!("{other:?}"),
            });
        }
    };
    let data = TensorData::from_bytes_vec(view.data().to_vec(), expected, dtype).convert::<f32>();
    Ok(match layout(param, shape.len()) {
        Layout::Same => data,
        Layout::Transposed => permuted(&data, shape, |i| (i % shape[1]) * shape[0] + i / shape[1]),
        Layout::Kernel => permuted(&data, shape, |i| {
            let (row, d) = (i / shape[1], i % shape[1]);
            let (pixel, channel) = (row / c, row % c);
            (d * c + channel) * p * p + pixel
        }),
    })
}

/// Data of shape `shape` whose element `i` is `data`'s element `source(i)`.
fn permuted(data: &TensorData, shape: &[usize], source: impl Fn(usize) -> usize) -> TensorData {
    let values = data.as_slice::<f32>().expect("converted to f32 when read");
    TensorData::new((0..values.len()).map(|i| values[source(i)]).collect(), shape.to_vec())
}
