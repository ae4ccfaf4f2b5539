//! Images of many warm-coloured shapes on a cool-coloured background, with the shape that each pixel shows.

use super::mosaic::{COOL, Mosaic, WARM};
use super::outline::Outline;
use super::scene::Scene;
use crate::rng::{SampleRng, below};

/// The range of the number of shapes in an image, both ends included.
const COUNT: (u64, u64) = (3, 8);

/// The range of a shape's radius, as a share of the image's shorter side.
const RADIUS: (f32, f32) = (0.08, 0.24);

/// Tiles along the image's shorter side. With this many, even the smallest shape is several tiles wide.
const TILES: usize = 16;

/// The shapes of an image, each in front of those before it.
pub(super) struct Crowd(Vec<Scene>);

impl Crowd {
    /// Draws the shapes of an image of (height, width) and their positions. All of them lie within the image.
    pub(super) fn draw(rng: &mut SampleRng, (height, width): (usize, usize)) -> Self {
        let count = COUNT.0 + below(rng, COUNT.1 - COUNT.0 + 1);
        let short = height.min(width) as f32;
        // Half of each side, in units of the shorter one.
        let extent = [width as f32 / (2.0 * short), height as f32 / (2.0 * short)];
        let shape = |_| {
            let outline = Outline::ALL[below(rng, Outline::ALL.len() as u64) as usize];
            Scene::draw_within(rng, outline, RADIUS, extent, 1.0)
        };
        Self((0..count).map(shape).collect())
    }

    /// Renders the image, row by row, in red, green and blue bytes. Draws the tiles.
    pub(super) fn render(&self, rng: &mut SampleRng, (height, width): (usize, usize)) -> Vec<u8> {
        let short = height.min(width);
        let tile = |index: usize| index * TILES / short;
        let (rows, columns) = (tile(height - 1) + 1, tile(width - 1) + 1);
        let ground = Mosaic::draw(rng, &COOL, rows, columns);
        let shapes: Vec<Mosaic> = self.0.iter().map(|_| Mosaic::draw(rng, &WARM, rows, columns)).collect();
        let mut bytes = Vec::with_capacity(height * width * 3);
        self.each_pixel((height, width), |row, column, shares| {
            let (row, column) = (tile(row), tile(column));
            let mut colour = ground.at(row, column);
            for (mosaic, share) in shapes.iter().zip(shares) {
                let shape = mosaic.at(row, column);
                colour = std::array::from_fn(|c| colour[c] + (shape[c] - colour[c]) * share);
            }
            // A cast to u8 saturates.
            bytes.extend(colour.map(|c| (c * 255.0 + 0.5) as u8));
        });
        bytes
    }

    /// The label of each pixel, row by row: 0 for the background, otherwise 1 plus the index of the outline in
    /// [`Outline::ALL`]. A pixel belongs to the foremost shape that covers at least half of it.
    pub(super) fn labels(&self, size: (usize, usize)) -> Vec<u16> {
        let mut labels = Vec::with_capacity(size.0 * size.1);
        let of_shapes: Vec<u16> = self.0.iter().map(|scene| scene.outline().label() as u16 + 1).collect();
        self.each_pixel(size, |_, _, shares| {
            let mut foremost = of_shapes.iter().zip(shares).rev();
            labels.push(foremost.find(|(_, share)| **share >= 0.5).map_or(0, |(label, _)| *label));
        });
        labels
    }

    /// Calls `f` for each pixel with its row, its column, and the share of it that lies within each shape.
    fn each_pixel(&self, (height, width): (usize, usize), mut f: impl FnMut(usize, usize, &[f32])) {
        let pixel = 1.0 / height.min(width) as f32;
        let from_middle = |index: usize, count: usize| (index as f32 + 0.5 - count as f32 / 2.0) * pixel;
        let mut shares = vec![0.0; self.0.len()];
        for row in 0..height {
            let y = from_middle(row, height);
            for column in 0..width {
                let x = from_middle(column, width);
                for (share, scene) in shares.iter_mut().zip(&self.0) {
                    *share = scene.inside(x, y, pixel);
                }
                f(row, column, &shares);
            }
        }
    }
}
