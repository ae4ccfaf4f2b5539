//! A file of weights, whoever wrote it, under the official names.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{Device, TensorData};
use mae_vit::{Geometry, InitRng, VisionTransformer};
use serde_json::Value;

use super::adapt::adapt;
use super::choose::{Chosen, Models, choose};
use super::contents::Contents;
use super::describe::{Hints, KEYS};
use super::layout::{float, from_official, official_name, official_shape};
use super::names::{Part, part};
use super::open::{Opened, locate, read};
use super::said::Said;
use super::stored::Stored;
use crate::params::{replace_params, visit_params};
use crate::{Classifier, Mae, ModelError, Scheme};

/// A file of weights: a run's, an official or timm's checkpoint, a model of transformers; safetensors or `.pth`, in one file or several.
///
/// What it holds is seen by looking at it. Tensors are read when they are used; nothing in a `.pth` is executed.
///
/// ```no_run
/// use burn::tensor::Device;
/// use mae_model::{Hints, WeightFile};
///
/// let file = WeightFile::open("mae_pretrain_vit_base.pth".as_ref())?;
/// print!("{}", file.describe(&Hints::default()));
/// let (encoder, used) = file.encoder(&Hints::default(), &Device::flex())?;
/// println!("{} of its tensors are not used", used.unused.len());
/// # Ok::<(), mae_model::ModelError>(())
/// ```
pub struct WeightFile {
    pub(super) path: PathBuf,
    pub(super) scheme: Scheme,
    /// By official name.
    pub(super) tensors: BTreeMap<String, Stored>,
    /// Names in the file that are nothing of a model's, such as an optimizer's state.
    pub(super) other: Vec<String>,
    pub(super) metadata: BTreeMap<String, String>,
    /// The files that it was read from.
    files: Vec<PathBuf>,
    pub(super) models: Models,
    /// What stands before the encoder's names in the file.
    pub(super) prefix: String,
    pub(super) beside: Beside,
    /// What is said around its tensors, or which of it cannot be done.
    pub(super) said: Result<Said, String>,
    /// What the file leaves out that a model here has.
    pub(super) added: Vec<&'static str>,
}

/// What lies around the tensors.
#[derive(Default)]
pub(super) struct Beside {
    /// transformers' or timm's `config.json`.
    pub config: Option<Value>,
    /// transformers' `preprocessor_config.json`.
    pub preprocessor: Option<Value>,
    /// The options that a PyTorch checkpoint keeps.
    pub args: BTreeMap<String, Value>,
}

/// Which of a file's tensors a model was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Official names of those that were.
    pub used: Vec<String>,
    /// Names in the file of all others.
    pub unused: Vec<String>,
}

