//! Images to sequences of patch vectors and back.

use burn::tensor::Tensor;

use crate::Geometry;

/// Cuts images into patches, row by row; a patch vector is ordered (row, column, channel).
///
/// # Shapes
/// `[B, C, H, W]` → `[B, L, P·P·C]`
///
/// # Source
/// MAE section 3 "reconstruction target"; the official `patchify`.
pub fn patchify(images: Tensor<4>, geometry: &Geometry) -> Tensor<3> {
    let [batch, channels, _, _] = images.dims();
    let (rows, columns) = geometry.grid();
    let p = geometry.patch_size();
    images
        .reshape([batch, channels, rows, p, columns, p]) // [B, C, gh, P, gw, P]
        .permute([0, 2, 4, 3, 5, 1]) // [B, gh, gw, P, P, C]
        .reshape([batch, rows * columns, p * p * channels]) // [B, L, P·P·C]
}

/// The inverse of [`patchify`].
///
/// # Shapes
/// `[B, L, P·P·C]` → `[B, C, H, W]`
pub fn unpatchify(patches: Tensor<3>, geometry: &Geometry) -> Tensor<4> {
    let [batch, _, _] = patches.dims();
    let (rows, columns) = geometry.grid();
    let (height, width) = geometry.image_size();
    let (p, channels) = (geometry.patch_size(), geometry.in_chans());
    patches
        .reshape([batch, rows, columns, p, p, channels]) // [B, gh, gw, P, P, C]
        .permute([0, 5, 1, 3, 2, 4]) // [B, C, gh, P, gw, P]
        .reshape([batch, channels, height, width]) // [B, C, H, W]
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    #[test]
    fn a_patch_is_ordered_row_column_channel_and_unpatchify_inverts() {
        let device = Device::flex();
        let geometry = Geometry::new((4, 6), 2, 3).unwrap();
        // The value of pixel (c, y, x) is c·100 + y·10 + x.
        let values: Vec<f32> =
            (0..3 * 4 * 6).map(|i| ((i / 24) * 100 + (i / 6 % 4) * 10 + i % 6) as f32).collect();
        let images = Tensor::<4>::from_data(TensorData::new(values, [1, 3, 4, 6]), &device);
        let patches = patchify(images.clone(), &geometry);
        assert_eq!(patches.dims(), [1, 6, 12]);
        // Patch 4 is grid row 1, column 1: pixels y 2..4, x 2..4.
        let fourth = patches.clone().slice([0..1, 4..5]).into_data();
        assert_eq!(
            fourth.as_slice::<f32>().unwrap(),
            [22., 122., 222., 23., 123., 223., 32., 132., 232., 33., 133., 233.]
        );
        assert_eq!(unpatchify(patches, &geometry).into_data(), images.into_data());
    }
}
