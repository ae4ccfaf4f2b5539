//! The images of a batch.

use mae_data::Image;

use crate::TrainerError;

/// The images of a batch.
///
/// # Shapes
/// Bytes `[B, C, H, W]` → `[H, W, C]` each
///
/// # Errors
/// Of what cannot be an image.
pub fn images_of(bytes: &[u8], [_, channels, height, width]: [usize; 4]) -> Result<Vec<Image>, TrainerError> {
    let plane = height * width;
    bytes
        .chunks(channels * plane)
        .map(|image| {
            let pixel = |i: usize| (0..channels).map(move |c| image[c * plane + i]);
            Ok(Image::new(height, width, channels, (0..plane).flat_map(pixel).collect())?)
        })
        .collect()
}
