//! A file of weights, whoever wrote it, under the official names.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, TensorData};
use mae_vit::{Geometry, InitRng, Normalize, VisionTransformer};
use pytorch_reader::{PytorchError, PytorchReader};
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;

use super::describe::{CLASSIFIER_KEY, CONFIG_KEY, Contents, Hints, NORMALIZE_KEY};
use super::layout::{float, from_official, official_name, official_shape};
use super::names::{Part, from_transformers, part};
use super::stored::Stored;
use crate::params::{replace_params, visit_params};
use crate::{Classifier, Mae, ModelError, Scheme};

/// A file of weights: a run's, an official or timm's checkpoint, a model of transformers; safetensors or `.pth`.
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
    /// transformers' `config.json` and `preprocessor_config.json` beside it.
    pub(super) configs: [Option<serde_json::Value>; 2],
}

/// Which of a file's tensors a model was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Official names of those that were.
    pub used: Vec<String>,
    /// Names in the file of all others.
    pub unused: Vec<String>,
}

/// Files in a folder of a run, of transformers or of timm.
const IN_FOLDERS: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];

impl WeightFile {
    /// Looks at a file, or at the weights in a folder of transformers or of a run.
    ///
    /// # Errors
    /// If it cannot be read, is neither safetensors nor a PyTorch checkpoint, is damaged, or holds no vision
    /// transformer.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let read = |source| ModelError::Read { path: path.into(), source };
        let inside = IN_FOLDERS.map(|name| path.join(name)).into_iter().find(|path| path.is_file());
        let path = match path.is_dir() {
            true => &inside.ok_or_else(|| read(ErrorKind::NotFound.into()))?,
            false => path,
        };
        let (tensors, metadata) = match is_pytorch(path).map_err(read)? {
            true => (pytorch(path)?, BTreeMap::new()),
            false => safetensors(path)?,
        };
        let (scheme, tensors, other) = officially(path, tensors)?;
        let config = |name: &str| {
            // A file of another scheme may lie in the same folder, and is not what they describe.
            let bytes =
                (scheme == Scheme::Transformers).then(|| std::fs::read(path.with_file_name(name)).ok())?;
            serde_json::from_slice(&bytes?).ok()
        };
        let configs = [config("config.json"), config("preprocessor_config.json")];
        Ok(Self { path: path.into(), scheme, tensors, other, metadata, configs })
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
        metadata.retain(|key, _| ![CONFIG_KEY, CLASSIFIER_KEY, NORMALIZE_KEY].contains(&key.as_str()));
        metadata
    }

    /// What is in it.
    pub fn contents(&self) -> Contents {
        Contents::of(&self.tensors)
    }

    /// How its images were normalised: as it says, else by ImageNet's mean and deviation.
    ///
    /// # Errors
    /// If what it says cannot be used, or it says nothing and its images have no three channels.
    pub fn normalize(&self) -> Result<Normalize, ModelError> {
        let refuse = |reason: String| ModelError::Description { path: self.path.clone(), reason };
        let normalize = self.said_normalize()?.unwrap_or_else(Normalize::imagenet);
        normalize.validate(self.patch_embed()?[1]).map_err(|e| refuse(e.to_string()))?;
        Ok(normalize)
    }

    /// As the file says, or transformers' preprocessor beside it.
    pub(super) fn said_normalize(&self) -> Result<Option<Normalize>, ModelError> {
        let refuse = |reason: String| ModelError::Description { path: self.path.clone(), reason };
        let numbers = |key: &str| serde_json::from_value(self.configs[1].as_ref()?.get(key)?.clone()).ok();
        match (self.metadata.get(NORMALIZE_KEY), numbers("image_mean"), numbers("image_std")) {
            (Some(text), ..) => {
                serde_json::from_str(text).map(Some).map_err(|e| refuse(format!("'{NORMALIZE_KEY}': {e}")))
            }
            (None, Some(mean), Some(std)) => {
                Normalize::new(mean, std).map(Some).map_err(|e| refuse(e.to_string()))
            }
            _ => Ok(None),
        }
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

/// Whether it begins as `torch.save` does: a zip archive, or a pickle.
fn is_pytorch(path: &Path) -> std::io::Result<bool> {
    let mut head = Vec::new();
    std::fs::File::open(path)?.take(9).read_to_end(&mut head)?;
    // The header of safetensors begins after 8 bytes of its length, which may look like a pickle's beginning.
    let pickle = matches!(head[..], [0x80, 2..=5, ..]) && head.get(8) != Some(&b'{');
    Ok(head.starts_with(b"PK\x03\x04") || pickle)
}

fn pytorch(path: &Path) -> Result<Vec<Stored>, ModelError> {
    let reader = PytorchReader::new(path).map_err(|error| match error {
        PytorchError::Io(source) => ModelError::Read { path: path.into(), source },
        error => ModelError::Pytorch { path: path.into(), reason: error.to_string() },
    })?;
    Ok(reader.into_tensors().into_values().map(Stored::pytorch).collect())
}

fn safetensors(path: &Path) -> Result<(Vec<Stored>, BTreeMap<String, String>), ModelError> {
    let bytes = std::fs::read(path).map_err(|source| ModelError::Read { path: path.into(), source })?;
    let file = Arc::new(bytes);
    let refuse = |source| ModelError::Format { path: path.into(), source };
    let (header, metadata) = SafeTensors::read_metadata(&file).map_err(refuse)?;
    // Checks that the tensors fill the file.
    SafeTensors::deserialize(&file).map_err(refuse)?;
    let begin = header + size_of::<u64>();
    let tensors = metadata.tensors().into_iter().map(|(name, info)| {
        let (from, to) = info.data_offsets;
        Stored::bytes(&name, info.dtype, &info.shape, &file, begin + from..begin + to)
    });
    let tensors = tensors.collect();
    let mut metadata: BTreeMap<_, _> = metadata.metadata().clone().unwrap_or_default().into_iter().collect();
    metadata.remove("format");
    Ok((tensors, metadata))
}

/// What the patch projection is called by each scheme; what stands before it stands before all of the encoder's names.
const PROJECTIONS: [(Scheme, &str); 2] = [
    (Scheme::Official, "patch_embed.proj.weight"),
    (Scheme::Transformers, "embeddings.patch_embeddings.projection.weight"),
];

/// The tensors under their official names, and the names of those that are nothing of a model's.
#[allow(clippy::type_complexity, reason = "one caller takes it apart")]
fn officially(
    path: &Path,
    tensors: Vec<Stored>,
) -> Result<(Scheme, BTreeMap<String, Stored>, Vec<String>), ModelError> {
    let prefixes = PROJECTIONS.into_iter().flat_map(|(scheme, projection)| {
        let prefix =
            move |stored: &'_ Stored| Some((scheme, stored.name.strip_suffix(projection)?.to_owned()));
        tensors.iter().filter_map(prefix).collect::<Vec<_>>()
    });
    let named = |prefix: &str| prefix.is_empty() || prefix.ends_with('.');
    let Some((scheme, prefix)) =
        prefixes.filter(|(_, prefix)| named(prefix)).min_by_key(|(_, prefix)| prefix.len())
    else {
        let first = tensors.iter().map(|stored| stored.name.as_str()).min().unwrap_or("nothing");
        let reason =
            format!("no patch projection among its {} tensors, the first being {first}", tensors.len());
        return Err(ModelError::Description { path: path.into(), reason });
    };
    // transformers' decoder stands beside its encoder.
    let outer = prefix.strip_suffix("vit.").unwrap_or(&prefix);
    let official = |name: &str| match scheme {
        Scheme::Transformers => {
            let decoder = name.strip_prefix(outer).filter(|rest| rest.starts_with("decoder."));
            from_transformers(decoder.or_else(|| name.strip_prefix(prefix.as_str()))?)
        }
        _ => name.strip_prefix(prefix.as_str()).map(|rest| (rest.to_owned(), None)),
    };
    let (mut all, mut thirds, mut other) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for stored in tensors {
        match official(&stored.name) {
            None => other.push(stored.name),
            Some((name, Some(third))) => {
                thirds.entry(name).or_insert_with(BTreeMap::new).insert(third, stored);
            }
            Some((name, None)) => drop(all.insert(name, stored)),
        }
    }
    for (name, parts) in thirds {
        let names: Vec<String> = parts.values().map(|part| part.name.clone()).collect();
        let stacked = Some(parts).filter(|parts| parts.len() == 3);
        let Some(stacked) = stacked.and_then(|parts| Stored::stacked(parts.into_values().collect())) else {
            let reason = format!("query, key and value are not three equal tensors: {}", names.join(", "));
            return Err(ModelError::Description { path: path.into(), reason });
        };
        all.insert(name, stacked);
    }
    other.sort();
    Ok((scheme, all, other))
}

/// Whether a tensor holds what weights are made of.
pub(super) fn is_float(dtype: Dtype) -> bool {
    float(dtype).is_some() || dtype == Dtype::F64
}
