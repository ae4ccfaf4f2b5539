//! Mosaics of square tiles. Each tile is a random mix of two inks from a palette, lightened or darkened.

use super::turn::between;
use crate::rng::{SampleRng, below};

/// Red, green and blue, 0 to 1.
pub(super) type Colour = [f32; 3];

/// The palette of one side of an outline.
pub(super) type Inks = [[u8; 3]; 4];

/// Orange, red, straw and pink.
pub(super) const WARM: Inks = [[242, 165, 65], [224, 79, 58], [243, 211, 120], [244, 154, 165]];

/// Navy, blue, forest and violet.
pub(super) const COOL: Inks = [[29, 53, 87], [42, 111, 151], [31, 85, 58], [75, 59, 143]];

/// The largest share of white or black that is mixed into a tile.
const SHADE: f32 = 0.6;

/// The tiles of one side of an outline, row by row.
#[derive(Clone, Debug)]
pub(super) struct Mosaic {
    columns: usize,
    tiles: Vec<Colour>,
}

impl Mosaic {
    pub(super) fn draw(rng: &mut SampleRng, inks: &Inks, rows: usize, columns: usize) -> Self {
        let tiles = (0..rows * columns).map(|_| tile(rng, inks)).collect();
        Self { columns, tiles }
    }

    pub(super) fn at(&self, row: usize, column: usize) -> Colour {
        self.tiles[row * self.columns + column]
    }
}

fn tile(rng: &mut SampleRng, inks: &Inks) -> Colour {
    let mut ink = || inks[below(rng, inks.len() as u64) as usize].map(|c| f32::from(c) / 255.0);
    let (first, second) = (ink(), ink());
    let (mix, shade) = (between(rng, 0.0, 1.0), between(rng, -SHADE, SHADE));
    std::array::from_fn(|c| {
        let mixed = first[c] + (second[c] - first[c]) * mix;
        if shade > 0.0 { mixed + (1.0 - mixed) * shade } else { mixed * (1.0 + shade) }
    })
}
