//! Everything that can go wrong with what a run leaves to look at.

use std::path::PathBuf;

/// Why a file could not be read or written, or a picture not drawn.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// An argument lies outside what it may be.
    #[error("{name} is {value}, but must be {bound}")]
    Argument {
        /// The argument's name.
        name: &'static str,
        /// What it was.
        value: String,
        /// What it may be.
        bound: String,
    },
    /// A picture of a shape that no image has.
    #[error(transparent)]
    Image(Box<mae_data::ImageError>),
    /// A file that could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file that could not be written; what was there before is still there.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A line of `metrics.jsonl` that is whole and yet no record.
    #[error("line {line} of {} is not a record of metrics", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// A picture that could not be drawn.
    #[error("cannot draw the {what}")]
    Draw {
        /// Which picture.
        what: &'static str,
        /// What the drawing library said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl From<mae_data::ImageError> for ReportError {
    fn from(error: mae_data::ImageError) -> Self {
        Self::Image(error.into())
    }
}

impl ReportError {
    pub(crate) fn argument(name: &'static str, value: impl ToString, bound: impl Into<String>) -> Self {
        Self::Argument { name, value: value.to_string(), bound: bound.into() }
    }
}
