//! A file of weights, whoever wrote it, under the official names.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use burn::tensor::TensorData;
use serde::de::DeserializeOwned;

use super::metadata::KEYS;
use super::names::{Chosen, adapt, choose, float};
use super::read::{Models, Opened, Stored, locate, read};
use super::said::{Beside, Said};
use crate::{Contents, ModelError, Scheme};

/// A file of weights: a run's, an official or timm's checkpoint, a model of transformers; safetensors or `.pth`, in one file or several.
///
/// What it holds is seen by looking at it. Tensors are read when they are used; nothing in a `.pth` is executed.
///
/// ```no_run
/// use burn::tensor::Device;
/// use mae_model::{Hints, WeightFile};
///
/// let file = WeightFile::open("mae_pretrain_vit_base.pth")?;
/// print!("{}", file.describe(&Hints::default()));
/// let (features, used) = file.features(None, &Hints::default(), &Device::flex())?;
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

impl WeightFile {
    /// Looks at a file, or at the weights in a folder of transformers, of timm, of a run or of one of its checkpoints.
    ///
    /// Where there are several models, timm's choice is taken; of a run's checkpoint, the average by which the run is evaluated; of a
    /// run, the last weights. [`models`](Self::models) says which there are.
    ///
    /// # Errors
    /// If it cannot be read, is neither safetensors nor a PyTorch checkpoint, is damaged, or holds no vision
    /// transformer.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ModelError> {
        Self::open_model(path, None)
    }

    /// The same for the model of this name, where there are several: `student` or `state_dict.student.backbone`, all of
    /// what stands before the names of its tensors or a part of it; `model` or `ema` of a run's checkpoint; `last` or `best` of a run.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`ModelError::NoModel`] if not just one is called so.
    pub fn open_model(path: impl AsRef<Path>, key: Option<&str>) -> Result<Self, ModelError> {
        let path = path.as_ref();
        let (path, in_folder) = locate(path, key)?;
        let Opened { files, tensors, unread, metadata, args } = read(&path)?;
        let named = |models: &&Models| key == Some(models.taken.as_str());
        let key = if in_folder.as_ref().filter(named).is_some() { None } else { key };
        let Chosen { scheme, prefix, mut tensors, mut other, models } = choose(&path, tensors, key)?;
        other.extend(unread);
        let beside = Beside::read(&path, scheme, args)?;
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

    /// The description under a key of its metadata.
    pub(super) fn parsed<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, ModelError> {
        let Some(text) = self.metadata.get(key) else { return Ok(None) };
        let refuse = |e: serde_json::Error| ModelError::Description {
            path: self.path.clone(),
            reason: format!("'{key}': {e}"),
        };
        serde_json::from_str(text).map(Some).map_err(refuse)
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
