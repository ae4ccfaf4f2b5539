//! Grid masks: visible patches at regular distances, with a random offset.

use mae_random::{Stream, scaled};

/// Returns a mask with exactly `num_keep` visible patches, from 1 to the number of patches in the grid.
///
/// The paper keeps one patch of every r × r. Here r is the real number that gives the right count, √(L / K). About
/// height / r rows have visible patches, and the K patches are distributed over those rows. Three things are spread as
/// evenly as integers allow: the rows over the height, the patches over the rows, and the columns within a row.
/// Distances therefore differ by at most one. If r is an integer that divides both sides, this is one patch of every
/// r × r.
pub(crate) fn mask(grid: (usize, usize), num_keep: usize, rng: &mut Stream) -> Vec<bool> {
    let num_rows = num_rows(grid, num_keep);
    let phases = (scaled(rng, grid.0), scaled(rng, grid.1), scaled(rng, num_rows));
    mask_at(grid, num_keep, phases)
}

/// The number of rows with visible patches: enough to hold all of them, and no more than can be filled.
fn num_rows((height, width): (usize, usize), num_keep: usize) -> usize {
    let side = height as f64 * (num_keep as f64 / (height * width) as f64).sqrt();
    (side.round() as usize).clamp(num_keep.div_ceil(width), height.min(num_keep))
}

/// Returns the mask for the given phases: of the rows (below `height`), of the columns (below `width`), and of the
/// number of patches per row (below `num_rows`).
fn mask_at(grid: (usize, usize), num_keep: usize, phases: (usize, usize, usize)) -> Vec<bool> {
    let (height, width) = grid;
    let num_rows = num_rows(grid, num_keep);
    let mut mask = vec![true; height * width];
    for i in 0..num_rows {
        let row = spread(i, num_rows, height, phases.0);
        let num_columns =
            spread(i + 1, num_rows, num_keep, phases.2) - spread(i, num_rows, num_keep, phases.2);
        for j in 0..num_columns {
            mask[row * width + spread(j, num_columns, width, phases.1)] = false;
        }
    }
    mask
}

/// The `i`-th of `count` points spread evenly over `length`, in steps of `length / count` rounded down or up. Over all
/// phases below `length`, every position is taken equally often.
fn spread(i: usize, count: usize, length: usize, phase: usize) -> usize {
    (i * length + phase) / count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_patch_is_equally_likely_to_be_kept() {
        for grid in [(1, 7), (4, 6), (5, 3), (6, 6)] {
            let num_patches = grid.0 * grid.1;
            for num_keep in 1..=num_patches {
                let mut kept = vec![0; num_patches];
                let rows = num_rows(grid, num_keep);
                for row_phase in 0..grid.0 {
                    for column_phase in 0..grid.1 {
                        for count_phase in 0..rows {
                            let mask = mask_at(grid, num_keep, (row_phase, column_phase, count_phase));
                            mask.iter().zip(&mut kept).for_each(|(&masked, n)| *n += usize::from(!masked));
                        }
                    }
                }
                assert_eq!(kept, vec![num_keep * rows; num_patches], "{grid:?} keeping {num_keep}");
            }
        }
    }
}
