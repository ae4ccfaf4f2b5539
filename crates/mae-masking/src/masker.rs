//! Drawing masks. Strategy, grid and ratio are checked once; after that, no draw fails.

use mae_random::{Stream, bits};

use crate::{MaskBatch, MaskKey, Masking, MaskingError, Strategy, block, grid, num_keep};

/// Draws masks with one strategy for one grid of patches and one ratio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Masker {
    strategy: Strategy,
    grid: (usize, usize),
    num_keep: usize,
}

impl Masker {
    /// Creates a masker for a grid of (height, width) patches, and checks the ratio against it.
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

    /// The number of patches of an image.
    pub fn num_patches(&self) -> usize {
        self.grid.0 * self.grid.1
    }

    /// The number of visible patches of an image, the same for every draw.
    pub fn num_keep(&self) -> usize {
        self.num_keep
    }

    /// Draws the mask of one sample. It is a pure function of the masker and the key, on every platform and in every
    /// version of this crate.
    ///
    /// The patches of a random mask are in shuffle order; those of block and grid masks are in ascending order.
    pub fn draw(&self, key: MaskKey) -> Masking {
        let mut rng = key.stream();
        match self.strategy {
            Strategy::Random => self.shuffled(&mut rng),
            Strategy::Block => Masking::painted(&block::mask(self.grid, self.num_keep, &mut rng)),
            Strategy::Grid => Masking::painted(&grid::mask(self.grid, self.num_keep, &mut rng)),
        }
    }

    /// Draws the masks of a batch, in the order of its samples. Each sample is given as (pass, index). Views of one
    /// image have different passes, so each gets its own mask.
    ///
    /// # Errors
    /// [`MaskingError::EmptyBatch`] for no samples.
    pub fn draw_batch(
        &self,
        seed: u64,
        samples: impl IntoIterator<Item = (u64, usize)>,
    ) -> Result<MaskBatch, MaskingError> {
        let draw = |(pass, sample)| self.draw(MaskKey { seed, pass, sample });
        MaskBatch::new(&samples.into_iter().map(draw).collect::<Vec<_>>())
    }

    /// The argsort of uniform noise, as in the paper. With 64 bits ties are very unlikely; they are broken by index.
    fn shuffled(&self, rng: &mut Stream) -> Masking {
        let mut noise: Vec<(u64, usize)> = (0..self.num_patches()).map(|patch| (bits(rng), patch)).collect();
        noise.sort_unstable();
        Masking::from_shuffle(noise.into_iter().map(|(_, patch)| patch).collect(), self.num_keep)
    }
}
