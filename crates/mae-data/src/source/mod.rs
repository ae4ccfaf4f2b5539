//! Image sources: folders of image files, packed folders, and tables.

mod extensions;
mod folder;
mod labels;
mod pack;
mod pack_files;
mod passed_over;
mod shard_index;
mod shards;
#[allow(clippy::module_inception, reason = "the trait is what the folder is about")]
mod source;
mod store;
mod subset;
mod tables;
mod tar_scan;

pub use extensions::IMAGE_EXTENSIONS;
pub use folder::{FolderOptions, ImageFolder};
pub use labels::{LabelTable, TableRows};
pub use pack::{PackOptions, Packed, pack};
pub use passed_over::PassedOver;
pub use shards::ShardSource;
pub use source::ImageSource;
pub use store::Store;
pub use subset::Subset;
#[cfg(feature = "parquet")]
pub use tables::ParquetImages;
pub use tables::{ImageList, images_exist, is_table, open_images};
