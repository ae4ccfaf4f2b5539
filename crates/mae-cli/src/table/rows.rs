//! What a file of rows has in it.

use std::path::Path;

use anyhow::{Context, Result};
use mae_data::ImageSource;
use serde_json::Value;

/// A file of so many rows of one shape, in f32.
pub struct Table<'a> {
    pub path: &'a Path,
    /// The shape of a row.
    pub row: &'a [usize],
    /// What the rows are of, in its order.
    pub source: &'a dyn ImageSource,
    /// What the rows depend on besides.
    pub about: Value,
}

/// Says which file an operation failed on.
pub fn on<T, E: std::error::Error + Send + Sync + 'static>(path: &Path, result: Result<T, E>) -> Result<T> {
    result.with_context(|| format!("cannot write {}", path.display()))
}
