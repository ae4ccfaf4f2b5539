//! The number of patches that a mask ratio keeps.

use crate::error::{MAX_PATCHES, MaskingError};

/// The tolerance for rounding errors of `L · (1 − ratio)`, relative to the number of patches. The ratio as written, the
/// difference and the product are each off by up to half an ulp. A ratio that was itself computed as `1 − x` adds
/// another half. The tolerance is twice their sum.
const ROUNDING: f64 = 4.0 * f64::EPSILON;

/// Returns the number of visible patches: `floor(num_patches · (1 − mask_ratio))`, as if computed exactly.
///
/// If rounding errors alone can explain that a product lies below an integer, it counts as that integer:
/// `10 · (1 − 0.9)` is 0.9999999999999998 in `f64` and keeps 1.
///
/// # Errors
/// [`MaskingError::Ratio`] for a ratio outside `[0, 1)` or NaN, [`MaskingError::NothingKept`] if no patch would be
/// visible, [`MaskingError::NumPatches`] for 0 patches or more than [`MAX_PATCHES`].
///
/// # Source
/// `random_masking` of the official code, `int(L * (1 - mask_ratio))`.
/// Deviation: the official code can lose a patch to rounding, and reports no error when it keeps none.
pub fn num_keep(num_patches: usize, mask_ratio: f64) -> Result<usize, MaskingError> {
    if !(1..=MAX_PATCHES).contains(&num_patches) {
        return Err(MaskingError::NumPatches(num_patches));
    }
    if !(0.0..1.0).contains(&mask_ratio) {
        return Err(MaskingError::Ratio(mask_ratio));
    }
    let length = num_patches as f64;
    match (length * (1.0 - mask_ratio) + length * ROUNDING).floor() as usize {
        0 => Err(MaskingError::NothingKept { mask_ratio, num_patches, bound: 1.0 - 1.0 / length }),
        kept => Ok(kept.min(num_patches)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_exact_arithmetic_for_every_percentage() {
        for num_patches in 1..=4096usize {
            for percent in 0..100usize {
                let exact = num_patches * (100 - percent) / 100;
                let written = percent as f64 / 100.0;
                let computed = 1.0 - (100 - percent) as f64 / 100.0;
                for mask_ratio in [written, computed] {
                    let kept = num_keep(num_patches, mask_ratio).unwrap_or(0);
                    assert_eq!(kept, exact, "{num_patches} patches at {mask_ratio}");
                }
            }
        }
    }

    #[test]
    fn plain_flooring_would_not_do() {
        assert_eq!((10.0 * (1.0 - 0.9_f64)).floor(), 0.0);
        assert_eq!(num_keep(10, 0.9), Ok(1));
        assert_eq!(num_keep(196, 0.75), Ok(49));
        assert_eq!(num_keep(MAX_PATCHES, 0.0), Ok(MAX_PATCHES));
    }

    #[test]
    fn the_bound_that_the_message_names_is_tight() {
        for num_patches in 1..=4096usize {
            let bound = 1.0 - 1.0 / num_patches as f64;
            assert_eq!(num_keep(num_patches, bound), Ok(1));
            if num_patches > 1 {
                let beyond = num_keep(num_patches, bound + 1e-9);
                assert!(matches!(beyond, Err(MaskingError::NothingKept { .. })), "{num_patches}: {beyond:?}");
            }
        }
    }

    #[test]
    fn refuses_what_keeps_nothing() {
        for mask_ratio in [1.0, 1.5, -0.1, f64::INFINITY, f64::NAN] {
            assert!(matches!(num_keep(196, mask_ratio), Err(MaskingError::Ratio(_))), "{mask_ratio}");
        }
        assert_eq!(num_keep(0, 0.5), Err(MaskingError::NumPatches(0)));
        assert_eq!(num_keep(MAX_PATCHES + 1, 0.5), Err(MaskingError::NumPatches(MAX_PATCHES + 1)));
        assert_eq!(
            num_keep(10, 0.95).map_err(|error| error.to_string()),
            Err("mask ratio 0.95 keeps none of 10 patches: the bound is 0.9, which keeps one".to_owned())
        );
        assert_eq!(
            num_keep(10, 1.0).map_err(|error| error.to_string()),
            Err("mask ratio 1 is outside [0, 1)".to_owned())
        );
    }
}
