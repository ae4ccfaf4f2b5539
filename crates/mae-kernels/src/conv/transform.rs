//! Winograd's transforms for 2 x 2 outputs of a 3 x 3 kernel, each one-dimensional and applied to columns and rows.

use multiversion::multiversion;
use rayon::prelude::*;

use crate::Buffer;

/// Numbers of a transformed window.
pub const POINTS: usize = 16;
/// Channels that are transformed at once.
pub const LANES: usize = 16;

/// Numbers of as many channels.
pub type Lanes = [f32; LANES];

#[inline(always)]
fn add(a: Lanes, b: Lanes) -> Lanes {
    std::array::from_fn(|i| a[i] + b[i])
}

#[inline(always)]
fn sub(a: Lanes, b: Lanes) -> Lanes {
    std::array::from_fn(|i| a[i] - b[i])
}

/// A one-dimensional transform of columns, then of rows.
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

/// A g Aᵀ of the outputs' gradients, which are the window's middle.
#[inline(always)]
pub fn output_gradient(window: [[Lanes; 4]; 4]) -> [[Lanes; 4]; 4] {
    let middle = [1, 2].map(|i| [1, 2].map(|j| window[i][j]));
    both_ways(middle, |[a, b]| [a, add(a, b), sub(a, b), sub([0.0; LANES], b)])
}

/// G: what each number of a kernel's row counts in each of its transform.
const KERNEL: [[f32; 3]; 4] = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]];

/// The same in two dimensions, for one number of the transform.
fn shares(point: usize) -> [f32; 9] {
    std::array::from_fn(|i| KERNEL[point / 4][i / 3] * KERNEL[point % 4][i % 3])
}

/// G g Gᵀ of kernels, turned by half a turn with inputs and outputs exchanged if they are to carry gradients back.
///
/// # Shapes
/// `[C_out, C_in, 3, 3]` → `[16, C_in, C_out]`, or `[16, C_out, C_in]` if turned
pub fn kernels(weight: &[f32], [c_in, c_out]: [usize; 2], turned: bool) -> Buffer {
    let mut transformed = Buffer::any(POINTS * c_in * c_out);
    transformed.par_chunks_mut(c_in * c_out).enumerate().for_each(|(point, out)| {
        let mut shares = shares(point);
        if turned {
            shares.reverse();
            weighted(out, weight, shares);
        } else {
            for (i, out) in out.chunks_exact_mut(c_out).enumerate() {
                let kernels = weight.chunks_exact(9 * c_in).map(|kernels| &kernels[9 * i..][..9]);
                for (out, kernel) in out.iter_mut().zip(kernels) {
                    *out = kernel.iter().zip(&shares).map(|(w, share)| w * share).sum();
                }
            }
        }
    });
    transformed
}

#[multiversion(targets = "simd")]
fn weighted(out: &mut [f32], weight: &[f32], shares: [f32; 9]) {
    for (out, kernel) in out.iter_mut().zip(weight.as_chunks::<9>().0) {
        *out = (0..9).map(|i| kernel[i] * shares[i]).sum();
    }
}

/// Gᵀ u G of the products' sums: the kernels' gradient.
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

/// For the outputs from `first` on, at most [`LANES`].
#[multiversion(targets = "simd")]
fn kernel_gradient_block(out: &mut [f32], sums: &[f32], [c_in, c_out]: [usize; 2], first: usize) {
    let shares: [[f32; 9]; POINTS] = std::array::from_fn(shares);
    let count = LANES.min(c_out - first);
    for i in 0..c_in {
        let mut kernel = [[0.0; LANES]; 9];
        for (point, shares) in shares.iter().enumerate() {
            let lanes = load(&sums[(point * c_in + i) * c_out + first..][..count]);
            for (kernel, share) in kernel.iter_mut().zip(shares) {
                for (kernel, lane) in kernel.iter_mut().zip(&lanes) {
                    *kernel += share * lane;
                }
            }
        }
        for lane in 0..count {
            for (k, kernel) in kernel.iter().enumerate() {
                out[(lane * c_in + i) * 9 + k] = kernel[lane];
            }
        }
    }
}

/// The first numbers of a slice, and zeros behind its end.
#[inline(always)]
pub fn load(x: &[f32]) -> Lanes {
    match x.first_chunk() {
        Some(lanes) => *lanes,
        None => std::array::from_fn(|i| x.get(i).copied().unwrap_or(0.0)),
    }
}

/// Writes as many as the slice takes.
#[inline(always)]
pub fn store(out: &mut [f32], lanes: Lanes) {
    match out.first_chunk_mut() {
        Some(out) => *out = lanes,
        None => out.iter_mut().zip(lanes).for_each(|(out, lane)| *out = lane),
    }
}
