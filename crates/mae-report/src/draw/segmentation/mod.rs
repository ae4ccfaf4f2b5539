//! Label maps as files and as pictures, and what a segmentation gets right and wrong.

mod class_scores;
mod gallery;
mod label_png;
mod label_tiff;
mod labels;
mod legend;
mod palette;

pub use class_scores::draw_class_scores;
pub use gallery::{SegmentationRow, draw_segmentation};
pub use label_png::save_label_png;
pub use label_tiff::save_label_tiff;
pub use labels::{error_picture, label_picture, overlay_labels};
pub use palette::class_colour;
