//! Bilinear resizing and pooling of feature maps.

use burn::tensor::Tensor;

use crate::ops;

/// Resizes a feature map bilinearly. Interpolates between pixel centres, so the borders of both maps coincide.
///
/// # Shapes
/// `[B, H, W, C]`, (height, width) → `[B, height, width, C]`
///
/// # Source
/// PyTorch's `interpolate(mode="bilinear", align_corners=False)`, without antialiasing.
pub fn resize_bilinear(x: Tensor<4>, (height, width): (usize, usize)) -> Tensor<4> {
    mix_rows_and_columns(x, (height, width), bilinear_weights)
}

/// The means over a grid of `(height, width)` bins of a feature map. Bins overlap if they do not divide the map evenly.
///
/// # Shapes
/// `[B, H, W, C]`, (height, width) → `[B, height, width, C]`
///
/// # Source
/// PyTorch's `AdaptiveAvgPool2d`: bin i of n over an extent e is from ⌊i·e / n⌋ to ⌈(i + 1)·e / n⌉.
pub fn adaptive_avg_pool(x: Tensor<4>, (height, width): (usize, usize)) -> Tensor<4> {
    mix_rows_and_columns(x, (height, width), bin_weights)
}

/// The maxima of 2 x 2 squares; ignores the last row or column if their number is odd.
///
/// # Shapes
/// `[B, H, W, C]` → `[B, ⌊H / 2⌋, ⌊W / 2⌋, C]`
///
/// # Source
/// PyTorch's `MaxPool2d(kernel_size=2, stride=2)`.
pub fn max_pool(x: Tensor<4>) -> Tensor<4> {
    let [batch, height, width, channels] = x.dims();
    let (rows, columns) = (height / 2, width / 2);
    let squares = x.slice([0..batch, 0..2 * rows, 0..2 * columns, 0..channels]).reshape([
        batch * rows,
        2,
        columns,
        2 * channels,
    ]); // [B·h, 2, w, 2·C]
    let row = |i: usize| squares.clone().slice([0..batch * rows, i..i + 1]);
    // As in PyTorch, the first of equal values gets the gradient.
    let pairs = row(0).max_pair(row(1)).reshape([batch, rows, columns, 2 * channels]); // [B, h, w, 2·C]
    let column =
        |i: usize| pairs.clone().slice([0..batch, 0..rows, 0..columns, i * channels..(i + 1) * channels]);
    column(0).max_pair(column(1)) // [B, h, w, C]
}

/// Multiplies both spatial axes of a map by a matrix of weights, which `weights` makes for (new extent, old extent).
fn mix_rows_and_columns(
    x: Tensor<4>,
    (height, width): (usize, usize),
    weights: fn(usize, usize) -> Vec<f32>,
) -> Tensor<4> {
    let [batch, rows, columns, channels] = x.dims();
    let x = if rows == height {
        x
    } else {
        let x = x.reshape([batch, rows, columns * channels]);
        let x = ops::mix_rows(x, &weights(height, rows)); // [B, height, W·C]
        x.reshape([batch, height, columns, channels]) // [B, height, W, C]
    };
    if columns == width {
        x
    } else {
        let x = x.reshape([batch * height, columns, channels]);
        let x = ops::mix_rows(x, &weights(width, columns)); // [B·height, width, C]
        x.reshape([batch, height, width, channels]) // [B, height, width, C]
    }
}

/// The weights of bilinear resizing, `[to, from]`, row-major.
fn bilinear_weights(to: usize, from: usize) -> Vec<f32> {
    let scale = from as f32 / to as f32;
    let mut weights = vec![0.0; to * from];
    for (i, row) in weights.chunks_exact_mut(from).enumerate() {
        // In f32 and in this order, as PyTorch computes it.
        let at = (scale * (i as f32 + 0.5) - 0.5).max(0.0);
        let first = (at as usize).min(from - 1);
        let second = (first + 1).min(from - 1);
        let share = at - first as f32;
        row[first] += 1.0 - share;
        row[second] += share;
    }
    weights
}

/// The weights of means over bins, `[to, from]`, row-major.
fn bin_weights(to: usize, from: usize) -> Vec<f32> {
    let mut weights = vec![0.0; to * from];
    for (i, row) in weights.chunks_exact_mut(from).enumerate() {
        let bin = i * from / to..((i + 1) * from).div_ceil(to);
        let share = 1.0 / bin.len() as f32;
        row[bin].fill(share);
    }
    weights
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    #[test]
    fn a_ramp_stays_a_ramp_and_constants_stay() {
        let device = Device::flex();
        // Three rows of columns 0, 1, 2, 3: width 8 samples at quarters, and is constant beyond the outer centres.
        let ramp: Vec<f32> = (0..3 * 4).map(|i| (i % 4) as f32).collect();
        let x = Tensor::<4>::from_data(TensorData::new(ramp, [1, 3, 4, 1]), &device);
        let wide = resize_bilinear(x.clone(), (5, 8)).into_data();
        let expected = [0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0];
        for row in wide.as_slice::<f32>().unwrap().chunks(8) {
            assert_eq!(row, expected);
        }
        // Three bins of 4 columns: 0..2, 1..3, 2..4.
        let pooled = adaptive_avg_pool(x, (1, 3)).into_data();
        assert_eq!(pooled.as_slice::<f32>().unwrap(), [0.5, 1.5, 2.5]);
    }

    #[test]
    fn odd_borders_have_no_part_in_the_maximum() {
        let device = Device::flex();
        let values: Vec<f32> = (0..5 * 3).map(|i| i as f32).collect();
        let x = Tensor::<4>::from_data(TensorData::new(values, [1, 5, 3, 1]), &device);
        let pooled = max_pool(x);
        assert_eq!(pooled.dims(), [1, 2, 1, 1]);
        assert_eq!(pooled.into_data().as_slice::<f32>().unwrap(), [4.0, 10.0]);
    }
}
