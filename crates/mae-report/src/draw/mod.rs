//! Pictures and curves as PNG files.

mod canvas;
mod confusion;
pub(crate) mod curve;
mod heatmap;
mod pictures;

pub use canvas::save_png;
pub use confusion::draw_confusion;
pub use curve::draw_loss_curve;
pub use heatmap::{Heatmap, draw_heatmaps};
pub use pictures::{ReconstructionRow, draw_grid, draw_reconstructions, draw_tiles, with_note};
