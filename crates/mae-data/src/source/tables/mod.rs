//! Data sets listed by a table or stored in one.

mod list;
mod open;
#[cfg(feature = "parquet")]
mod parquet;

pub use list::ImageList;
pub use open::{images_exist, is_table, open_images};
#[cfg(feature = "parquet")]
pub use parquet::ParquetImages;
