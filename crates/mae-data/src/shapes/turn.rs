//! Random numbers and rotations, computed so that the bits are the same on every machine.

use crate::rng::{SampleRng, uniform};

/// A rotation, as the cosine and sine of its angle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    cos: f32,
    sin: f32,
}

impl Turn {
    /// Draws a rotation. The tangent of half its angle is uniform in ±`limit`; a limit of 1 allows a quarter turn
    /// either way.
    ///
    /// The rational parametrisation of the circle avoids sines, which differ between math libraries.
    pub(super) fn draw(rng: &mut SampleRng, limit: f32) -> Self {
        let tangent = between(rng, -limit, limit);
        let scale = 1.0 / (1.0 + tangent * tangent);
        Self { cos: (1.0 - tangent * tangent) * scale, sin: 2.0 * tangent * scale }
    }

    pub(super) fn apply(self, x: f32, y: f32) -> (f32, f32) {
        (x * self.cos - y * self.sin, x * self.sin + y * self.cos)
    }
}

/// A uniform number from `low` to `high`.
pub(super) fn between(rng: &mut SampleRng, low: f32, high: f32) -> f32 {
    low + (high - low) * uniform(rng) as f32
}
