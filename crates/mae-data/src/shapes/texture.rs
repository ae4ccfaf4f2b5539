//! The surfaces that shapes and grounds are painted with: a pattern in two shades of an ink.

use super::turn::{Turn, between};
use crate::rng::{SampleRng, below};

/// Red, green and blue in [0, 1].
pub(super) type Colour = [f32; 3];

#[derive(Clone, Copy, Debug)]
enum Pattern {
    Plain,
    Gradient,
    Stripes,
    Checks,
    Dots,
    Noise,
}

impl Pattern {
    const ALL: [Self; 6] =
        [Self::Plain, Self::Gradient, Self::Stripes, Self::Checks, Self::Dots, Self::Noise];
}

/// How far a pattern's two shades lie apart, of a channel's range.
const SHADES: (f32, f32) = (0.08, 0.2);

/// A stripe and its gap, or a dot and the space around it, of the image's shorter side.
const PERIOD: (f32, f32) = (0.16, 0.36);

/// A pattern, turned and scaled, that mixes two shades.
#[derive(Clone, Debug)]
pub(super) struct Texture {
    pattern: Pattern,
    turn: Turn,
    period: f32,
    phase: [f32; 2],
    /// What makes one noise differ from another.
    salt: u32,
    shades: [Colour; 2],
}

impl Texture {
    /// A random pattern in two shades around `ink`.
    pub(super) fn draw(rng: &mut SampleRng, ink: Colour) -> Self {
        let step = between(rng, SHADES.0, SHADES.1) / 2.0;
        Self {
            pattern: Pattern::ALL[below(rng, Pattern::ALL.len() as u64) as usize],
            turn: Turn::draw(rng, 1.0),
            period: between(rng, PERIOD.0, PERIOD.1),
            phase: [between(rng, 0.0, 1.0), between(rng, 0.0, 1.0)],
            salt: below(rng, 1 << 32) as u32,
            shades: [ink.map(|c| (c - step).max(0.0)), ink.map(|c| (c + step).min(1.0))],
        }
    }

    /// The colour at (x, y), in units of the image's shorter side, of which a pixel takes `pixel`.
    pub(super) fn at(&self, x: f32, y: f32, pixel: f32) -> Colour {
        let (x, y) = self.turn.apply(x, y);
        let (u, v) = (x / self.period + self.phase[0], y / self.period + self.phase[1]);
        let period_px = self.period / pixel;
        let mix = match self.pattern {
            Pattern::Plain => 0.5,
            Pattern::Gradient => (x + self.phase[0]).clamp(0.0, 1.0),
            Pattern::Stripes => edge(wave(u), period_px),
            Pattern::Checks => {
                let (a, b) = (edge(wave(u), period_px), edge(wave(v), period_px));
                a + b - 2.0 * a * b
            }
            Pattern::Dots => {
                let (a, b) = (fraction(u) - 0.5, fraction(v) - 0.5);
                edge(0.3 - (a * a + b * b).sqrt(), period_px)
            }
            Pattern::Noise => self.noise(u, v),
        };
        let [dark, light] = &self.shades;
        std::array::from_fn(|c| dark[c] + (light[c] - dark[c]) * mix)
    }

    /// Value noise: a random number at each whole (u, v), and smoothly from one to the next between them.
    fn noise(&self, u: f32, v: f32) -> f32 {
        let (column, row) = (u.floor(), v.floor());
        let at = |right: i32, down: i32| hash(column as i32 + right, row as i32 + down, self.salt);
        let (a, b) = (smooth(u - column), smooth(v - row));
        let top = at(0, 0) * (1.0 - a) + at(1, 0) * a;
        let bottom = at(0, 1) * (1.0 - a) + at(1, 1) * a;
        top * (1.0 - b) + bottom * b
    }
}

/// A number in [0, 1] that looks random.
///
/// # Source
/// The finalizer of MurmurHash3 (Appleby, public domain); the factors that join the three are its too.
fn hash(column: i32, row: i32, salt: u32) -> f32 {
    let key = (column as u32).wrapping_mul(0xCC9E_2D51) ^ (row as u32).wrapping_mul(0x1B87_3593) ^ salt;
    let key = (key ^ (key >> 16)).wrapping_mul(0x85EB_CA6B);
    let key = (key ^ (key >> 13)).wrapping_mul(0xC2B2_AE35);
    (key >> 24) as f32 / 255.0
}

/// A step at `t` = 0 that is one pixel wide where 1 is `scale_px` pixels.
fn edge(t: f32, scale_px: f32) -> f32 {
    (t * scale_px + 0.5).clamp(0.0, 1.0)
}

fn fraction(t: f32) -> f32 {
    t - t.floor()
}

/// A triangle wave of period 1, between ±0.25.
fn wave(t: f32) -> f32 {
    (fraction(t) - 0.5).abs() - 0.25
}

fn smooth(t: f32) -> f32 {
    t * t * (3.0 - 2.0 * t)
}
