//! Files of a row for each image, which can be continued.

mod features;
mod parquet;
mod predictions;
mod rows;

pub use features::FeatureFormat;
pub use predictions::{Predicted, PredictionFormat};
pub use rows::Table;
