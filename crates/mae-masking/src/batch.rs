//! Batches of masks, concatenated in the layout of tensors.

use crate::{Masking, MaskingError};

/// Several masks of one shape, concatenated in the element types of tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct MaskBatch {
    batch_size: usize,
    num_patches: usize,
    num_keep: usize,
    ids_keep: Vec<i32>,
    ids_masked: Vec<i32>,
    ids_restore: Vec<i32>,
    mask: Vec<f32>,
}

impl MaskBatch {
    /// Concatenates masks.
    ///
    /// # Errors
    /// [`MaskingError::EmptyBatch`] for no masks, [`MaskingError::Ragged`] if a mask differs from the first in its
    /// number of patches or of visible patches.
    pub fn new(maskings: &[Masking]) -> Result<Self, MaskingError> {
        let first = maskings.first().ok_or(MaskingError::EmptyBatch)?;
        let (num_patches, num_keep) = (first.num_patches(), first.num_keep());
        if let Some((index, other)) = maskings
            .iter()
            .enumerate()
            .find(|(_, m)| (m.num_patches(), m.num_keep()) != (num_patches, num_keep))
        {
            return Err(MaskingError::Ragged {
                index,
                num_keep: other.num_keep(),
                num_patches: other.num_patches(),
                expected_keep: num_keep,
                expected_patches: num_patches,
            });
        }
        Ok(Self {
            batch_size: maskings.len(),
            num_patches,
            num_keep,
            ids_keep: flatten(maskings, Masking::ids_keep),
            ids_masked: flatten(maskings, Masking::ids_masked),
            ids_restore: flatten(maskings, Masking::ids_restore),
            mask: maskings.iter().flat_map(Masking::mask).map(|masked| f32::from(u8::from(masked))).collect(),
        })
    }

    /// The number of masks in the batch, B.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// The number of patches of each image, L.
    pub fn num_patches(&self) -> usize {
        self.num_patches
    }

    /// The number of visible patches of each image, K.
    pub fn num_keep(&self) -> usize {
        self.num_keep
    }

    /// Each image's visible patches, in the order that the encoder sees them.
    ///
    /// # Shapes
    /// `[B, K]`
    pub fn ids_keep(&self) -> &[i32] {
        &self.ids_keep
    }

    /// Each image's masked patches, in shuffle order.
    ///
    /// # Shapes
    /// `[B, L - K]`
    pub fn ids_masked(&self) -> &[i32] {
        &self.ids_masked
    }

    /// The position of each patch in its image's `ids_keep` followed by its `ids_masked`.
    ///
    /// # Shapes
    /// `[B, L]`
    pub fn ids_restore(&self) -> &[i32] {
        &self.ids_restore
    }

    /// 1 where masked, 0 where visible.
    ///
    /// # Shapes
    /// `[B, L]`
    pub fn mask(&self) -> &[f32] {
        &self.mask
    }
}

/// Concatenates the ids of all masks. A `Masking` has at most `MAX_PATCHES` patches, so the cast truncates no id.
fn flatten(maskings: &[Masking], ids: impl Fn(&Masking) -> &[usize]) -> Vec<i32> {
    maskings.iter().flat_map(|masking| ids(masking).iter().map(|&id| id as i32)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_lie_end_to_end() {
        let masks = [[true, false, true, false], [false, true, true, false]];
        let maskings = masks.map(|mask| Masking::from_mask(&mask).unwrap());
        let batch = MaskBatch::new(&maskings).unwrap();
        assert_eq!((batch.batch_size(), batch.num_patches(), batch.num_keep()), (2, 4, 2));
        assert_eq!(batch.ids_keep(), [1, 3, 0, 3]);
        assert_eq!(batch.ids_masked(), [0, 2, 1, 2]);
        assert_eq!(batch.ids_restore(), [2, 0, 3, 1, 0, 2, 3, 1]);
        assert_eq!(batch.mask(), [1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0]);
    }

    #[test]
    fn masks_of_two_shapes_make_no_batch() {
        assert_eq!(MaskBatch::new(&[]), Err(MaskingError::EmptyBatch));
        let first = Masking::from_mask(&[true, false, false]).unwrap();
        for other in [&[true, true, false][..], &[true, true, false, false][..]] {
            let error = MaskBatch::new(&[first.clone(), Masking::from_mask(other).unwrap()]).unwrap_err();
            let message = format!("mask 1 keeps {} of {} patches", other.len() - 2, other.len());
            assert!(error.to_string().starts_with(&message), "{error}");
        }
    }
}
