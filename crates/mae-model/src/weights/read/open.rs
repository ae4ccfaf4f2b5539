//! Opens a path: finds the file in a folder, recognises its kind and reads all files of a split model.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use safetensors::SafeTensors;
use serde::Deserialize;
use serde_json::Value;

use super::kind::{Kind, kind};
use super::pytorch;
use super::stored::Stored;
use crate::ModelError;

/// Weight files in a folder of a run, of transformers or of timm. The first that exists is taken.
const IN_FOLDERS: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];
/// Files that may lie beside `model.safetensors`, with the names of the two models, the default first. In a checkpoint,
/// such a file holds the average of the weights, with which the run is evaluated; in a run, the weights of its best
/// evaluation.
const PAIRS: [(&str, [&str; 2]); 2] =
    [("ema.safetensors", ["ema", "model"]), ("best.safetensors", ["last", "best"])];
/// A folder whose presence marks its parent as a run.
const CHECKPOINTS: &str = "checkpoints";
/// Extensions of other weight files.
const ENDINGS: [&str; 5] = ["safetensors", "pth", "pt", "bin", "ckpt"];

/// The models of a file or folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Models {
    /// The one that is read; empty if its tensors' names have no prefix.
    pub taken: String,
    /// The others.
    pub others: Vec<String>,
}

/// A file, or all files of a split model.
#[derive(Default)]
pub(crate) struct Opened {
    /// The files that were read.
    pub files: Vec<PathBuf>,
    pub tensors: Vec<Stored>,
    /// Names of tensors of unsupported kinds.
    pub unread: Vec<String>,
    pub metadata: BTreeMap<String, String>,
    /// The options that a PyTorch checkpoint stores.
    pub args: BTreeMap<String, Value>,
}

/// Finds the weight file at a path, and the models that the folder has to choose from.
pub(crate) fn locate(path: &Path, key: Option<&str>) -> Result<(PathBuf, Option<Models>), ModelError> {
    if !path.is_dir() {
        return Ok((path.into(), None));
    }
    let inside = |name: &str| Some(path.join(name)).filter(|path| path.is_file());
    for (beside, [default, second]) in PAIRS {
        let (Some(model), Some(other)) = (inside(IN_FOLDERS[0]), inside(beside)) else { continue };
        let (taken, left) = if key == Some(second) { (second, default) } else { (default, second) };
        let models = Models { taken: taken.into(), others: vec![left.into()] };
        let path = if beside.strip_suffix(".safetensors") == Some(taken) { other } else { model };
        return Ok((path, Some(models)));
    }
    if let Some(found) = IN_FOLDERS.into_iter().find_map(inside) {
        // If there are no others, the last weights of a run are also its best ones.
        let [last, best] = PAIRS[1].1;
        let only = key.filter(|key| [last, best].contains(key) && path.join(CHECKPOINTS).is_dir());
        return Ok((found, only.map(|key| Models { taken: key.into(), others: Vec::new() })));
    }
    let mut names: Vec<String> = fs::read_dir(path)
        .and_then(|entries| {
            entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
        })
        .map_err(|source| ModelError::Read { path: path.into(), source })?;
    names.sort();
    let weights: Vec<&String> = names
        .iter()
        .filter(|name| name.rsplit_once('.').is_some_and(|(_, ending)| ENDINGS.contains(&ending)))
        .collect();
    if let [only] = weights.as_slice() {
        return Ok((path.join(only), None));
    }
    let listed = |names: &[&String]| names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    let reason = if !weights.is_empty() {
        format!("it holds several weight files, name one: {}", listed(&weights))
    } else if names.iter().any(|name| name == CHECKPOINTS) {
        "the run has no model.safetensors yet; its checkpoints are the folders in checkpoints/".into()
    } else if names.is_empty() {
        "the folder is empty".into()
    } else {
        let shown: Vec<&String> = names.iter().take(5).collect();
        format!("it holds no model.safetensors, pytorch_model.bin or .pth file, but {}", listed(&shown))
    };
    Err(ModelError::Read { path: path.into(), source: io::Error::new(ErrorKind::NotFound, reason) })
}

/// Reads everything about a file except its tensors' values.
pub(crate) fn read(path: &Path) -> Result<Opened, ModelError> {
    if path.to_string_lossy().ends_with(".index.json") {
        return sharded(path);
    }
    match kind(path).map_err(|source| ModelError::Read { path: path.into(), source })? {
        Kind::Safetensors => safetensors(path),
        Kind::Pytorch => torch(path),
        Kind::Other(what) => Err(ModelError::NotWeights { path: path.into(), what }),
    }
}

/// transformers' index of a model in several files.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

fn sharded(path: &Path) -> Result<Opened, ModelError> {
    let bytes = fs::read(path).map_err(|source| ModelError::Read { path: path.into(), source })?;
    let refuse = |reason: String| ModelError::Description { path: path.into(), reason };
    let index: Index =
        serde_json::from_slice(&bytes).map_err(|error| refuse(format!("it is not an index: {error}")))?;
    let mut all = Opened { files: vec![path.into()], ..Opened::default() };
    let shards: BTreeSet<&String> = index.weight_map.values().collect();
    let mut missing: BTreeSet<&String> = index.weight_map.keys().collect();
    for shard in shards {
        // Refuse files outside the folder.
        if Path::new(shard).file_name() != Some(shard.as_ref()) || shard.ends_with(".index.json") {
            return Err(refuse(format!("it names '{shard}', which is not a file beside it")));
        }
        let opened = read(&path.with_file_name(shard))?;
        all.files.extend(opened.files);
        all.metadata.extend(opened.metadata);
        for stored in opened.tensors {
            if index.weight_map.get(&stored.name) == Some(shard) {
                missing.remove(&stored.name);
                all.tensors.push(stored);
            }
        }
    }
    match missing.first() {
        None => Ok(all),
        Some(name) => {
            let shard = &index.weight_map[*name];
            Err(refuse(format!(
                "{} of its tensors are not in the files that it names, such as {name} in {shard}",
                missing.len()
            )))
        }
    }
}

fn torch(path: &Path) -> Result<Opened, ModelError> {
    let found = pytorch::open(path).map_err(|error| match error.raw_os_error() {
        Some(_) => ModelError::Read { path: path.into(), source: error },
        None => ModelError::Pytorch { path: path.into(), reason: error.to_string() },
    })?;
    let pytorch::Checkpoint { found, args } = found;
    let tensors = found.tensors.into_iter().map(|(name, tensor)| Stored::pytorch(name, tensor)).collect();
    let (files, metadata) = (vec![path.into()], BTreeMap::new());
    Ok(Opened { files, tensors, unread: found.unread, metadata, args })
}

fn safetensors(path: &Path) -> Result<Opened, ModelError> {
    let bytes = fs::read(path).map_err(|source| ModelError::Read { path: path.into(), source })?;
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
    Ok(Opened { files: vec![path.into()], tensors, metadata, ..Opened::default() })
}
