//! Resampling of bytes, bit-identical to Pillow.

use std::ops::Range;

use multiversion::multiversion;

use crate::{Crop, Filter, Image};

/// The number of fractional bits of a coefficient. As in Pillow, 8 bits are left for the pixel and 2 for overshoot.
const PRECISION_BITS: u32 = 32 - 8 - 2;

/// The number of bytes computed at once: 4 vectors of 8 sums.
const LANES: usize = 32;

/// The output range along one axis of a resized image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// The length of the axis before resizing, in pixels.
    pub side: usize,
    /// The length after resizing.
    pub resized: usize,
    /// The first pixel of the output, counted after resizing.
    pub start: usize,
    /// The number of output pixels, at least one.
    pub length: usize,
    /// The filter that weights the pixels.
    pub filter: Filter,
}

impl Span {
    /// The whole of an axis of `side` pixels, resized to `resized`.
    pub(crate) fn whole(side: usize, resized: usize, filter: Filter) -> Self {
        Self { side, resized, start: 0, length: resized, filter }
    }

    /// The input pixels that contribute to the output.
    pub(crate) fn seen(&self) -> Range<usize> {
        self.reach(0).1.start..self.reach(self.length - 1).1.end
    }

    /// The number of input pixels per output pixel.
    fn scale(&self) -> f64 {
        self.side as f64 / self.resized as f64
    }

    /// The factor by which the filter is widened: above 1 where it makes an image smaller.
    fn stretch(&self) -> f64 {
        self.scale().max(1.0)
    }

    /// The centre of the `i`-th output pixel, in input pixels, and the range of input pixels that contribute to it.
    fn reach(&self, i: usize) -> (f64, Range<usize>) {
        let centre = ((self.start + i) as f64 + 0.5) * self.scale();
        let support = self.filter.support_px() * self.stretch();
        let first = (centre - support + 0.5).max(0.0) as usize;
        (centre, first..((centre + support + 0.5) as usize).min(self.side))
    }

    /// For each output pixel, the contributing input pixels, counted from `origin`, and their coefficients. The weights
    /// are normalised to a sum of 1.
    pub(crate) fn taps<K>(&self, origin: usize, coefficient: impl Fn(f64) -> K) -> Taps<K> {
        let inverse = 1.0 / self.stretch();
        let mut taps = Taps { pixels: Vec::with_capacity(self.length), coefficients: Vec::new() };
        let mut weights = Vec::new();
        for i in 0..self.length {
            let (centre, reach) = self.reach(i);
            weights.clear();
            weights.extend(reach.clone().map(|x| self.filter.weight((x as f64 - centre + 0.5) * inverse)));
            let sum: f64 = weights.iter().sum();
            let begin = taps.coefficients.len();
            taps.coefficients.extend(weights.iter().map(|weight| coefficient(weight / sum)));
            taps.pixels.push((reach.start - origin, begin..taps.coefficients.len()));
        }
        taps
    }
}

/// The output of [`Span::taps`].
pub(crate) struct Taps<K> {
    /// For each output pixel, the first input pixel and the range of its coefficients.
    pixels: Vec<(usize, Range<usize>)>,
    coefficients: Vec<K>,
}

impl Taps<f64> {
    /// Drops the pixels at both ends whose coefficient is 0, because a NaN or infinity there would still spread.
    pub(crate) fn trimmed(mut self) -> Self {
        for (first, range) in &mut self.pixels {
            let taken = |i: &usize| self.coefficients[*i] != 0.0;
            let begin = range.clone().find(taken).unwrap_or(range.start);
            let end = range.clone().rev().find(taken).map_or(range.end, |last| last + 1);
            *first += begin - range.start;
            *range = begin..end;
        }
        self
    }
}

impl<K> Taps<K> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &[K])> {
        self.pixels.iter().map(|(first, range)| (*first, &self.coefficients[range.clone()]))
    }
}

/// Converts a weight to fixed point, rounded to the nearest value.
fn fixed(weight: f64) -> i32 {
    (weight * f64::from(1_u32 << PRECISION_BITS) + 0.5_f64.copysign(weight)) as i32
}

/// Buffers for resampling, reused from one image to the next.
#[derive(Default)]
pub(crate) struct Resampler {
    between: Vec<u8>,
    tile: Vec<[u8; LANES]>,
}

