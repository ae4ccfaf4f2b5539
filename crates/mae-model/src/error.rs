//! What can go wrong when a model is described, read or written.

use std::path::PathBuf;

use mae_vit::VitError;

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The description of the model is inconsistent.
    #[error("the {part} is inconsistent: {source}")]
    Config {
        /// "encoder" or "decoder".
        part: &'static str,
        /// What is wrong with it.
        source: VitError,
    },
    /// No preset of that name.
    #[error("unknown preset '{name}': expected one of {known}")]
    UnknownPreset {
        /// The name that was given.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file could not be written; what was there before is untouched.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: safetensors::SafeTensorError,
    },
    /// The file is not a (complete) safetensors file.
    #[error("{} is not a complete safetensors file: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What the parser found.
        source: safetensors::SafeTensorError,
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
