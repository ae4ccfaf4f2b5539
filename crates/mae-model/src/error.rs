//! What can go wrong when a model is described, read or written.

use std::path::PathBuf;

use mae_vit::{VitConfig, VitError};

use crate::Contents;

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The description of the model is inconsistent.
    #[error("the {part} is inconsistent")]
    Config {
        /// "encoder", "decoder" or "segmenter".
        part: &'static str,
        /// What is wrong with it.
        source: VitError,
    },
    /// A head is described for another encoder than the one that is given.
    #[error("the encoder is {found:?}, but the head is described for {expected:?}")]
    Encoder {
        /// The encoder that is given.
        found: Box<VitConfig>,
        /// The one that is described.
        expected: Box<VitConfig>,
    },
    /// Nothing has that name.
    #[error("unknown {what} '{name}': expected one of {known}")]
    UnknownName {
        /// What it was to name.
        what: &'static str,
        /// The name that was given.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file could not be written; what was there before is untouched.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: safetensors::SafeTensorError,
    },
    /// The file is not a (complete) safetensors file.
    #[error("{} is not a complete safetensors file", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What the parser found.
        source: safetensors::SafeTensorError,
    },
    /// The file is not a (complete) PyTorch checkpoint, or one that is not to be trusted.
    #[error("{} is not a complete PyTorch checkpoint: {reason}", path.display())]
    Pytorch {
        /// The file.
        path: PathBuf,
        /// What the reader found.
        reason: String,
    },
    /// The file is something else than weights.
    #[error("{} is {what}", path.display())]
    NotWeights {
        /// The file.
        path: PathBuf,
        /// What it is, and what to do.
        what: String,
    },
    /// Several models are there, or one, and none or more than one of them is called so.
    #[error("{}: '{name}' is not the name of one of its models, which are: {known}", path.display())]
    NoModel {
        /// The file.
        path: PathBuf,
        /// The name that was given.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The file holds another kind of vision transformer.
    #[error("{}: its model has {what} ({name}), which is not computed here", path.display())]
    OtherModel {
        /// The file.
        path: PathBuf,
        /// The tensor that tells.
        name: String,
        /// What it is a part of.
        what: &'static str,
    },
    /// The file says that it was trained as another model.
    #[error("{}: it says that {field} is {found}, but the model has {expected}", path.display())]
    Different {
        /// The file.
        path: PathBuf,
        /// In what they differ.
        field: &'static str,
        /// As the file says.
        found: String,
        /// As the model has it.
        expected: String,
    },
    /// A decoder is needed, and the file has none.
    #[error("{} holds {contents}: its pixels cannot be predicted, for which the decoder is needed", path.display())]
    NoDecoder {
        /// The file.
        path: PathBuf,
        /// What it holds.
        contents: Contents,
    },
    /// An encoder was fine-tuned on means, and its only norm belongs behind the mean.
    #[error(
        "{} was fine-tuned on means and has no norm for single tokens: the features of the mean alone are to be had of it \
         (WeightFile::features)",
        path.display()
    )]
    NoTokenNorm {
        /// The file.
        path: PathBuf,
    },
    /// A tensor holds infinite numbers, or such that are none.
    #[error("{}: {count} numbers of tensor {name} are not finite", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor's name in the file.
        name: String,
        /// How many they are.
        count: usize,
    },
    /// Weights cannot be made to fit images of another size or other channels.
    #[error("cannot change the images of {}: {reason}", path.display())]
    Resample {
        /// The file that holds them.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A model cannot be written as asked.
    #[error("cannot write {} as {}: {reason}", path.display(), out.display())]
    Export {
        /// The file that holds it.
        path: PathBuf,
        /// Where it was to be written.
        out: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The file does not say what model it holds.
    #[error("{} holds no usable description of its model ({reason})", path.display())]
    Description {
        /// The file.
        path: PathBuf,
        /// What is missing or malformed.
        reason: String,
    },
    /// The file holds a tensor of another shape.
    #[error("{}: tensor {name} is {found:?} in the file, but the model needs {expected:?}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor's name in the file.
        name: String,
        /// Its shape in the file.
        found: Vec<usize>,
        /// The shape that the model needs.
        expected: Vec<usize>,
    },
    /// The file's tensors are not the model's.
    #[error(
        "{} does not match the model: {} of its tensors are missing{} and {} are unknown{}",
        path.display(), missing.len(), first(missing), unknown.len(), first(unknown)
    )]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Tensors that the model needs and the file lacks.
        missing: Vec<String>,
        /// Tensors in the file that the model has no use for.
        unknown: Vec<String>,
    },
    /// A tensor has a type that weights are not read from.
    #[error("{}: tensor {name} is {dtype}, but weights are F32, F16 or BF16", path.display())]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor's name in the file.
        name: String,
        /// Its type.
        dtype: String,
    },
}

/// The first few names, to begin a search with.
fn first(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => format!(" ({one})"),
        [one, ..] => format!(" ({one}, …)"),
    }
}
