//! Block-wise masks: rectangles are masked one after another until enough patches are masked.

use mae_random::{Stream, scaled, uniform};

/// The smallest area of a block, in patches: BEiT, algorithm 1.
const MIN_BLOCK: usize = 16;
/// The smallest ratio of a block's height to its width, and of its width to its height: BEiT, algorithm 1.
const MIN_ASPECT: f64 = 0.3;

/// Returns a mask with exactly `num_keep` visible patches, from 1 to the number of patches in the grid.
///
/// A block's target area is drawn between [`MIN_BLOCK`] and the number of patches still to be masked, or is
/// [`MIN_BLOCK`] if fewer remain. Its position is anywhere within the grid, and sides longer than the grid are clipped
/// to it. A block that would mask nothing new is moved onto a visible patch, so every block masks at least one more.
/// The last block is masked row by row, and only until the count is reached.
pub(crate) fn mask(grid: (usize, usize), num_keep: usize, rng: &mut Stream) -> Vec<bool> {
    let mut mask = vec![false; grid.0 * grid.1];
    let mut missing = mask.len() - num_keep;
    while missing > 0 {
        let mut block =
            Block::draw(grid, MIN_BLOCK + scaled(rng, missing.saturating_sub(MIN_BLOCK) + 1), rng);
        if block.patches(grid).all(|patch| mask[patch]) {
            let visible: Vec<usize> = (0..mask.len()).filter(|&patch| !mask[patch]).collect();
            block = block.moved_over(visible[scaled(rng, visible.len())], grid);
        }
        for patch in block.patches(grid) {
            if missing > 0 && !mask[patch] {
                mask[patch] = true;
                missing -= 1;
            }
        }
    }
    mask
}

struct Block {
    top: usize,
    left: usize,
    height: usize,
    width: usize,
}

impl Block {
    /// Draws a block of about `area` patches with a random aspect ratio, anywhere within the grid.
    fn draw(grid: (usize, usize), area: usize, rng: &mut Stream) -> Self {
        let (area, aspect) = (area as f64, log_uniform_aspect(rng));
        let height = ((area * aspect).sqrt().round() as usize).clamp(1, grid.0);
        let width = ((area / aspect).sqrt().round() as usize).clamp(1, grid.1);
        Self { top: scaled(rng, grid.0 - height + 1), left: scaled(rng, grid.1 - width + 1), height, width }
    }

    /// The same block, with its centre as close to `patch` as the grid allows. It covers the patch.
    fn moved_over(self, patch: usize, grid: (usize, usize)) -> Self {
        let (row, column) = (patch / grid.1, patch % grid.1);
        Self {
            top: row.saturating_sub(self.height / 2).min(grid.0 - self.height),
            left: column.saturating_sub(self.width / 2).min(grid.1 - self.width),
            ..self
        }
    }

    fn patches(&self, grid: (usize, usize)) -> impl Iterator<Item = usize> + use<> {
        let columns = self.left..self.left + self.width;
        (self.top..self.top + self.height)
            .flat_map(move |row| columns.clone().map(move |column| row * grid.1 + column))
    }
}

/// Draws a ratio with density proportional to its inverse, so that tall and wide are equally likely. Uses rejection,
/// because the last bit of `exp` depends on the platform.
fn log_uniform_aspect(rng: &mut Stream) -> f64 {
    loop {
        let aspect = MIN_ASPECT + (1.0 / MIN_ASPECT - MIN_ASPECT) * uniform(rng);
        if uniform(rng) * aspect < MIN_ASPECT {
            return aspect;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MaskKey;

    #[test]
    fn aspect_ratios_are_log_uniform() {
        const DRAWS: usize = 40_000;
        const BINS: usize = 20;
        let mut rng = MaskKey { seed: 0, pass: 0, sample: 0 }.stream();
        let mut counts = [0usize; BINS];
        for _ in 0..DRAWS {
            let aspect = log_uniform_aspect(&mut rng);
            assert!((MIN_ASPECT..=1.0 / MIN_ASPECT).contains(&aspect));
            let share = 0.5 - 0.5 * aspect.ln() / MIN_ASPECT.ln();
            counts[((share * BINS as f64) as usize).min(BINS - 1)] += 1;
        }
        let expected = (DRAWS / BINS) as f64;
        let chi_square: f64 = counts.iter().map(|&n| (n as f64 - expected).powi(2) / expected).sum();
        // 19 degrees of freedom: p = 0.001 on each side.
        assert!((5.407..43.820).contains(&chi_square), "{chi_square}");
    }

    #[test]
    fn a_moved_block_covers_its_patch_and_stays_inside() {
        let grid = (7, 5);
        for patch in 0..35 {
            for (height, width) in [(1, 1), (2, 3), (4, 5), (7, 5), (7, 2)] {
                let block = Block { top: 0, left: 0, height, width }.moved_over(patch, grid);
                assert!(block.top + height <= 7 && block.left + width <= 5);
                assert!(block.patches(grid).any(|covered| covered == patch));
            }
        }
    }
}
