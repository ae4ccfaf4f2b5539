//! Winograd's transforms for 2 x 2 outputs of a 3 x 3 kernel, each one-dimensional and applied to columns, then rows.

use multiversion::multiversion;
use rayon::prelude::*;

use crate::Buffer;

/// Elements of a transformed window.
pub const POINTS: usize = 16;
/// Channels transformed at once.
pub const LANES: usize = 16;

/// One value for each of [`LANES`] channels.
pub type Lanes = [f32; LANES];

#[inline(always)]
fn add(a: Lanes, b: Lanes) -> Lanes {
    std::array::from_fn(|i| a[i] + b[i])
}

#[inline(always)]
fn sub(a: Lanes, b: Lanes) -> Lanes {
    std::array::from_fn(|i| a[i] - b[i])
}

/// Applies a one-dimensional transform to columns, then to rows.
#[inline(always)]
fn both_ways<const N: usize, const M: usize>(
    x: [[Lanes; N]; N],
    transform: impl Fn([Lanes; N]) -> [Lanes; M],
) -> [[Lanes; M]; M] {
    let mut columns = [[[0.0; LANES]; N]; M];
    for j in 0..N {
        let column = transform(std::array::from_fn(|i| x[i][j]));
        for i in 0..M {
            columns[i][j] = column[i];
        }
    }
    std::array::from_fn(|i| transform(columns[i]))
}

/// Bᵀ d B of a window.
#[inline(always)]
pub fn window(d: [[Lanes; 4]; 4]) -> [[Lanes; 4]; 4] {
    both_ways(d, |[a, b, c, d]| [sub(a, c), add(b, c), sub(c, b), sub(b, d)])
}

/// Aᵀ m A, the outputs.
#[inline(always)]
pub fn outputs(m: [[Lanes; 4]; 4]) -> [[Lanes; 2]; 2] {
    both_ways(m, |[a, b, c, d]| [add(a, add(b, c)), sub(sub(b, c), d)])
}

/// A g Aᵀ of the output gradients, which are the middle of the window.
#[inline(always)]
pub fn output_gradient(window: [[Lanes; 4]; 4]) -> [[Lanes; 4]; 4] {
    let middle = [1, 2].map(|i| [1, 2].map(|j| window[i][j]));
    both_ways(middle, |[a, b]| [a, add(a, b), sub(a, b), sub([0.0; LANES], b)])
}

/// G g Gᵀ of a kernel.
#[inline(always)]
fn kernel(g: [[Lanes; 3]; 3]) -> [[Lanes; 4]; 4] {
    both_ways(g, |[a, b, c]| {
        let outer = half(add(a, c));
        [a, add(outer, half(b)), sub(outer, half(b)), c]
    })
}

/// Gᵀ u G of a transformed kernel's gradient.
#[inline(always)]
fn kernel_gradient_of(u: [[Lanes; 4]; 4]) -> [[Lanes; 3]; 3] {
    both_ways(u, |[a, b, c, d]| {
        let inner = half(add(b, c));
        [add(a, inner), half(sub(b, c)), add(inner, d)]
    })
}

#[inline(always)]
fn half(a: Lanes) -> Lanes {
    a.map(|a| 0.5 * a)
}

/// Transforms kernels. If `turned`, rotates them by 180° and swaps inputs and outputs, as backpropagation to the input
/// needs.
///
/// # Shapes
/// `[C_out, C_in, 3, 3]` → `[C_in, 16, C_out]`, or `[C_out, 16, C_in]` if turned
pub fn kernels(weight: &[f32], [c_in, c_out]: [usize; 2], turned: bool) -> Buffer {
    let mut transformed = Buffer::any(POINTS * c_in * c_out);
    // The kernels of a row, and the strides from one kernel and one row to the next.
    let (count, step, row_step) = if turned { (c_in, 9, 9 * c_in) } else { (c_out, 9 * c_in, 9) };
    transformed.par_chunks_mut(POINTS * count).enumerate().for_each(|(row, out)| {
        kernels_row(out, &weight[row * row_step..], step, turned);
    });
    transformed
}

/// Transforms the kernels of a row, which are `step` elements apart.
#[multiversion(targets = "simd")]
fn kernels_row(out: &mut [f32], weight: &[f32], step: usize, turned: bool) {
    let count = out.len() / POINTS;
    for first in (0..count).step_by(LANES) {
        let lanes = LANES.min(count - first);
        let mut g = [[[0.0; LANES]; 3]; 3];
        for lane in 0..lanes {
            let numbers = &weight[(first + lane) * step..][..9];
            for (k, number) in numbers.iter().enumerate() {
                let k = if turned { 8 - k } else { k };
                g[k / 3][k % 3][lane] = *number;
            }
        }
        for (point, of_point) in kernel(g).as_flattened().iter().enumerate() {
            store(&mut out[point * count + first..][..lanes], *of_point);
        }
    }
}

/// Computes the kernel gradient from the sums of products.
///
/// # Shapes
/// `[16, C_in, C_out]` → `[C_out, C_in, 3, 3]`
pub fn kernel_gradient(sums: &[f32], [c_in, c_out]: [usize; 2]) -> Buffer {
    let mut gradient = Buffer::any(c_out * c_in * 9);
    gradient.par_chunks_mut(LANES * c_in * 9).enumerate().for_each(|(block, out)| {
        kernel_gradient_block(out, sums, [c_in, c_out], block * LANES);
    });
    gradient
}

/// Computes the gradient for at most [`LANES`] output channels from `first` on.
#[multiversion(targets = "simd")]
fn kernel_gradient_block(out: &mut [f32], sums: &[f32], [c_in, c_out]: [usize; 2], first: usize) {
    let lanes = LANES.min(c_out - first);
    for i in 0..c_in {
        let at = |point: usize| load(&sums[(point * c_in + i) * c_out + first..][..lanes]);
        let gradient =
            kernel_gradient_of([0, 4, 8, 12].map(|row| [0, 1, 2, 3].map(|column| at(row + column))));
        for lane in 0..lanes {
            let out = &mut out[(lane * c_in + i) * 9..][..9];
            for (out, of_number) in out.iter_mut().zip(gradient.as_flattened()) {
                *out = of_number[lane];
            }
        }
    }
}

/// Loads the first values of a slice, with zeros after its end.
#[inline(always)]
pub fn load(x: &[f32]) -> Lanes {
    match x.first_chunk() {
        Some(lanes) => *lanes,
        None => std::array::from_fn(|i| x.get(i).copied().unwrap_or(0.0)),
    }
}

/// Writes as many lanes as the slice has room for.
#[inline(always)]
pub fn store(out: &mut [f32], lanes: Lanes) {
    match out.first_chunk_mut() {
        Some(out) => *out = lanes,
        None => out.iter_mut().zip(lanes).for_each(|(out, lane)| *out = lane),
    }
}
