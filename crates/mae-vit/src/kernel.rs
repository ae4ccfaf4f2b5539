//! Resampling of patch embedding kernels to another patch size.

use crate::position::filter_taps;

/// Resamples kernels of `from` × `from` pixels to `to` × `to`, so that a resized patch has the same projection as
/// before: exactly if patches grow, in the least-squares sense if they shrink.
///
/// # Shapes
/// `[N, from, from]` → `[N, to, to]`
///
/// # Source
/// FlexiViT (arXiv 2212.08013) section 3.4, "pi-resize"; timm `resample_patch_embed`, with PyTorch's antialiased
/// bicubic interpolation. Its matrix is a Kronecker product of one for rows and one for columns, and so is its
/// pseudo-inverse.
///
/// # Panics
/// If the length of `kernels` is not a multiple of `from`², or a side is 0.
pub fn resample_kernels(kernels: &[f32], from: usize, to: usize) -> Vec<f32> {
    assert!(from > 0 && to > 0 && kernels.len().is_multiple_of(from * from), "kernels must match their size");
    if from == to {
        return kernels.to_vec();
    }
    let matrix = inverse_of_resizing(from, to);
    let apply = |i: usize, value: &dyn Fn(usize) -> f64| -> f64 {
        matrix[i * from..][..from].iter().enumerate().map(|(j, weight)| weight * value(j)).sum()
    };
    let mut out = Vec::with_capacity(kernels.len() / (from * from) * to * to);
    for kernel in kernels.chunks(from * from) {
        // Rows, then columns.
        let rows: Vec<f64> = (0..to * from)
            .map(|i| apply(i / from, &|row| f64::from(kernel[row * from + i % from])))
            .collect();
        out.extend((0..to * to).map(|i| apply(i % to, &|column| rows[i / to * from + column]) as f32));
    }
    out
}

/// The pseudo-inverse of the transpose of the matrix that resizes `from` pixels to `to`: `[to, from]`.
fn inverse_of_resizing(from: usize, to: usize) -> Vec<f64> {
    let mut resize = vec![0.0; to * from];
    for (i, (first, weights)) in filter_taps(from, to).into_iter().enumerate() {
        weights
            .into_iter()
            .enumerate()
            .for_each(|(k, weight)| resize[i * from + first + k] = f64::from(weight));
    }
    let at = |i: usize, j: usize| resize[i * from + j];
    let sum = |n: usize, term: &dyn Fn(usize) -> f64| (0..n).map(term).sum::<f64>();
    // Of the matrix's two products with its transpose, the smaller one is invertible.
    if to < from {
        let gram = (0..to * to).map(|k| sum(from, &|j| at(k / to, j) * at(k % to, j))).collect();
        solve(gram, resize, to, from)
    } else {
        let gram = (0..from * from).map(|k| sum(to, &|i| at(i, k / from) * at(i, k % from))).collect();
        let transposed = (0..from * to).map(|k| at(k % to, k / to)).collect();
        let solved = solve(gram, transposed, from, to); // [from, to]
        (0..to * from).map(|k| solved[k % from * to + k / from]).collect()
    }
}

/// `matrix⁻¹ · right` for a positive definite `[n, n]` and a `[n, columns]`, by Gauss–Jordan elimination.
fn solve(mut matrix: Vec<f64>, mut right: Vec<f64>, n: usize, columns: usize) -> Vec<f64> {
    for pivot in 0..n {
        let scale = 1.0 / matrix[pivot * n + pivot];
        matrix[pivot * n..][..n].iter_mut().for_each(|x| *x *= scale);
        right[pivot * columns..][..columns].iter_mut().for_each(|x| *x *= scale);
        for row in (0..n).filter(|row| *row != pivot) {
            let factor = matrix[row * n + pivot];
            for column in 0..n {
                matrix[row * n + column] -= factor * matrix[pivot * n + column];
            }
            for column in 0..columns {
                right[row * columns + column] -= factor * right[pivot * columns + column];
            }
        }
    }
    right
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::resample_table;

    #[test]
    fn a_resized_patch_is_projected_as_before() {
        let (from, to) = (4, 10);
        let number = |i: usize| ((i * 37 % 101) as f32 / 50.0) - 1.0;
        let kernel: Vec<f32> = (0..from * from).map(number).collect();
        let patch: Vec<f32> = (7..7 + from * from).map(number).collect();
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        // A position table has one row, the class token's, before the grid.
        let table: Vec<f32> = [&[0.0][..], &patch].concat();
        let resized = &resample_table(&table, 1, (from, from), (to, to))[1..];
        let projected = dot(&resample_kernels(&kernel, from, to), resized);
        assert!((projected - dot(&kernel, &patch)).abs() < 1e-4, "{projected}");
    }

    #[test]
    fn kernels_of_the_same_size_stay() {
        let kernels: Vec<f32> = (0..18).map(|i| i as f32).collect();
        assert_eq!(resample_kernels(&kernels, 3, 3), kernels);
        assert_eq!(resample_kernels(&kernels, 3, 2).len(), 8);
    }
}
