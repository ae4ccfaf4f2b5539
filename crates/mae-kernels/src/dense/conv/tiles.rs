//! Tiles of 2 x 2 pixels that cover feature maps, and the windows of 4 x 4 around them.

use std::ops::Range;

use multiversion::multiversion;
use rayon::prelude::*;

use super::transform::{LANES, Lanes, POINTS, load, output_gradient, outputs, store, window};

/// The size of a batch of feature maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Map {
    /// Number of maps.
    pub batch: usize,
    /// Rows of each map.
    pub height: usize,
    /// Columns of each map.
    pub width: usize,
}

impl Map {
    /// Returns the number of pixels of all maps.
    pub(super) fn pixels(self) -> usize {
        self.batch * self.height * self.width
    }
}

/// The tiles of feature maps. Rows of tiles are counted across all maps; the last row of a map may be half outside it.
#[derive(Clone, Copy)]
pub struct Tiles {
    map: Map,
    /// Rows of tiles per map.
    rows: usize,
    /// Tiles per row.
    pub columns: usize,
}

/// What a 4 x 4 window is transformed to.
#[derive(Clone, Copy)]
pub enum Reading {
    /// A factor of the convolution.
    Window,
    /// A factor of the kernel gradient, from the middle of the window: the gradients of a tile's outputs.
    OutputGradient,
}

impl Tiles {
    pub fn new(map: Map) -> Self {
        Self { map, rows: map.height.div_ceil(2), columns: map.width.div_ceil(2) }
    }

    /// Divides all rows of tiles into groups of about `tiles` tiles.
    pub fn groups(&self, tiles: usize) -> Vec<Range<usize>> {
        let all = self.map.batch * self.rows;
        let rows = (tiles / self.columns.max(1)).max(1);
        (0..all).step_by(rows).map(|first| first..(first + rows).min(all)).collect()
    }

    /// Splits `y` into the pixels of consecutive groups of tile rows.
    pub fn split<'a>(
        &self,
        mut y: &'a mut [f32],
        channels: usize,
        groups: Vec<Range<usize>>,
    ) -> Vec<(Range<usize>, &'a mut [f32])> {
        let pixels = |row: usize| self.first_pixel(row) * channels;
        let mut split = Vec::with_capacity(groups.len());
        for rows in groups {
            let (these, rest) = y.split_at_mut(pixels(rows.end) - pixels(rows.start));
            split.push((rows, these));
            y = rest;
        }
        split
    }

    /// Returns the index of the first pixel of a row of tiles.
    fn first_pixel(&self, row: usize) -> usize {
        (row / self.rows * self.map.height + row % self.rows * 2) * self.map.width
    }

    /// Transforms the windows of some rows of tiles on all threads.
    ///
    /// # Shapes
    /// `[B, H, W, C]` → `[16, tiles, C]`
    pub fn read_all(
        &self,
        out: &mut [f32],
        x: &[f32],
        channels: usize,
        rows: Range<usize>,
        reading: Reading,
    ) {
        // For each row of tiles, its piece of each of the 16 parts.
        let mut of_rows: Vec<Vec<&mut [f32]>> = rows.clone().map(|_| Vec::with_capacity(POINTS)).collect();
        for part in self.parts(out, channels, &rows) {
            let pieces = part.chunks_exact_mut(self.columns * channels);
            of_rows.iter_mut().zip(pieces).for_each(|(of_row, piece)| of_row.push(piece));
        }
        of_rows.into_par_iter().zip(rows).for_each(|(mut of_row, row)| {
            read_row(&mut of_row, self.window_rows(x, channels, row), channels, reading);
        });
    }

    /// [`read_all`](Self::read_all) on the calling thread.
    pub fn read(&self, out: &mut [f32], x: &[f32], channels: usize, rows: Range<usize>, reading: Reading) {
        let mut parts: Vec<_> = self.parts(out, channels, &rows).collect();
        for row in rows {
            let mut of_row: Vec<&mut [f32]> = Vec::with_capacity(POINTS);
            for part in &mut parts {
                let (piece, rest) = std::mem::take(part).split_at_mut(self.columns * channels);
                of_row.push(piece);
                *part = rest;
            }
            read_row(&mut of_row, self.window_rows(x, channels, row), channels, reading);
        }
    }

    /// Computes the outputs of some rows of tiles, whose pixels are `y`.
    ///
    /// # Shapes
    /// `[16, tiles, C]` → `[pixels, C]`
    pub fn write(&self, mut y: &mut [f32], products: &[f32], channels: usize, rows: Range<usize>) {
        let (count, of_row) = (rows.len() * self.columns, self.columns * channels);
        for (i, row) in rows.enumerate() {
            let (these, rest) =
                y.split_at_mut((self.first_pixel(row + 1) - self.first_pixel(row)) * channels);
            let (upper, lower) = these.split_at_mut(self.map.width * channels);
            let parts =
                std::array::from_fn(|point| &products[point * count * channels + i * of_row..][..of_row]);
            write_row([upper, lower], parts, channels);
            y = rest;
        }
    }

    fn parts<'a>(
        &self,
        out: &'a mut [f32],
        channels: usize,
        rows: &Range<usize>,
    ) -> impl Iterator<Item = &'a mut [f32]> {
        out.chunks_exact_mut(rows.len() * self.columns * channels)
    }

    /// Returns the four pixel rows of a row of windows; empty where outside the map.
    fn window_rows<'a>(&self, x: &'a [f32], channels: usize, row: usize) -> [&'a [f32]; 4] {
        let (map, first) = (row / self.rows, row % self.rows * 2);
        let len = self.map.width * channels;
        std::array::from_fn(|i| match (first + i).checked_sub(1).filter(|y| *y < self.map.height) {
            Some(y) => &x[(map * self.map.height + y) * len..][..len],
            None => &[],
        })
    }
}

