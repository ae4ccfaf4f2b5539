//! One image: a textured shape on a textured ground, lit from one side.

use super::outline::Outline;
use super::texture::{Colour, Texture};
use super::turn::{Turn, between};
use crate::rng::{SampleRng, below};

/// Navy, plum, forest and brick.
const DARK_INKS: [[u8; 3]; 4] = [[29, 53, 87], [107, 42, 94], [31, 85, 58], [154, 47, 47]];

/// Cream, sky, orange and pink.
const LIGHT_INKS: [[u8; 3]; 4] = [[243, 227, 184], [159, 211, 232], [242, 165, 65], [244, 166, 181]];

/// An outline's unit, of the image's shorter side.
const RADIUS: (f32, f32) = (0.28, 0.42);

/// How far from the middle a shape may lie, of what would let it touch the border.
const OFFSET: f32 = 0.8;

/// The tangent of half the largest angle that a shape is turned by, either way: 48°.
const TILT: f32 = 0.45;

/// By what share the light grows and fades from the middle to a border.
const LIGHT: (f32, f32) = (0.28, 0.7);

#[derive(Clone, Debug)]
pub(super) struct Scene {
    outline: Outline,
    centre: [f32; 2],
    radius: f32,
    turn: Turn,
    shape: Texture,
    ground: Texture,
    light: (f32, f32),
}

impl Scene {
    /// Draws everything about an image but its class: position, size, angle, inks, textures and light.
    pub(super) fn draw(rng: &mut SampleRng, outline: Outline) -> Self {
        let radius = between(rng, RADIUS.0, RADIUS.1);
        let reach = (0.5 - radius).max(0.0) * OFFSET;
        let (dark, light) = (ink(rng, &DARK_INKS), ink(rng, &LIGHT_INKS));
        let (shape, ground) = if below(rng, 2) == 0 { (dark, light) } else { (light, dark) };
        let brightening = between(rng, LIGHT.0, LIGHT.1) * if below(rng, 2) == 0 { 2.0 } else { -2.0 };
        Self {
            outline,
            centre: [between(rng, -reach, reach), between(rng, -reach, reach)],
            radius,
            turn: Turn::draw(rng, TILT),
            shape: Texture::draw(rng, shape),
            ground: Texture::draw(rng, ground),
            light: Turn::draw(rng, 1.0).apply(brightening, 0.0),
        }
    }

    /// The image, row by row, in red, green and blue bytes.
    pub(super) fn render(&self, height: usize, width: usize) -> Vec<u8> {
        let pixel = 1.0 / height.min(width) as f32;
        let from_middle = |index: usize, count: usize| (index as f32 + 0.5 - count as f32 / 2.0) * pixel;
        let mut bytes = Vec::with_capacity(height * width * 3);
        for row in 0..height {
            let y = from_middle(row, height);
            for column in 0..width {
                let x = from_middle(column, width);
                let light = 1.0 + self.light.0 * x + self.light.1 * y;
                // A cast to u8 saturates.
                bytes.extend(self.colour(x, y, pixel).map(|c| (c * light * 255.0 + 0.5) as u8));
            }
        }
        bytes
    }

    /// The colour at (x, y) before it is lit; where the outline passes through the pixel, both sides' by share.
    fn colour(&self, x: f32, y: f32, pixel: f32) -> Colour {
        let (u, v) = self.turn.apply(x - self.centre[0], y - self.centre[1]);
        let distance = self.outline.distance(u / self.radius, v / self.radius) * self.radius;
        let inside = (0.5 - distance / pixel).clamp(0.0, 1.0);
        if inside == 0.0 {
            return self.ground.at(x, y, pixel);
        }
        if inside == 1.0 {
            return self.shape.at(x, y, pixel);
        }
        let (shape, ground) = (self.shape.at(x, y, pixel), self.ground.at(x, y, pixel));
        std::array::from_fn(|c| ground[c] + (shape[c] - ground[c]) * inside)
    }
}

fn ink(rng: &mut SampleRng, inks: &[[u8; 3]]) -> Colour {
    inks[below(rng, inks.len() as u64) as usize].map(|c| f32::from(c) / 255.0)
}
