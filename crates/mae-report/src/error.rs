//! Errors of reading, writing and drawing a run's results.

use std::path::PathBuf;

/// Why a file could not be read or written, or a picture could not be drawn.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// An argument is out of bounds.
    #[error("{name} is {value}, but must be {bound}")]
    Argument {
        /// The argument's name.
        name: &'static str,
        /// Its value.
        value: String,
        /// The values it may have.
        bound: String,
    },
    /// A picture whose shape is not valid for an image.
    #[error(transparent)]
    Image(Box<mae_data::ImageError>),
    /// A file that could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// A file that could not be written. Its previous content is still there.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// A complete line of `metrics.jsonl` that is not a record.
    #[error("line {line} of {} is not a record of metrics", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// The parser's error.
        #[source]
        source: serde_json::Error,
    },
    /// A picture that could not be drawn.
    #[error("cannot draw the {what}")]
    Draw {
        /// Which picture.
        what: &'static str,
        /// The drawing library's error.
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
