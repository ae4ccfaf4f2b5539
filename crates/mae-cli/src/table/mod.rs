//! Rows of numbers in a file that is written bit by bit and can be continued: NumPy's `.npy`, safetensors or Parquet.

mod parquet;
mod rows;
mod writer;

pub use rows::Table;
