//! One image's split into visible and masked patches.

use std::cmp::Ordering;

use crate::{MAX_PATCHES, MaskingError};

/// One image's split into visible and masked patches.
///
/// It is a shuffle of the patches, the first `num_keep` of which are visible. The ids and the mask are all derived from
/// this shuffle, so they cannot disagree. Patches are counted row by row from 0, without the class token.
///
/// # Source
/// MAE section 3, "Simple implementation".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masking {
    ids_shuffle: Vec<usize>,
    ids_restore: Vec<usize>,
    num_keep: usize,
}

impl Masking {
    /// Lists the visible patches in ascending order, then the masked ones. At least one patch of `mask` must be
    /// visible.
    pub(crate) fn painted(mask: &[bool]) -> Self {
        let (masked, mut ids_shuffle): (Vec<usize>, Vec<usize>) =
            (0..mask.len()).partition(|&patch| mask[patch]);
        let num_keep = ids_shuffle.len();
        ids_shuffle.extend(masked);
        Self::from_shuffle(ids_shuffle, num_keep)
    }

    /// Takes a permutation of `0..L` and a count in `1..=L`.
    pub(crate) fn from_shuffle(ids_shuffle: Vec<usize>, num_keep: usize) -> Self {
        let mut ids_restore = vec![0; ids_shuffle.len()];
        for (position, &patch) in ids_shuffle.iter().enumerate() {
            ids_restore[patch] = position;
        }
        Self { ids_shuffle, ids_restore, num_keep }
    }

    /// Builds the masking of a given mask, true where masked. Both halves of the shuffle are in ascending order.
    ///
    /// # Errors
    /// [`MaskingError::AllMasked`] if no patch is visible, [`MaskingError::NumPatches`] for 0 patches or more than
    /// [`MAX_PATCHES`].
    pub fn from_mask(mask: &[bool]) -> Result<Self, MaskingError> {
        check_patches(mask.len())?;
        if mask.iter().all(|&masked| masked) {
            return Err(MaskingError::AllMasked(mask.len()));
        }
        Ok(Self::painted(mask))
    }

    /// Builds the masking that other implementations derive from the same noise, one value per patch. The patches with
    /// the lowest noise are kept. Patches are ordered by their noise, and ties by index.
    ///
    /// # Errors
    /// [`MaskingError::NoiseIsNan`] for a NaN, [`MaskingError::NumKeep`] unless `1 <= num_keep <= L`,
    /// [`MaskingError::NumPatches`] for 0 patches or more than [`MAX_PATCHES`].
    ///
    /// # Source
    /// `random_masking` of the official code and of its ports.
    pub fn from_noise(noise: &[f32], num_keep: usize) -> Result<Self, MaskingError> {
        let num_patches = noise.len();
        check_patches(num_patches)?;
        if !(1..=num_patches).contains(&num_keep) {
            return Err(MaskingError::NumKeep { num_keep, num_patches });
        }
        if let Some(patch) = noise.iter().position(|value| value.is_nan()) {
            return Err(MaskingError::NoiseIsNan(patch));
        }
        let mut ids_shuffle: Vec<usize> = (0..num_patches).collect();
        // Not `total_cmp`, which would put -0.0 before 0.0: other implementations treat them as equal.
        ids_shuffle.sort_by(|&a, &b| noise[a].partial_cmp(&noise[b]).unwrap_or(Ordering::Equal));
        Ok(Self::from_shuffle(ids_shuffle, num_keep))
    }

    /// The number of patches, visible and masked.
    pub fn num_patches(&self) -> usize {
        self.ids_shuffle.len()
    }

    /// The number of visible patches, at least one.
    pub fn num_keep(&self) -> usize {
        self.num_keep
    }

    /// The visible patches, in the order that the encoder sees them.
    ///
    /// # Shapes
    /// `[K]`
    pub fn ids_keep(&self) -> &[usize] {
        &self.ids_shuffle[..self.num_keep]
    }

    /// The masked patches, in shuffle order.
    ///
    /// # Shapes
    /// `[L - K]`
    pub fn ids_masked(&self) -> &[usize] {
        &self.ids_shuffle[self.num_keep..]
    }

    /// The position of each patch in `ids_keep` followed by `ids_masked`. This is the inverse of the shuffle, its
    /// argsort.
    ///
    /// # Shapes
    /// `[L]`
    pub fn ids_restore(&self) -> &[usize] {
        &self.ids_restore
    }

    /// For each patch, true if it is masked.
    ///
    /// # Shapes
    /// `[L]`
    pub fn mask(&self) -> Vec<bool> {
        self.ids_restore.iter().map(|&position| position >= self.num_keep).collect()
    }
}

fn check_patches(num_patches: usize) -> Result<(), MaskingError> {
    if (1..=MAX_PATCHES).contains(&num_patches) { Ok(()) } else { Err(MaskingError::NumPatches(num_patches)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_painted_mask_is_kept_as_painted() {
        let mask = [true, false, true, true, false];
        let masking = Masking::from_mask(&mask).unwrap();
        assert_eq!(masking.ids_keep(), [1, 4]);
        assert_eq!(masking.ids_masked(), [0, 2, 3]);
        assert_eq!(masking.ids_restore(), [2, 0, 3, 4, 1]);
        assert_eq!(masking.mask(), mask);
        assert!(Masking::from_mask(&[false; 3]).unwrap().ids_masked().is_empty());
        assert_eq!(Masking::from_mask(&[true; 3]), Err(MaskingError::AllMasked(3)));
        assert_eq!(Masking::from_mask(&[]), Err(MaskingError::NumPatches(0)));
    }

    #[test]
    fn noise_keeps_the_lowest() {
        let masking = Masking::from_noise(&[0.5, 0.1, 0.9, 0.1, -f32::INFINITY], 3).unwrap();
        assert_eq!(masking.ids_keep(), [4, 1, 3]);
        assert_eq!(masking.ids_masked(), [0, 2]);
        assert_eq!(masking.ids_restore(), [3, 1, 4, 2, 0]);
        assert_eq!(masking.mask(), [true, false, true, false, false]);
        let zeros = Masking::from_noise(&[0.0, -0.0, 0.0], 2).unwrap();
        assert_eq!(zeros.ids_keep(), [0, 1]);
    }

    #[test]
    fn noise_out_of_bounds_is_refused() {
        assert_eq!(Masking::from_noise(&[0.5, f32::NAN], 1), Err(MaskingError::NoiseIsNan(1)));
        for num_keep in [0, 3] {
            let expected = MaskingError::NumKeep { num_keep, num_patches: 2 };
            assert_eq!(Masking::from_noise(&[0.5, 0.1], num_keep), Err(expected));
        }
        assert_eq!(Masking::from_noise(&[], 0), Err(MaskingError::NumPatches(0)));
    }
}
