//! Pillow's resampling of bytes, to the bit.

use std::ops::Range;

use multiversion::multiversion;

use crate::{Crop, Filter, Image};

/// Bits behind the point of a coefficient: Pillow's, which leaves 8 for the pixel and 2 for overshooting.
const PRECISION_BITS: u32 = 32 - 8 - 2;

/// Bytes of a column that are computed at once: 4 vectors of 8 sums.
const LANES: usize = 32;

/// What is shown of one side of an image that is resized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// The side's pixels.
    pub side: usize,
    /// What they become.
    pub resized: usize,
    /// The first of those that is shown.
    pub start: usize,
    /// How many are shown, at least one.
    pub length: usize,
    /// How they are weighed.
    pub filter: Filter,
}

impl Span {
    /// All of a side that becomes `resized`.
    pub(crate) fn whole(side: usize, resized: usize, filter: Filter) -> Self {
        Self { side, resized, start: 0, length: resized, filter }
    }

    /// The pixels that are seen.
    pub(crate) fn seen(&self) -> Range<usize> {
        self.reach(0).1.start..self.reach(self.length - 1).1.end
    }

    /// How many pixels become one.
    fn scale(&self) -> f64 {
        self.side as f64 / self.resized as f64
    }

    /// By how much the filter is widened: it reaches further where it makes an image smaller.
    fn stretch(&self) -> f64 {
        self.scale().max(1.0)
    }

    /// Centre of the i-th pixel that is shown, and the pixels that have a part in it.
    fn reach(&self, i: usize) -> (f64, Range<usize>) {
        let centre = ((self.start + i) as f64 + 0.5) * self.scale();
        let support = self.filter.support_px() * self.stretch();
        let first = (centre - support + 0.5).max(0.0) as usize;
        (centre, first..((centre + support + 0.5) as usize).min(self.side))
    }

    /// For each pixel that is shown, the pixels from `origin` on that have a part in it, and their coefficients, of weights that add up
    /// to 1.
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

/// What [`Span::taps`] makes.
pub(crate) struct Taps<K> {
    /// The first pixel that is read, and where the coefficients lie.
    pixels: Vec<(usize, Range<usize>)>,
    coefficients: Vec<K>,
}

impl Taps<f64> {
    /// Without the pixels at the ends that have no part after all: one that is no number would spread.
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

/// A weight in fixed point, rounded to the nearest.
fn fixed(weight: f64) -> i32 {
    (weight * f64::from(1_u32 << PRECISION_BITS) + 0.5_f64.copysign(weight)) as i32
}

/// The memory that resampling needs, kept from one image to the next.
#[derive(Default)]
pub(crate) struct Resampler {
    between: Vec<u8>,
    tile: Vec<[u8; LANES]>,
}

impl Resampler {
    /// Resamples `N` channels of what lies at `at` in `image`, the pixels that `rows` and `columns` see.
    ///
    /// # Source
    /// Pillow 13's `ImagingResampleInner`: rounding to bytes in between shows which of the two passes is first.
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

/// Whether resampling within columns comes before that within rows, which rounding in between shows.
///
/// # Source
/// Pillow 13's `ImagingResampleInner`. Up to 12, Pillow did rows first here too.
pub(crate) fn columns_first(rows: Span, columns: Span) -> bool {
    let shorter = |span: Span| span.side as i128 - span.resized as i128;
    shorter(rows) > 0 && shorter(rows) > 2 * shorter(columns)
}

/// Rows of pixels, the first byte of each `stride` after that of the one above.
#[derive(Clone, Copy)]
struct Pixels<'p> {
    bytes: &'p [u8],
    stride: usize,
}

/// Resamples as many rows of `width` pixels as `into` has.
///
/// Some rows at a time stand side by side in `tile`, so that a column of them fills whole vectors.
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

/// Resamples columns of which each row has `row` bytes.
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

/// Sums of the weighted bytes in each lane, rounded to bytes.
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
