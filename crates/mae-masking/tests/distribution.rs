//! The distribution of masks: uniform over positions, independent across keys, blocks contiguous.
//!
//! The draws are keyed and therefore the same in every run, so these tests do not fail by chance. Each bound is a
//! quantile of the statistic's distribution; the comment beside it gives the probability that random masks exceed it.

use mae_masking::{MaskKey, Masker, Masking, Strategy};

const GRID: (usize, usize) = (14, 14);
const DRAWS: u64 = 4_000;
/// Chi-square with 195 degrees of freedom, one less than the number of patches: p = 0.001 on each side.
const BOUNDS: std::ops::Range<f64> = 139.619..261.763;

/// The ways to move from one mask to the next: by sample, by pass, by seed.
const WALKS: [fn(u64) -> MaskKey; 3] = [
    |i| MaskKey { seed: 0, pass: 0, sample: i as usize },
    |i| MaskKey { seed: 0, pass: i, sample: 0 },
    |i| MaskKey { seed: i, pass: 0, sample: 0 },
];

fn masker(strategy: Strategy, mask_ratio: f64) -> Masker {
    Masker::new(strategy, GRID, mask_ratio).unwrap()
}

/// Pearson's statistic of `counts` under equal probabilities.
fn chi_square(counts: &[u64]) -> f64 {
    let expected = counts.iter().sum::<u64>() as f64 / counts.len() as f64;
    counts.iter().map(|&count| (count as f64 - expected).powi(2) / expected).sum()
}

/// Counts how often each patch is among those that `ids` returns.
fn counts(masker: &Masker, walk: fn(u64) -> MaskKey, ids: impl Fn(&Masking) -> &[usize]) -> Vec<u64> {
    let mut counts = vec![0; masker.num_patches()];
    for i in 0..DRAWS {
        ids(&masker.draw(walk(i))).iter().for_each(|&patch| counts[patch] += 1);
    }
    counts
}

#[test]
fn every_patch_is_kept_equally_often() {
    for mask_ratio in [0.5, 0.75, 0.9] {
        let masker = masker(Strategy::Random, mask_ratio);
        for walk in WALKS {
            // K patches are drawn without replacement, which narrows the statistic by (L - K) / (L - 1).
            let (patches, kept) = (masker.num_patches() as f64, masker.num_keep() as f64);
            let narrowing = (patches - kept) / (patches - 1.0);
            let statistic = chi_square(&counts(&masker, walk, Masking::ids_keep)) / narrowing;
            assert!(BOUNDS.contains(&statistic), "ratio {mask_ratio}: {statistic}");
        }
    }
}

#[test]
fn every_patch_is_first_equally_often() {
    let masker = masker(Strategy::Random, 0.75);
    for walk in WALKS {
        for ids in [Masking::ids_keep, Masking::ids_masked] {
            let statistic = chi_square(&counts(&masker, walk, |masking| &ids(masking)[..1]));
            assert!(BOUNDS.contains(&statistic), "{statistic}");
        }
    }
}

#[test]
fn neighbouring_keys_draw_independent_masks() {
    let masker = masker(Strategy::Random, 0.75);
    let (patches, kept) = (masker.num_patches() as f64, masker.num_keep() as f64);
    // The number of patches that two independent masks both keep is hypergeometric.
    let mean = kept * kept / patches;
    let variance = mean * (1.0 - kept / patches) * (patches - kept) / (patches - 1.0);
    for walk in WALKS {
        let masks: Vec<Vec<bool>> = (0..DRAWS).map(|i| masker.draw(walk(i)).mask()).collect();
        let common =
            masks.windows(2).map(|pair| pair[0].iter().zip(&pair[1]).filter(|(a, b)| !**a && !**b).count());
        let pairs = (DRAWS - 1) as f64;
        let deviation = (common.sum::<usize>() as f64 / pairs - mean) / (variance / pairs).sqrt();
        // Normal: p = 0.001 on each side.
        assert!(deviation.abs() < 3.0902, "{deviation}");
    }
}

/// The share of a masked patch's neighbours (above, below, left and right) that are masked too.
fn masked_neighbours(masker: &Masker) -> f64 {
    let (mut masked, mut all) = (0, 0);
    for sample in 0..500 {
        let mask = masker.draw(MaskKey { seed: 0, pass: 0, sample }).mask();
        let at = |row: usize, column: usize| mask[row * GRID.1 + column];
        let across = (0..GRID.0).flat_map(|r| (1..GRID.1).map(move |c| ((r, c - 1), (r, c))));
        let down = (1..GRID.0).flat_map(|r| (0..GRID.1).map(move |c| ((r - 1, c), (r, c))));
        for (a, b) in across.chain(down) {
            let (a, b) = (at(a.0, a.1), at(b.0, b.1));
            all += u32::from(a) + u32::from(b);
            masked += 2 * u32::from(a && b);
        }
    }
    f64::from(masked) / f64::from(all)
}

#[test]
fn blocks_hang_together() {
    for mask_ratio in [0.4, 0.5, 0.75] {
        let random = masked_neighbours(&masker(Strategy::Random, mask_ratio));
        let block = masked_neighbours(&masker(Strategy::Block, mask_ratio));
        // Neighbours in a random mask are masked as often as any patch. In a block mask, only those at the edges of
        // blocks are visible.
        assert!((random - mask_ratio).abs() < 0.01, "ratio {mask_ratio}: {random}");
        assert!(1.0 - block < 0.5 * (1.0 - random), "ratio {mask_ratio}: {block} against {random}");
    }
}
