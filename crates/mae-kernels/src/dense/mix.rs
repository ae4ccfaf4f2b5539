//! Weighted sums along an axis: resizing and pooling of feature maps.

use multiversion::multiversion;
use rayon::prelude::*;

use crate::rows::rows_per_chunk;
use crate::{Buffer, on_pool};

/// A linear map of an axis in which each output is the weighted sum of a few inputs.
#[derive(Clone, Debug)]
pub struct Taps {
    /// The (input, weight) pairs of all outputs, one output after another.
    taps: Vec<(usize, f32)>,
    /// The index of each output's first tap, and the end of the last.
    starts: Vec<usize>,
    inputs: usize,
}

impl Taps {
    /// Takes the non-zero elements of a matrix `[outputs, inputs]`.
    pub fn new(matrix: &[f32], inputs: usize) -> Self {
        let (mut taps, mut starts) = (Vec::new(), vec![0]);
        for row in matrix.chunks_exact(inputs) {
            taps.extend(row.iter().copied().enumerate().filter(|(_, weight)| *weight != 0.0));
            starts.push(taps.len());
        }
        Self { taps, starts, inputs }
    }

    /// Returns the transpose, which maps gradients back.
    #[must_use]
    pub fn transposed(&self) -> Self {
        let (outputs, mut of_inputs) = (self.outputs(), vec![Vec::new(); self.inputs]);
        for output in 0..outputs {
            for &(input, weight) in self.of(output) {
                of_inputs[input].push((output, weight));
            }
        }
        let (mut taps, mut starts) = (Vec::with_capacity(self.taps.len()), vec![0]);
        for of_input in of_inputs {
            taps.extend(of_input);
            starts.push(taps.len());
        }
        Self { taps, starts, inputs: outputs }
    }

    /// Returns the number of outputs.
    pub fn outputs(&self) -> usize {
        self.starts.len() - 1
    }

    fn of(&self, output: usize) -> &[(usize, f32)] {
        &self.taps[self.starts[output]..self.starts[output + 1]]
    }
}

/// Maps an axis with `len` values at each position.
///
/// # Shapes
/// `[N, inputs, len]` → `[N, outputs, len]`
pub fn mix_rows(x: &[f32], taps: &Taps, len: usize) -> Buffer {
    let count = x.len() / (taps.inputs * len);
    let mut out = Buffer::any(count * taps.outputs() * len);
    let rows = rows_per_chunk(len);
    on_pool(|| {
        let chunks = out.par_chunks_mut(rows * len).enumerate();
        chunks.for_each(|(chunk, out)| mix_chunk(out, x, taps, len, chunk * rows));
    });
    out
}

/// Computes the outputs from `first` on, counted across all N axes.
#[multiversion(targets = "simd")]
fn mix_chunk(out: &mut [f32], x: &[f32], taps: &Taps, len: usize, first: usize) {
    for (row, out) in out.chunks_exact_mut(len).enumerate() {
        let (axis, output) = ((first + row) / taps.outputs(), (first + row) % taps.outputs());
        let input = |tap: usize| &x[(axis * taps.inputs + tap) * len..][..len];
        match *taps.of(output) {
            [] => out.fill(0.0),
            [(a, of_a)] => {
                for (out, a) in out.iter_mut().zip(input(a)) {
                    *out = of_a * a;
                }
            }
            [(a, of_a), (b, of_b), ref rest @ ..] => {
                for ((out, a), b) in out.iter_mut().zip(input(a)).zip(input(b)) {
                    *out = of_a.mul_add(*a, of_b * b);
                }
                for &(tap, weight) in rest {
                    for (out, x) in out.iter_mut().zip(input(tap)) {
                        *out = weight.mul_add(*x, *out);
                    }
                }
            }
        }
    }
}
