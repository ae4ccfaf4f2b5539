//! Images of one warm-coloured shape on a cool-coloured background.

use super::mosaic::{COOL, Colour, Mosaic, WARM};
use super::outline::Outline;
use super::turn::{Turn, between};
use crate::rng::SampleRng;

/// Tiles along the image's shorter side.
const TILES: usize = 8;

/// The range of an outline's radius, as a share of the image's shorter side.
const RADIUS: (f32, f32) = (0.28, 0.42);

/// The largest offset of a shape from the image's centre, as a share of the offset at which it would touch the border.
const OFFSET: f32 = 0.7;

/// The tangent of half the largest rotation angle in either direction, 42°.
const TILT: f32 = 0.38;

#[derive(Clone, Debug)]
pub(super) struct Scene {
    outline: Outline,
    centre: [f32; 2],
    radius: f32,
    turn: Turn,
}

impl Scene {
    /// Draws the position, size and rotation of a shape.
    pub(super) fn draw(rng: &mut SampleRng, outline: Outline) -> Self {
        Self::draw_within(rng, outline, RADIUS, [0.5; 2], OFFSET)
    }

    /// Draws a scene with a radius in the range `radius`, in a rectangle that reaches `extent`, (x, y), from its
    /// centre. The shape's offset from that centre is at most `offset` times the offset at which it would touch the
    /// border.
    pub(super) fn draw_within(
        rng: &mut SampleRng,
        outline: Outline,
        radius: (f32, f32),
        extent: [f32; 2],
        offset: f32,
    ) -> Self {
        let radius = between(rng, radius.0, radius.1);
        let centre = extent.map(|extent| {
            // An outline reaches about 0.9 units from its centre.
            let reach = (extent - 0.9 * radius).max(0.0) * offset;
            between(rng, -reach, reach)
        });
        Self { outline, centre, radius, turn: Turn::draw(rng, TILT) }
    }

    pub(super) fn outline(&self) -> Outline {
        self.outline
    }

    /// Renders the image, row by row, in red, green and blue bytes. Draws the tiles to fit its size.
    pub(super) fn render(&self, rng: &mut SampleRng, height: usize, width: usize) -> Vec<u8> {
        let short = height.min(width);
        let tile = |index: usize| index * TILES / short;
        let (rows, columns) = (tile(height - 1) + 1, tile(width - 1) + 1);
        let (shape, ground) =
            (Mosaic::draw(rng, &WARM, rows, columns), Mosaic::draw(rng, &COOL, rows, columns));
        let pixel = 1.0 / short as f32;
        let from_middle = |index: usize, count: usize| (index as f32 + 0.5 - count as f32 / 2.0) * pixel;
        let mut bytes = Vec::with_capacity(height * width * 3);
        for row in 0..height {
            let y = from_middle(row, height);
            for column in 0..width {
                let inside = self.inside(from_middle(column, width), y, pixel);
                let (shape, ground): (Colour, Colour) =
                    (shape.at(tile(row), tile(column)), ground.at(tile(row), tile(column)));
                let mixed: Colour = std::array::from_fn(|c| ground[c] + (shape[c] - ground[c]) * inside);
                // A cast to u8 saturates.
                bytes.extend(mixed.map(|c| (c * 255.0 + 0.5) as u8));
            }
        }
        bytes
    }

    /// The share of the pixel at (x, y) that lies within the outline.
    pub(super) fn inside(&self, x: f32, y: f32, pixel: f32) -> f32 {
        let (u, v) = self.turn.apply(x - self.centre[0], y - self.centre[1]);
        let distance = self.outline.distance(u / self.radius, v / self.radius) * self.radius;
        (0.5 - distance / pixel).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_lies_within_the_image_and_is_warmer_than_its_ground() {
        for sample in 0..200 {
            let rng = &mut crate::sample_rng(0, 0, sample);
            let scene = Scene::draw(rng, Outline::Disc);
            assert!(scene.centre.iter().all(|offset| offset.abs() + 0.9 * scene.radius <= 0.5));
            let bytes = scene.render(rng, 32, 32);
            let warmth = |inside: f32| {
                let (mut sum, mut count) = (0, 0);
                for (i, rgb) in bytes.chunks(3).enumerate() {
                    let at = |index: usize| (index as f32 - 15.5) / 32.0;
                    if scene.inside(at(i % 32), at(i / 32), 1.0 / 32.0) == inside {
                        (sum, count) = (sum + i32::from(rgb[0]) - i32::from(rgb[2]), count + 1);
                    }
                }
                sum / count
            };
            assert!(warmth(1.0) > 20 && warmth(0.0) < 0, "sample {sample}");
        }
    }
}
