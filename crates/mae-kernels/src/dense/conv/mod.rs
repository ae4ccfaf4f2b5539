//! 3 x 3 convolutions of feature maps `[B, H, W, C]`, and their gradients, by Winograd's minimal filtering.
//!
//! Outputs are computed in tiles of 2 x 2, each from a 4 x 4 window. After windows and kernels are transformed, each
//! tile takes one product for each of the 16 elements of a window, per pair of channels. The direct sum takes 36 for
//! the four outputs. That is 2.25 times fewer multiplications, done as 16 matrix products.
//!
//! # Source
//! Lavin and Gray, arXiv 1509.09308, section 4.1, F(2 x 2, 3 x 3).

mod tiles;
mod transform;

use rayon::prelude::*;

use crate::gemm::{Mat, ProductType, Threads, Write};
use crate::{Buffer, on_pool};
pub use tiles::Map;
use tiles::{Reading, Tiles};
use transform::{POINTS, kernel_gradient, kernels};

/// Approximate tiles per task: enough for products with many rows, few enough that their windows stay in a core's
/// cache.
const TASK: usize = 96;
/// Approximate number of tiles whose windows are held at once for the kernel gradient.
const HELD: usize = 256;

/// Computes the convolution with stride 1 and zeros around the map. Factors of products are rounded after the
/// transforms.
///
/// # Shapes
/// `[B, H, W, C_in]`, weight `[C_out, C_in, 3, 3]` → `[B, H, W, C_out]`
pub fn conv3x3(x: &[f32], weight: &[f32], map: Map, channels: [usize; 2], products: ProductType) -> Buffer {
    on_pool(|| convolve(x, &kernels(weight, channels, false), map, channels, products))
}

/// The gradient of the convolution's input.
///
/// # Shapes
/// grad `[B, H, W, C_out]`, weight `[C_out, C_in, 3, 3]` → `[B, H, W, C_in]`
pub fn conv3x3_input_backward(
    grad: &[f32],
    weight: &[f32],
    map: Map,
    [c_in, c_out]: [usize; 2],
    products: ProductType,
) -> Buffer {
    // A convolution with the kernels rotated by 180°.
    on_pool(|| convolve(grad, &kernels(weight, [c_in, c_out], true), map, [c_out, c_in], products))
}

/// The gradient of the convolution's weight.
///
/// # Shapes
/// grad `[B, H, W, C_out]`, x `[B, H, W, C_in]` → `[C_out, C_in, 3, 3]`
pub fn conv3x3_weight_backward(
    grad: &[f32],
    x: &[f32],
    map: Map,
    [c_in, c_out]: [usize; 2],
    products: ProductType,
) -> Buffer {
    on_pool(|| {
        let tiles = Tiles::new(map);
        let mut sums = Buffer::any(POINTS * c_in * c_out);
        for (i, rows) in tiles.groups(HELD).into_iter().enumerate() {
            let count = rows.len() * tiles.columns;
            let (mut windows, mut grads) =
                (Buffer::any(POINTS * count * c_in), Buffer::any(POINTS * count * c_out));
            tiles.read_all(&mut windows, x, c_in, rows.clone(), Reading::Window);
            tiles.read_all(&mut grads, grad, c_out, rows, Reading::OutputGradient);
            let write = if i == 0 { Write::Set } else { Write::Add };
            sums.par_chunks_mut(c_in * c_out)
                .zip(windows.par_chunks(count * c_in).zip(grads.par_chunks(count * c_out)))
                .for_each(|(sums, (windows, grads))| {
                    let (windows, grads) = (Mat::dense(windows, c_in), Mat::dense(grads, c_out));
                    products.matmul(sums, c_out, windows.t(), grads, write, Threads::One);
                });
        }
        kernel_gradient(&sums, [c_in, c_out])
    })
}

fn convolve(
    x: &[f32],
    kernels: &[f32],
    map: Map,
    [c_in, c_out]: [usize; 2],
    products: ProductType,
) -> Buffer {
    let tiles = Tiles::new(map);
    let mut y = Buffer::any(map.pixels() * c_out);
    tiles.split(&mut y, c_out, tiles.groups(TASK)).into_par_iter().for_each(|(rows, y)| {
        let count = rows.len() * tiles.columns;
        let mut windows = Buffer::any(POINTS * count * c_in);
        tiles.read(&mut windows, x, c_in, rows.clone(), Reading::Window);
        let mut outputs = Buffer::any(POINTS * count * c_out);
        let points = outputs.chunks_exact_mut(count * c_out);
        for (point, (outputs, windows)) in points.zip(windows.chunks_exact(count * c_in)).enumerate() {
            let kernels = Mat::new(&kernels[point * c_out..], c_in, c_out, POINTS * c_out);
            let windows = Mat::dense(windows, c_in);
            products.matmul(outputs, c_out, windows, kernels, Write::Set, Threads::One);
        }
        tiles.write(y, &outputs, c_out, rows);
    });
    y
}
