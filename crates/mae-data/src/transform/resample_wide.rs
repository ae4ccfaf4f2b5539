//! Pillow's resampling for pixel types wider than a byte.

use mae_image::Pixel;
use multiversion::multiversion;

use crate::transform::resample::{Span, Taps, columns_first};
use crate::{Crop, Image};

/// Buffers for resampling, reused from one image to the next.
#[derive(Default)]
pub(crate) struct WideResampler {
    from: Vec<f32>,
    between: Vec<f32>,
    resized: Vec<f32>,
}

impl WideResampler {
    /// Resamples the crop `at` of `image`, which has exactly the pixels that `rows` and `columns` see, in f32 with sums
    /// in f64.
    ///
    /// # Shapes
    /// `[rows, columns, C]`
    ///
    /// # Source
    /// Pillow 13's `ImagingResampleInner` in mode `F`, for any number of channels. Integers are rounded only at the
    /// end; Pillow also rounds 16-bit grey between the two passes. A value that is not finite affects only the output
    /// values that it contributes to.
    pub(crate) fn resize<T: Pixel>(
        &mut self,
        image: &Image<T>,
        at: Crop,
        (rows, columns): (Span, Span),
    ) -> Vec<T> {
        let channels = image.channels();
        let [down, across] = [rows, columns].map(|span| span.taps(span.seen().start, |w| w).trimmed());
        self.from.clear();
        let lines = image.data().chunks_exact(image.width() * channels).skip(at.top).take(at.height);
        for line in lines {
            let seen = &line[at.left * channels..][..at.width * channels];
            // Exact: f32 holds every 16-bit integer.
            self.from.extend(seen.iter().map(|number| number.to_f64() as f32));
        }
        if columns_first(rows, columns) {
            self.between.resize(rows.length * at.width * channels, 0.0);
            within_columns(&self.from, at.width * channels, &down, &mut self.between);
            self.resized.resize(rows.length * columns.length * channels, 0.0);
            within_rows(&self.between, (at.width, channels), &across, &mut self.resized);
        } else {
            self.between.resize(at.height * columns.length * channels, 0.0);
            within_rows(&self.from, (at.width, channels), &across, &mut self.between);
            self.resized.resize(rows.length * columns.length * channels, 0.0);
            within_columns(&self.between, columns.length * channels, &down, &mut self.resized);
        }
        self.resized.iter().map(|number| T::from_f64(f64::from(*number))).collect()
    }
}

/// Resamples within rows of `width` pixels.
#[multiversion(targets = "simd")]
fn within_rows(from: &[f32], (width, channels): (usize, usize), taps: &Taps<f64>, into: &mut [f32]) {
    let shown = taps.iter().count();
    let mut sums = vec![0.0_f64; channels];
    for (line, into) in from.chunks_exact(width * channels).zip(into.chunks_exact_mut(shown * channels)) {
        for ((first, weights), into) in taps.iter().zip(into.chunks_exact_mut(channels)) {
            sums.fill(0.0);
            for (weight, pixel) in weights.iter().zip(line[first * channels..].chunks_exact(channels)) {
                for (sum, number) in sums.iter_mut().zip(pixel) {
                    *sum += f64::from(*number) * weight;
                }
            }
            for (into, sum) in into.iter_mut().zip(&sums) {
                *into = *sum as f32;
            }
        }
    }
}

/// Resamples within columns. Each row has `row` values.
#[multiversion(targets = "simd")]
fn within_columns(from: &[f32], row: usize, taps: &Taps<f64>, into: &mut [f32]) {
    let mut sums = vec![0.0_f64; row];
    for (into, (first, weights)) in into.chunks_exact_mut(row).zip(taps.iter()) {
        sums.fill(0.0);
        for (weight, line) in weights.iter().zip(from[first * row..].chunks_exact(row)) {
            for (sum, number) in sums.iter_mut().zip(line) {
                *sum += f64::from(*number) * weight;
            }
        }
        for (into, sum) in into.iter_mut().zip(&sums) {
            *into = *sum as f32;
        }
    }
}
