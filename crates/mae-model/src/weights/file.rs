//! A weight file of any origin, with its tensors under the official names.

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

/// A weight file of a run, the official code, timm or transformers; safetensors or `.pth`, in one file or several.
///
/// Its contents are recognised by its tensors. Tensors are read when used; nothing in a `.pth` is executed.
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
    /// Names in the file that do not belong to a model, such as an optimizer's state.
    pub(super) other: Vec<String>,
    pub(super) metadata: BTreeMap<String, String>,
    /// The files that it was read from.
    files: Vec<PathBuf>,
    pub(super) models: Models,
    /// The prefix of the encoder's names in the file.
    pub(super) prefix: String,
    pub(super) beside: Beside,
    /// What the files around the tensors say, or why it is not supported.
    pub(super) said: Result<Said, String>,
    /// Messages about tensors that the file lacks and that were added.
    pub(super) added: Vec<&'static str>,
}

impl WeightFile {
    /// Opens a file, or the weights in a folder of transformers, of timm, of a run or of one of its checkpoints.
    ///
    /// If there are several models, it takes the one that timm would take. From a run's checkpoint it takes the average
    /// of the weights, with which the run is evaluated, and from a run the last weights. [`models`](Self::models) lists
    /// all of them.
    ///
    /// # Errors
    /// If it cannot be read, is neither safetensors nor a PyTorch checkpoint, is damaged, or holds no vision
    /// transformer.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ModelError> {
        Self::open_model(path, None)
    }

    /// Like [`open`](Self::open), but takes the model named `key`. For a file with several models, `key` is the prefix
    /// of its tensors' names or a part of it: `student` or `state_dict.student.backbone`. For a run's checkpoint it is
    /// `model` or `ema`, for a run `last` or `best`.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`ModelError::NoModel`] unless exactly one model has this name.
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

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The naming scheme of its tensors.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Its metadata without the model's description, such as the recipe of its training.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        let mut metadata = self.metadata.clone();
        metadata.retain(|key, _| !KEYS.contains(&key.as_str()));
        metadata
    }

    /// Returns the file with another value in its metadata, or with the key removed for `None`.
    #[must_use]
    pub fn with_metadata(mut self, key: &str, value: Option<String>) -> Self {
        match value {
            Some(value) => drop(self.metadata.insert(key.into(), value)),
            None => drop(self.metadata.remove(key)),
        }
        self
    }

    /// Which part of a model it holds.
    pub fn contents(&self) -> Contents {
        Contents::of(&self.tensors)
    }

    /// Parses the description under a key of its metadata.
    pub(super) fn parsed<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, ModelError> {
        let Some(text) = self.metadata.get(key) else { return Ok(None) };
        let refuse = |e: serde_json::Error| ModelError::Description {
            path: self.path.clone(),
            reason: format!("'{key}': {e}"),
        };
        serde_json::from_str(text).map(Some).map_err(refuse)
    }

    /// Reads a tensor's values as f32. Fails if its shape or dtype is wrong, or if it has infinities or NaNs.
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
