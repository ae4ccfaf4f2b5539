//! Transforms of an image together with its label map.

mod geometry;
mod hue;
mod joint;
mod photometric;
mod scale;
#[allow(clippy::module_inception, reason = "the transform is what the folder is about")]
mod segment;
#[cfg(test)]
mod tests;

pub use joint::JointTransform;
pub use photometric::PhotometricDistortion;
pub use scale::{resize_to, scaled_size};
pub use segment::SegmentTransform;