/// Transforms the windows of a row of tiles. `parts` has its piece of each of the 16 parts.
#[multiversion(targets = "simd")]
fn read_row(parts: &mut [&mut [f32]], rows: [&[f32]; 4], channels: usize, reading: Reading) {
    let tiles = parts[0].len() / channels;
    for tile in 0..tiles {
        let pixels = rows.map(|row| pixels_of(row, 2 * tile, channels));
        for first in (0..channels).step_by(LANES) {
            let lanes = pixels.map(|pixels| pixels.map(|pixel| load(pixel.get(first..).unwrap_or(&[]))));
            let transformed = match reading {
                Reading::Window => window(lanes),
                Reading::OutputGradient => output_gradient(lanes),
            };
            let end = channels.min(first + LANES);
            for (part, lanes) in parts.iter_mut().zip(transformed.as_flattened()) {
                store(&mut part[tile * channels + first..tile * channels + end], *lanes);
            }
        }
    }
}

/// Returns the four pixels from `column - 1` to `column + 2`; empty where outside the map.
#[inline(always)]
fn pixels_of(row: &[f32], column: usize, channels: usize) -> [&[f32]; 4] {
    std::array::from_fn(|j| match (column + j).checked_sub(1) {
        Some(x) => row.get(x * channels..(x + 1) * channels).unwrap_or(&[]),
        None => &[],
    })
}

/// Writes the outputs of a row of tiles that are inside the map.
#[multiversion(targets = "simd")]
fn write_row(mut rows: [&mut [f32]; 2], parts: [&[f32]; POINTS], channels: usize) {
    let tiles = parts[0].len() / channels;
    for tile in 0..tiles {
        for first in (0..channels).step_by(LANES) {
            let (at, end) = (tile * channels + first, channels.min(first + LANES));
            let lanes: [[Lanes; 4]; 4] = std::array::from_fn(|i| {
                std::array::from_fn(|j| load(&parts[4 * i + j][at..at + end - first]))
            });
            let made = outputs(lanes);
            for (row, made) in rows.iter_mut().zip(made) {
                for (j, lanes) in made.into_iter().enumerate() {
                    let pixel = (2 * tile + j) * channels;
                    if let Some(out) = row.get_mut(pixel + first..pixel + end) {
                        store(out, lanes);
                    }
                }
            }
        }
    }
}
