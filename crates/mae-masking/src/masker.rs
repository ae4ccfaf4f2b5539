//! A strategy, a grid and a ratio, checked once and then drawn from without fail.

use mae_random::{Stream, bits};

use crate::{MaskBatch, MaskKey, Masking, MaskingError, Strategy, block, grid, num_keep};

/// Draws masks: a strategy for a grid of patches and a ratio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Masker {
    strategy: Strategy,
    grid: (usize, usize),
    num_keep: usize,
}

impl Masker {
    /// Checks the ratio against the grid, (height, width) in patches.
    ///
    /// # Errors
    /// Those of [`num_keep`](crate::num_keep), for a grid of height × width patches.
    pub fn new(strategy: Strategy, grid: (usize, usize), mask_ratio: f64) -> Result<Self, MaskingError> {
        Ok(Self { strategy, grid, num_keep: num_keep(grid.0.saturating_mul(grid.1), mask_ratio)? })
    }

    /// How the visible patches are chosen.
    pub fn strategy(&self) -> Strategy {
        self.strategy
    }

    /// The grid of patches, (height, width).
    pub fn grid(&self) -> (usize, usize) {
        self.grid
    }

    /// Patches of an image.
    pub fn num_patches(&self) -> usize {
        self.grid.0 * self.grid.1
    }

    /// Visible patches of an image, the same for every draw.
    pub fn num_keep(&self) -> usize {
        self.num_keep
    }

    /// The mask of one sample: a pure function of the masker and the key, on any platform and from one version of
    /// this crate to the next.
    ///
    /// A random mask keeps the order of its shuffle; block and grid masks list their patches in ascending order.
    pub fn draw(&self, key: MaskKey) -> Masking {
        let mut rng = key.stream();
        match self.strategy {
            Strategy::Random => self.shuffled(&mut rng),
            Strategy::Block => Masking::painted(&block::mask(self.grid, self.num_keep, &mut rng)),
            Strategy::Grid => Masking::painted(&grid::mask(self.grid, self.num_keep, &mut rng)),
        }
    }

    /// The masks of a batch, in the order of its samples, each given as (pass, index): several views of an image, of a pass each, have
    /// a mask each.
    ///
    /// # Errors
    /// [`MaskingError::EmptyBatch`] without a sample.
    pub fn draw_batch(
        &self,
        seed: u64,
        samples: impl IntoIterator<Item = (u64, usize)>,
    ) -> Result<MaskBatch, MaskingError> {
        let draw = |(pass, sample)| self.draw(MaskKey { seed, pass, sample });
        MaskBatch::new(&samples.into_iter().map(draw).collect::<Vec<_>>())
    }

    /// The argsort of uniform noise, as in the paper; with 64 bits of it a tie is a curiosity, and goes by index.
    fn shuffled(&self, rng: &mut Stream) -> Masking {
        let mut noise: Vec<(u64, usize)> = (0..self.num_patches()).map(|patch| (bits(rng), patch)).collect();
        noise.sort_unstable();
        Masking::from_shuffle(noise.into_iter().map(|(_, patch)| patch).collect(), self.num_keep)
    }
}
