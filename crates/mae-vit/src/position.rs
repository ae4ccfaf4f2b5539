//! Fixed two-dimensional sin-cos positions, and their resampling to another grid.

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};

/// The sin-cos position table of a grid, `[1 + rows·columns, dim]`, row-major, with zeros for the class
/// token first; `dim` is a multiple of 4.
///
/// A row is `[sin_w, cos_w, sin_h, cos_h]`, a quarter of the width each.
///
/// # Source
/// MAE section A.1; the official `get_2d_sincos_pos_embed` (frequencies 10000^(−4i/dim)).
pub fn sincos_table((rows, columns): (usize, usize), dim: usize) -> Vec<f32> {
    let quarter = dim / 4;
    let mut table = vec![0.0; dim];
    for y in 0..rows {
        for x in 0..columns {
            for position in [x, y] {
                let angle = |i: usize| position as f64 / 10000f64.powf(i as f64 / quarter as f64);
                table.extend((0..quarter).map(|i| angle(i).sin() as f32));
                table.extend((0..quarter).map(|i| angle(i).cos() as f32));
            }
        }
    }
    table
}

/// The table as a parameter that is saved with the weights but never trained, `[1, 1 + L, dim]`.
pub fn sincos_param(grid: (usize, usize), dim: usize, device: &Device) -> Param<Tensor<3>> {
    let shape = [1, 1 + grid.0 * grid.1, dim];
    Param::from_data(TensorData::new(sincos_table(grid, dim), shape), device).set_require_grad(false)
}

/// Resamples a position parameter `[1, 1 + L, dim]` to another grid.
pub fn resample_param(param: Param<Tensor<3>>, from: (usize, usize), to: (usize, usize)) -> Param<Tensor<3>> {
    let [_, _, dim] = param.dims();
    param.map(|table| {
        let (device, data) = (table.device(), table.into_data().convert::<f32>());
        let values = data.as_slice::<f32>().expect("converted to f32 above");
        let resampled = resample_table(values, dim, from, to);
        Tensor::from_data(TensorData::new(resampled, [1, 1 + to.0 * to.1, dim]), &device)
    })
}

/// Resamples a position table `[1 + L, dim]` to another grid, keeping the class token's row.
///
/// Bicubic (a = −0.5) with antialiasing, borders renormalised, in both dimensions.
///
/// # Source
/// timm `resample_abs_pos_embed`, which calls PyTorch's antialiased bicubic interpolation.
pub fn resample_table(table: &[f32], dim: usize, from: (usize, usize), to: (usize, usize)) -> Vec<f32> {
    assert_eq!(table.len(), (1 + from.0 * from.1) * dim, "a position table must match its grid");
    if from == to {
        return table.to_vec();
    }
    let (class, grid) = table.split_at(dim);
    // Rows hold `columns · dim` values, so the vertical pass is the horizontal one on wider pixels.
    let vertical = resample_axis(grid, 1, from.0, to.0, from.1 * dim);
    let both = resample_axis(&vertical, to.0, from.1, to.1, dim);
    [class, &both].concat()
}

/// Resamples the middle axis of `[outer, from, inner]`.
fn resample_axis(data: &[f32], outer: usize, from: usize, to: usize, inner: usize) -> Vec<f32> {
    let mut out = vec![0.0; outer * to * inner];
    for (i, (first, weights)) in filter_taps(from, to).into_iter().enumerate() {
        for o in 0..outer {
            let target = &mut out[(o * to + i) * inner..][..inner];
            for (k, weight) in weights.iter().enumerate() {
                let source = &data[(o * from + first + k) * inner..][..inner];
                target.iter_mut().zip(source).for_each(|(t, s)| *t += weight * s);
            }
        }
    }
    out
}

/// For each output position, the first input it reads and the normalised weights from there on.
pub(crate) fn filter_taps(from: usize, to: usize) -> Vec<(usize, Vec<f32>)> {
    let scale = from as f64 / to as f64;
    // When shrinking, the kernel widens with the scale: that is the antialiasing.
    let stretch = scale.max(1.0);
    (0..to)
        .map(|i| {
            let centre = scale * (i as f64 + 0.5);
            let first = (centre - 2.0 * stretch + 0.5).floor().max(0.0) as usize;
            let end = ((centre + 2.0 * stretch + 0.5).floor() as usize).min(from);
            let raw: Vec<f64> = (first..end).map(|j| cubic((j as f64 - centre + 0.5) / stretch)).collect();
            let sum: f64 = raw.iter().sum();
            (first, raw.iter().map(|w| (w / sum) as f32).collect())
        })
        .collect()
}

/// Keys' cubic convolution kernel with a = −0.5.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((x - 5.0) * x + 8.0) * x * A - 4.0 * A
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarters_are_sin_and_cos_of_column_then_row() {
        let (rows, columns, dim) = (2, 3, 8);
        let table = sincos_table((rows, columns), dim);
        assert_eq!(table.len(), 7 * dim);
        assert!(table[..dim].iter().all(|v| *v == 0.0), "the class token has no position");
        let row = &table[(1 + columns + 2) * dim..][..dim]; // grid row 1, column 2
        let expected = [
            2f64.sin(),
            0.02f64.sin(),
            2f64.cos(),
            0.02f64.cos(),
            1f64.sin(),
            0.01f64.sin(),
            1f64.cos(),
            0.01f64.cos(),
        ];
        row.iter().zip(expected).for_each(|(a, b)| assert!((f64::from(*a) - b).abs() < 1e-7));
    }

    #[test]
    fn resampling_keeps_constants_and_the_class_token() {
        let table: Vec<f32> = [vec![7.0; 4], vec![3.0; 5 * 2 * 4]].concat();
        let out = resample_table(&table, 4, (5, 2), (3, 9));
        assert_eq!(out.len(), (1 + 27) * 4);
        assert!(out[..4].iter().all(|v| *v == 7.0));
        assert!(out[4..].iter().all(|v| (v - 3.0).abs() < 1e-6));
        assert_eq!(resample_table(&table, 4, (5, 2), (5, 2)), table);
    }
}
