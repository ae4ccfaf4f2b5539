//! Where images come from: folders, packed or not.

mod folder;
mod labels;
mod pack;
mod pack_files;
mod passed_over;
mod shard_index;
mod shards;
#[allow(clippy::module_inception, reason = "the trait is what the folder is about")]
mod source;
mod subset;
mod tar_scan;

pub use folder::{FolderOptions, IMAGE_EXTENSIONS, ImageFolder};
pub use labels::{LabelTable, LabelsError};
pub use pack::{PackOptions, Packed, Store, pack};
pub use passed_over::PassedOver;
pub use shards::{ShardSource, open_images};
pub use source::ImageSource;
pub use subset::Subset;
