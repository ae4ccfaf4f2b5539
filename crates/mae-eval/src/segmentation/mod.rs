//! Semantic segmentation scores: a streamed confusion matrix over pixels, and IoU, accuracy and Dice by class.

mod counts;
mod of_image;
mod scores;
mod table;

pub use counts::{IGNORE_LABEL, PixelCounts};
pub use of_image::{image_mean_iou, image_pixel_accuracy};
pub use scores::SegmentationScores;
