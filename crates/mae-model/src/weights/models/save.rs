//! Saves models to files and loads them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, TensorData};
use mae_vit::{Normalize, StackConfig, VitConfig};
use safetensors::tensor::{Dtype, TensorView};

use crate::params::visit_params;
use crate::weights::durable::settle;
use crate::weights::file::WeightFile;
use crate::weights::metadata::{CLASSIFIER_KEY, CONFIG_KEY, ENCODER_KEY, NORMALIZE_KEY, SEGMENTER_KEY, json};
use crate::weights::names::{official_name, to_official};
use crate::{Classifier, Hints, Mae, ModelError, Segmenter, Sourced};

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

/// A model that a file of weights can hold and describe.
pub trait SavedModel: Module + Clone {
    /// The configuration of its encoder.
    fn encoder_config(&self) -> VitConfig;

    /// The metadata key of the description and the description as JSON; by default, that of the encoder.
    fn description(&self) -> (&'static str, String) {
        (ENCODER_KEY, json(&self.encoder_config()))
    }

    /// The decoder's blocks, if it has one.
    fn decoder_stack(&self) -> Option<StackConfig> {
        None
    }

    /// The official name of a parameter. By default, without `encoder.`, so that every reader finds the encoder.
    fn official_name(&self, path: &str) -> String {
        official_name(path)
    }
}

impl SavedModel for Mae {
    fn description(&self) -> (&'static str, String) {
        (CONFIG_KEY, json(self.config()))
    }

    fn encoder_config(&self) -> VitConfig {
        self.config().vit()
    }

    fn decoder_stack(&self) -> Option<StackConfig> {
        Some(self.config().decoder)
    }
}

impl SavedModel for Classifier {
    fn description(&self) -> (&'static str, String) {
        (CLASSIFIER_KEY, json(self.config()))
    }

    fn encoder_config(&self) -> VitConfig {
        self.config().vit
    }

    fn official_name(&self, path: &str) -> String {
        self.config().official_name(path)
    }
}

impl SavedModel for Segmenter {
    fn description(&self) -> (&'static str, String) {
        (SEGMENTER_KEY, json(self.config()))
    }

    fn encoder_config(&self) -> VitConfig {
        self.config().vit
    }

    fn official_name(&self, path: &str) -> String {
        Segmenter::official_name(path)
    }
}

/// Writes a model to `path`, completely or not at all.
///
/// Names and shapes are the official ones, in f32; `metadata` is stored beside the description.
///
/// # Errors
/// If the file cannot be written. An existing file is left unchanged.
pub fn save<M: SavedModel>(
    model: &M,
    normalize: &Normalize,
    metadata: &BTreeMap<String, String>,
    path: impl AsRef<Path>,
) -> Result<(), ModelError> {
    let path = path.as_ref();
    let mut tensors: Vec<(String, TensorData)> = Vec::new();
    visit_params(model, |param, read| {
        let name = model.official_name(&param.path);
        let data = to_official(&name, read(), &model.encoder_config().geometry);
        tensors.push((name, data));
    });
    let views = tensors.iter().map(|(name, data)| {
        let view = TensorView::new(Dtype::F32, data.shape().to_vec(), data.as_bytes());
        (name, view.expect("the data was made with this shape"))
    });
    let mut all: HashMap<String, String> = metadata.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    let (key, description) = model.description();
    all.insert(key.into(), description);
    all.insert(NORMALIZE_KEY.into(), json(normalize));
    // The key that Python's loaders expect.
    all.insert("format".into(), "pt".into());
    safetensors::serialize_to_file(views, Some(all), path)
        .and_then(|()| Ok(settle(path)?))
        .map_err(|source| ModelError::Write { path: path.into(), source })
}

/// Reads the weights of `path` into a model of the same shape. The file must have all of its tensors and no others.
///
/// # Errors
/// As [`WeightFile::open`]; also if the tensors are not the model's. [`ModelError::Different`] if the file says that it
/// was trained on images of another size, which may have as many positions, or with another number of heads, which no
/// tensor shows.
pub fn load_into<M: SavedModel>(model: M, path: impl AsRef<Path>) -> Result<M, ModelError> {
    let path = path.as_ref();
    let file = WeightFile::open(path)?;
    let like = model.clone();
    let said = file.says()?;
    let (vit, decoder) = (like.encoder_config(), like.decoder_stack());
    let size = |(height, width): (usize, usize)| format!("{height}x{width}");
    let heads = |said: Option<Sourced<usize>>| said.map(|said| said.value.to_string());
    let other_decoder = decoder.map(|stack| stack.num_heads.to_string());
    for (field, said, has) in [
        ("image_size", said.image_size.map(|said| size(said.value)), Some(size(vit.geometry.image_size()))),
        ("num_heads", heads(said.num_heads), Some(vit.stack.num_heads.to_string())),
        ("decoder_num_heads", heads(said.decoder_num_heads), other_decoder),
    ] {
        if let (Some(found), Some(expected)) = (said, has)
            && found != expected
        {
            return Err(ModelError::Different { path: file.path().into(), field, found, expected });
        }
    }
    let (model, used) = file.replace(model, &vit.geometry, |path| like.official_name(path), |_| true)?;
    match used.unused.is_empty() {
        true => Ok(model),
        false => Err(ModelError::Mismatch { path: path.into(), missing: Vec::new(), unknown: used.unused }),
    }
}

/// Reads a model with its decoder from a file in any scheme that states or shows what model it is.
///
/// # Errors
/// As [`WeightFile::open`] and [`WeightFile::mae`].
pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Loaded, ModelError> {
    let path = path.as_ref();
    let file = WeightFile::open(path)?;
    let (model, _) = file.mae(&Hints::default(), device)?;
    Ok(Loaded { model, normalize: file.normalize()?, metadata: file.metadata() })
}
