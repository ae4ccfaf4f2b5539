//! Pictures and curves as PNG files.

mod canvas;
mod confusion;
pub(crate) mod curve;
mod heatmap;
mod pictures;
mod segmentation;

pub use canvas::save_png;
pub use confusion::draw_confusion;
pub use curve::draw_loss_curve;
pub use heatmap::{Heatmap, draw_heatmaps};
pub use pictures::{ReconstructionRow, draw_grid, draw_reconstructions, draw_tiles, with_note};
pub use segmentation::{
    SegmentationRow, class_colour, draw_class_scores, draw_segmentation, error_picture, label_picture,
    overlay_labels, save_label_png, save_label_tiff,
};