impl Resampler {
    /// Resamples the `N` channels of the crop `at` of `image`, which has exactly the pixels that `rows` and `columns`
    /// see.
    ///
    /// # Source
    /// Pillow 13's `ImagingResampleInner`. The order of the two passes shows, because values are rounded to bytes in
    /// between.
    pub(crate) fn resize<const N: usize>(
        &mut self,
        image: &Image,
        at: Crop,
        (rows, columns): (Span, Span),
        into: &mut Vec<u8>,
    ) {
        let (down, across) = (rows.taps(rows.seen().start, fixed), columns.taps(columns.seen().start, fixed));
        let stride = image.width() * N;
        let from = Pixels { bytes: &image.data()[at.top * stride + at.left * N..], stride };
        let columns_first = columns_first(rows, columns);
        let (height, width) =
            if columns_first { (rows.length, at.width) } else { (at.height, columns.length) };
        self.between.resize(height * width * N, 0);
        into.resize(rows.length * columns.length * N, 0);
        let between = &mut self.between[..];
        if columns_first {
            within_columns(from, width * N, &down, between);
            let from = Pixels { bytes: between, stride: width * N };
            within_rows::<N>(from, width, &across, &mut self.tile, into);
        } else {
            within_rows::<N>(from, at.width, &across, &mut self.tile, between);
            let from = Pixels { bytes: between, stride: width * N };
            within_columns(from, from.stride, &down, into);
        }
    }
}

/// Whether to resample within columns before resampling within rows. The order shows, because of the rounding in
/// between.
///
/// # Source
/// Pillow 13's `ImagingResampleInner`. Up to version 12, Pillow resampled within rows first in this case too.
pub(crate) fn columns_first(rows: Span, columns: Span) -> bool {
    let shorter = |span: Span| span.side as i128 - span.resized as i128;
    shorter(rows) > 0 && shorter(rows) > 2 * shorter(columns)
}

/// Rows of pixels. Each row begins `stride` bytes after the one above.
#[derive(Clone, Copy)]
struct Pixels<'p> {
    bytes: &'p [u8],
    stride: usize,
}

/// Resamples within rows of `width` pixels, as many rows as `into` has.
///
/// `tile` holds several rows side by side, so that one column of them fills whole vectors.
#[multiversion(targets = "simd")]
fn within_rows<const N: usize>(
    from: Pixels<'_>,
    width: usize,
    taps: &Taps<i32>,
    tile: &mut Vec<[u8; LANES]>,
    into: &mut [u8],
) {
    let (row, rows) = (taps.pixels.len() * N, LANES / N);
    tile.resize(width, [0; LANES]);
    for (block, into) in into.chunks_mut(rows * row).enumerate() {
        for (place, _) in into.chunks_exact(row).enumerate() {
            let line = &from.bytes[(block * rows + place) * from.stride..][..width * N];
            for (lanes, pixel) in tile.iter_mut().zip(line.as_chunks::<N>().0) {
                lanes.as_chunks_mut::<N>().0[place] = *pixel;
            }
        }
        for (i, (first, coefficients)) in taps.iter().enumerate() {
            let bytes = weigh(coefficients, tile[first..].iter().copied());
            for (row, pixel) in into.chunks_exact_mut(row).zip(bytes.as_chunks::<N>().0) {
                row.as_chunks_mut::<N>().0[i] = *pixel;
            }
        }
    }
}

/// Resamples within columns. Each row has `row` bytes.
#[multiversion(targets = "simd")]
fn within_columns(from: Pixels<'_>, row: usize, taps: &Taps<i32>, into: &mut [u8]) {
    for (into, (first, coefficients)) in into.chunks_exact_mut(row).zip(taps.iter()) {
        for (block, into) in into.chunks_mut(LANES).enumerate() {
            let lanes = (0..coefficients.len()).map(|i| {
                let line = &from.bytes[(first + i) * from.stride + block * LANES..][..into.len()];
                line.first_chunk().copied().unwrap_or_else(|| {
                    let mut lanes = [0; LANES];
                    lanes[..line.len()].copy_from_slice(line);
                    lanes
                })
            });
            into.copy_from_slice(&weigh(coefficients, lanes)[..into.len()]);
        }
    }
}

/// Returns the weighted sum of the bytes in each lane, rounded to a byte.
#[inline(always)]
fn weigh(coefficients: &[i32], bytes: impl Iterator<Item = [u8; LANES]>) -> [u8; LANES] {
    let mut sums = [1 << (PRECISION_BITS - 1); LANES];
    for (coefficient, bytes) in coefficients.iter().zip(bytes) {
        for (sum, byte) in sums.iter_mut().zip(bytes) {
            *sum += coefficient * i32::from(byte);
        }
    }
    sums.map(|sum| (sum >> PRECISION_BITS).clamp(0, 255) as u8)
}
