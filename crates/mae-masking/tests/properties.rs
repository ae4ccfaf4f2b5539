//! Properties of every mask, over grids, ratios and keys.

use mae_masking::{MaskBatch, MaskKey, Masker, Masking, Strategy, num_keep};
use proptest::prelude::*;
use proptest::strategy::Strategy as Generator;

fn strategies() -> impl Generator<Value = Strategy> {
    prop::sample::select(Strategy::ALL.to_vec())
}

/// Generates a masker for any grid up to 40 × 40 and any ratio that keeps at least one patch.
fn maskers() -> impl Generator<Value = Masker> {
    (strategies(), (1..=40usize, 1..=40usize), 0.0..1.0)
        .prop_filter_map("keeps nothing", |(strategy, grid, ratio)| Masker::new(strategy, grid, ratio).ok())
}

fn keys() -> impl Generator<Value = MaskKey> {
    any::<(u64, u64, usize)>().prop_map(|(seed, pass, sample)| MaskKey { seed, pass, sample })
}

/// Asserts that the ids are a permutation and its inverse, and that the mask agrees with them.
fn assert_consistent(masking: &Masking) {
    let (num_patches, num_keep) = (masking.num_patches(), masking.num_keep());
    let shuffle = [masking.ids_keep(), masking.ids_masked()].concat();
    assert_eq!((masking.ids_keep().len(), shuffle.len()), (num_keep, num_patches));

    let mut sorted = shuffle.clone();
    sorted.sort_unstable();
    assert!(sorted.into_iter().eq(0..num_patches), "not a permutation");
    assert!(
        masking.ids_restore().iter().map(|&position| shuffle[position]).eq(0..num_patches),
        "not its inverse"
    );

    let mask = masking.mask();
    assert!(masking.ids_keep().iter().all(|&patch| !mask[patch]));
    assert!(masking.ids_masked().iter().all(|&patch| mask[patch]));
}

/// Whether the distances between successive values, on a circle of `length`, differ by at most one.
fn evenly_spread(places: &[usize], length: usize) -> bool {
    let next = places.iter().skip(1).copied().chain(places.first().map(|first| first + length));
    let gaps: Vec<usize> = places.iter().zip(next).map(|(&place, next)| next - place).collect();
    gaps.iter().max() <= gaps.iter().min().map(|least| least + 1).as_ref()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_draw_is_a_permutation_and_its_inverse(masker in maskers(), key in keys()) {
        let masking = masker.draw(key);
        assert_consistent(&masking);
        prop_assert_eq!(masking.num_patches(), masker.num_patches());
        prop_assert_eq!(masking.num_keep(), masker.num_keep());
        prop_assert_eq!(&masking, &masker.draw(key));
    }

    #[test]
    fn what_is_painted_or_ranked_is_consistent(noise in prop::collection::vec(any::<f32>(), 1..300), share in 0.0..1.0) {
        let noise: Vec<f32> = noise.into_iter().map(|value| if value.is_nan() { 0.0 } else { value }).collect();
        let kept = num_keep(noise.len(), share).unwrap_or(1);
        let ranked = Masking::from_noise(&noise, kept).unwrap();
        assert_consistent(&ranked);
        prop_assert!(ranked.ids_keep().iter().all(|&a| ranked.ids_masked().iter().all(|&b| noise[a] <= noise[b])));

        let painted = Masking::from_mask(&ranked.mask()).unwrap();
        assert_consistent(&painted);
        prop_assert_eq!(painted.mask(), ranked.mask());
        prop_assert!(painted.ids_keep().is_sorted() && painted.ids_masked().is_sorted());
    }

    #[test]
    fn a_batch_is_its_draws(masker in maskers(), seed: u64, samples in prop::collection::vec(any::<(u64, usize)>(), 1..5)) {
        let batch = masker.draw_batch(seed, samples.iter().copied()).unwrap();
        prop_assert_eq!(batch.batch_size(), samples.len());
        for (i, &(pass, sample)) in samples.iter().enumerate() {
            let alone = MaskBatch::new(&[masker.draw(MaskKey { seed, pass, sample })]).unwrap();
            let (patches, kept) = (masker.num_patches(), masker.num_keep());
            let masked = patches - kept;
            prop_assert_eq!(&batch.ids_keep()[i * kept..][..kept], alone.ids_keep());
            prop_assert_eq!(&batch.ids_masked()[i * masked..][..masked], alone.ids_masked());
            prop_assert_eq!(&batch.ids_restore()[i * patches..][..patches], alone.ids_restore());
            prop_assert_eq!(&batch.mask()[i * patches..][..patches], alone.mask());
        }
    }

    #[test]
    fn a_grid_is_regular(grid in (1..=40usize, 1..=40usize), ratio in 0.0..1.0, key in keys()) {
        let Ok(masker) = Masker::new(Strategy::Grid, grid, ratio) else { return Ok(()) };
        let mut rows = vec![Vec::new(); grid.0];
        for &patch in masker.draw(key).ids_keep() {
            rows[patch / grid.1].push(patch % grid.1);
        }
        let taken: Vec<usize> = (0..grid.0).filter(|&row| !rows[row].is_empty()).collect();
        prop_assert!(evenly_spread(&taken, grid.0), "rows {:?}", taken);
        prop_assert!(taken.iter().all(|&row| evenly_spread(&rows[row], grid.1)), "columns {:?}", rows);
        let counts = || taken.iter().map(|&row| rows[row].len());
        prop_assert!(counts().max() <= counts().min().map(|least| least + 1), "counts {:?}", rows);
    }

    #[test]
    fn a_grid_keeps_one_of_every_square(side in 1..=5usize, squares in (1..=8usize, 1..=8usize), key in keys()) {
        let grid = (squares.0 * side, squares.1 * side);
        let ratio = 1.0 - 1.0 / (side * side) as f64;
        let masking = Masker::new(Strategy::Grid, grid, ratio).unwrap().draw(key);
        let within: Vec<(usize, usize)> =
            masking.ids_keep().iter().map(|patch| (patch / grid.1 % side, patch % grid.1 % side)).collect();
        prop_assert_eq!(within.len(), squares.0 * squares.1);
        prop_assert!(within.iter().all(|place| *place == within[0]), "{:?}", within);
    }
}

#[test]
fn counts_are_exact_for_every_shape_and_percentage() {
    for strategy in Strategy::ALL {
        for grid in [(1, 1), (1, 17), (17, 1), (2, 2), (3, 5), (7, 7), (8, 12), (14, 14)] {
            for percent in 0..100 {
                let exact = grid.0 * grid.1 * (100 - percent) / 100;
                match Masker::new(strategy, grid, percent as f64 / 100.0) {
                    Ok(masker) => {
                        let masking = masker.draw(MaskKey { seed: 1, pass: 2, sample: percent });
                        assert_eq!(masking.ids_keep().len(), exact, "{strategy} {grid:?} {percent}%");
                        assert_consistent(&masking);
                    }
                    Err(_) => assert_eq!(exact, 0, "{strategy} {grid:?} {percent}%"),
                }
            }
        }
    }
}

#[test]
fn a_grid_without_patches_or_with_too_many_is_refused() {
    for grid in [(0, 14), (14, 0), (usize::MAX, 2), (1 << 16, 1 << 15)] {
        let error = Masker::new(Strategy::Random, grid, 0.75).unwrap_err().to_string();
        assert!(error.contains("patches: the number must be 1 to 2147483647"), "{error}");
    }
}
