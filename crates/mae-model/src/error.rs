//! Errors from describing, reading and writing models.

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
    /// The head's configuration describes an encoder other than the given one.
    #[error("the encoder is {found:?}, but the head is described for {expected:?}")]
    Encoder {
        /// The given encoder.
        found: Box<VitConfig>,
        /// The encoder that the head's configuration describes.
        expected: Box<VitConfig>,
    },
    /// The name is unknown.
    #[error("unknown {what} '{name}': expected one of {known}")]
    UnknownName {
        /// What kind of thing has the name, such as a preset.
        what: &'static str,
        /// The given name.
        name: String,
        /// The known names.
        known: String,
    },
    /// The file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        source: std::io::Error,
    },
    /// The file could not be written. An existing file is left unchanged.
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
        /// The parser's error.
        source: safetensors::SafeTensorError,
    },
    /// The file is not a (complete) PyTorch checkpoint, or the reader does not trust it.
    #[error("{} is not a complete PyTorch checkpoint: {reason}", path.display())]
    Pytorch {
        /// The file.
        path: PathBuf,
        /// Why the reader refused it.
        reason: String,
    },
    /// The file holds something other than weights.
    #[error("{} is {what}", path.display())]
    NotWeights {
        /// The file.
        path: PathBuf,
        /// What it is, and what to do.
        what: String,
    },
    /// The given name matches none of the file's models, or more than one.
    #[error("{}: '{name}' does not name one of its models: {known}", path.display())]
    NoModel {
        /// The file.
        path: PathBuf,
        /// The given name.
        name: String,
        /// The names of its models.
        known: String,
    },
    /// The file holds a kind of vision transformer that this crate does not compute.
    #[error("{}: its model has {what} ({name}), which is not supported", path.display())]
    OtherModel {
        /// The file.
        path: PathBuf,
        /// The tensor that shows this.
        name: String,
        /// What the tensor is a part of, such as LayerScale.
        what: &'static str,
    },
    /// The file's description disagrees with the model.
    #[error("{}: its {field} is {found}, but the model has {expected}", path.display())]
    Different {
        /// The file.
        path: PathBuf,
        /// The field that differs.
        field: &'static str,
        /// Its value in the file.
        found: String,
        /// Its value in the model.
        expected: String,
    },
    /// A decoder is needed, and the file has none.
    #[error("{} holds {contents}, but predicting pixels needs a decoder", path.display())]
    NoDecoder {
        /// The file.
        path: PathBuf,
        /// What it holds.
        contents: Contents,
    },
    /// The encoder was fine-tuned on means, so its only norm applies to the mean.
    #[error(
        "{} was fine-tuned on means and has no norm for single tokens: only the features of the mean are available \
         (WeightFile::features)",
        path.display()
    )]
    NoTokenNorm {
        /// The file.
        path: PathBuf,
    },
    /// A tensor holds infinities or NaNs.
    #[error("{}: {count} numbers of tensor {name} are not finite", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor's name in the file.
        name: String,
        /// The number of infinities and NaNs.
        count: usize,
    },
    /// The weights cannot be adapted to another image size or to other channels.
    #[error("cannot adapt {} to other images: {reason}", path.display())]
    Resample {
        /// The file that holds them.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The model cannot be written as requested.
    #[error("cannot write {} as {}: {reason}", path.display(), out.display())]
    Export {
        /// The file that holds it.
        path: PathBuf,
        /// The output path.
        out: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The file has no usable description of its model.
    #[error("{} holds no usable description of its model ({reason})", path.display())]
    Description {
        /// The file.
        path: PathBuf,
        /// What is missing or malformed.
        reason: String,
    },
    /// A tensor in the file does not have the shape that the model needs.
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
    /// The file's tensors do not match the model's.
    #[error(
        "{} does not match the model: {} of its tensors are missing{} and {} are unknown{}",
        path.display(), missing.len(), first(missing), unknown.len(), first(unknown)
    )]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Tensors that the model needs and the file lacks.
        missing: Vec<String>,
        /// Tensors in the file that the model does not have.
        unknown: Vec<String>,
    },
    /// A tensor's dtype is not F32, F16 or BF16.
    #[error("{}: tensor {name} is {dtype}, but weights are F32, F16 or BF16", path.display())]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor's name in the file.
        name: String,
        /// Its dtype.
        dtype: String,
    },
}

/// The first name, with an ellipsis if there are more.
fn first(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => format!(" ({one})"),
        [one, ..] => format!(" ({one}, …)"),
    }
}
