//! Files with one row per image, which an interrupted command can resume.

mod features;
mod parquet;
mod predicted;
mod predictions;
mod rows;

pub use features::FeatureFormat;
pub use predicted::Predicted;
pub use predictions::PredictionFormat;
pub use rows::{Table, beside, check_free};