impl WeightFile {
    /// Looks at a file, or at the weights in a folder of transformers, of timm, of a run or of one of its checkpoints.
    ///
    /// Where there are several models, timm's choice is taken, and of a checkpoint the average by which its run is
    /// evaluated; [`models`](Self::models) says which there are.
    ///
    /// # Errors
    /// If it cannot be read, is neither safetensors nor a PyTorch checkpoint, is damaged, or holds no vision
    /// transformer.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        Self::open_model(path, None)
    }

    /// The same for the model of this name, where there are several: `student` or `state_dict.student.backbone`, all of
    /// what stands before the names of its tensors or a part of it; `model` or `ema` of a run's checkpoint.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`ModelError::NoModel`] if not just one is called so.
    pub fn open_model(path: &Path, key: Option<&str>) -> Result<Self, ModelError> {
        let (path, in_folder) = locate(path, key)?;
        let Opened { files, tensors, unread, metadata, args } = read(&path)?;
        let named = |models: &&Models| key == Some(models.taken.as_str());
        let key = if in_folder.as_ref().filter(named).is_some() { None } else { key };
        let Chosen { scheme, prefix, mut tensors, mut other, models } = choose(&path, tensors, key)?;
        other.extend(unread);
        let config = |name: &str| match std::fs::read(path.with_file_name(name)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| ModelError::Description {
                path: path.with_file_name(name),
                reason: error.to_string(),
            }),
            Err(_) => Ok(None),
        };
        // A file of another scheme may lie in the same folder, and is not what they describe.
        let preprocessor =
            if scheme == Scheme::Transformers { config("preprocessor_config.json")? } else { None };
        let beside = Beside { config: config("config.json")?, preprocessor, args };
        let said = Said::of(&beside, scheme);
        let patches = said.as_ref().ok().and_then(|said| {
            let ((height, width), patch) =
                (said.image_size.as_ref()?.value, *tensors.get("patch_embed.proj.weight")?.shape.last()?);
            Some((height / patch.max(1)) * (width / patch.max(1)))
        });
        let added = adapt(&mut tensors, patches);
        let models = in_folder.unwrap_or(models);
        Ok(Self { path, scheme, tensors, other, metadata, files, models, prefix, beside, said, added })
    }

    /// The name of the model that was taken, and those of the others in the file or folder, best first.
    pub fn models(&self) -> (&str, &[String]) {
        (&self.models.taken, &self.models.others)
    }

    /// All files that it was read from.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose names it uses.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Its metadata besides the description of the model, such as the recipe it was trained by.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        let mut metadata = self.metadata.clone();
        metadata.retain(|key, _| !KEYS.contains(&key.as_str()));
        metadata
    }

    /// The same file with another value in its metadata, or without it.
    #[must_use]
    pub fn with_metadata(mut self, key: &str, value: Option<String>) -> Self {
        match value {
            Some(value) => drop(self.metadata.insert(key.into(), value)),
            None => drop(self.metadata.remove(key)),
        }
        self
    }

    /// What is in it.
    pub fn contents(&self) -> Contents {
        Contents::of(&self.tensors)
    }

    /// The encoder, and which tensors it was given. Where it was fine-tuned on means of tokens its norm is the one behind the
    /// mean, since there is no other.
    ///
    /// # Errors
    /// If the file does not tell the encoder's shape, lacks one of its tensors or has more of them; if a tensor is of
    /// another shape or type, or holds numbers that are not finite.
    pub fn encoder(&self, hints: &Hints, device: &Device) -> Result<(VisionTransformer, Used), ModelError> {
        let config = self.vit_config(hints)?;
        self.check_size(&config.geometry, &[config.stack])?;
        let encoder = config
            .init(&mut InitRng::new(0), device)
            .map_err(|source| ModelError::Config { part: "encoder", source })?;
        let behind = !self.tensors.contains_key("norm.weight") && self.tensors.contains_key("fc_norm.weight");
        let name = |path: &str| match path.strip_prefix("norm.") {
            Some(kind) if behind => format!("fc_norm.{kind}"),
            _ => official_name(path),
        };
        self.replace(encoder, &config.geometry, name, |part| part == Part::Encoder)
    }

    /// The whole model, and which tensors it was given.
    ///
    /// # Errors
    /// As [`encoder`](Self::encoder); [`ModelError::NoDecoder`] if there is none.
    pub fn mae(&self, hints: &Hints, device: &Device) -> Result<(Mae, Used), ModelError> {
        let config = self.mae_config(hints)?;
        self.check_size(&config.geometry, &[config.encoder, config.decoder])?;
        let model = config.init(0, device)?;
        self.replace(model, &config.geometry, official_name, |part| part != Part::Head)
    }

    /// The encoder with its classifier, and which tensors they were given.
    ///
    /// # Errors
    /// As [`encoder`](Self::encoder); if there is no classifier.
    pub fn classifier(&self, hints: &Hints, device: &Device) -> Result<(Classifier, Used), ModelError> {
        let config = self.classifier_config(hints)?;
        self.check_size(&config.vit.geometry, &[config.vit.stack])?;
        let model = config.init(0, device)?;
        self.replace(
            model,
            &config.vit.geometry,
            |path| config.official_name(path),
            |part| part != Part::Decoder,
        )
    }

    /// A module with all of its values from the file, which must have no others of these parts; `name_of` says what a
    /// parameter is called there.
    pub(super) fn replace<M: Module>(
        &self,
        module: M,
        geometry: &Geometry,
        name_of: impl Fn(&str) -> String,
        wanted: impl Fn(Part) -> bool,
    ) -> Result<(M, Used), ModelError> {
        // Everything is checked before anything is replaced.
        let mut found: HashMap<String, TensorData> = HashMap::new();
        let (mut used, mut missing, mut failure) = (Vec::new(), Vec::new(), None);
        visit_params(&module, |param, _| {
            let name = name_of(&param.path);
            match self.tensors.get(&name) {
                None => missing.push(name),
                Some(stored) => {
                    let expected = official_shape(&name, &param.shape, geometry);
                    match self.values(stored, &expected) {
                        Ok(data) => {
                            found.insert(param.path, from_official(&name, data, &param.shape, geometry));
                        }
                        Err(error) => failure = failure.take().or(Some(error)),
                    }
                    used.push(name);
                }
            }
        });
        let rest = || self.tensors.iter().filter(|(name, _)| !used.contains(name));
        let unknown = rest().filter(|(name, _)| wanted(part(name))).map(|(_, stored)| stored.name.clone());
        let unknown: Vec<_> = unknown.collect();
        if !missing.is_empty() || !unknown.is_empty() {
            return Err(ModelError::Mismatch { path: self.path.clone(), missing, unknown });
        }
        if let Some(error) = failure {
            return Err(error);
        }
        let unused =
            rest().map(|(_, stored)| stored.name.clone()).chain(self.other.iter().cloned()).collect();
        let module = replace_params(module, |param, _| found.remove(param));
        Ok((module, Used { used, unused }))
    }

    /// A tensor's values in f32.
    pub(super) fn values(&self, stored: &Stored, expected: &[usize]) -> Result<TensorData, ModelError> {
        let (path, name) = (self.path.clone(), stored.name.clone());
        if stored.shape != expected {
            let (found, expected) = (stored.shape.clone(), expected.to_vec());
            return Err(ModelError::Shape { path, name, found, expected });
        }
        let Some(dtype) = float(stored.dtype) else {
            return Err(ModelError::Dtype { path, name, dtype: format!("{:?}", stored.dtype) });
        };
        let bytes = stored.read().map_err(|source| ModelError::Read { path: path.clone(), source })?;
        let data = TensorData::from_bytes_vec(bytes, expected.to_vec(), dtype).convert::<f32>();
        let values = data.as_slice::<f32>().expect("converted to f32 above");
        match values.iter().filter(|value| !value.is_finite()).count() {
            0 => Ok(data),
            count => Err(ModelError::NotFinite { path, name, count }),
        }
    }
}

impl fmt::Debug for WeightFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeightFile")
            .field("path", &self.path)
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}

/// Whether a tensor holds what weights are made of.
pub(super) fn is_float(dtype: safetensors::tensor::Dtype) -> bool {
    float(dtype).is_some() || dtype == safetensors::tensor::Dtype::F64
}
