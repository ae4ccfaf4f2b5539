//! Label maps: the class of every pixel of an image, read from files whose values or colours a class map names.

mod class_file;
mod class_map;
mod discover;
mod folder;
mod known;
pub(crate) mod label_map;
mod layout;
pub(crate) mod read;
mod segmented;

pub use class_map::ClassMap;
pub use folder::{LabelMapOptions, LabelMaps};
pub use known::label_colour;
pub use label_map::{IGNORE, LabelMap};
pub use layout::SegmentationFolders;
pub use segmented::{Segmented, load_with_map};
