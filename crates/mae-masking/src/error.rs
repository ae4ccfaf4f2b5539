//! Errors from invalid requests for a mask.

/// The largest number of patches of an image: ids reach the device as `i32`.
pub const MAX_PATCHES: usize = i32::MAX as usize;

/// An error from an invalid request for a mask.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MaskingError {
    /// The mask ratio is not a number in `[0, 1)`.
    #[error("mask ratio {0} is outside [0, 1)")]
    Ratio(f64),

    /// The mask ratio leaves no visible patch for the encoder.
    #[error(
        "mask ratio {mask_ratio} keeps none of {num_patches} patches: the bound is {bound}, which keeps one"
    )]
    NothingKept {
        /// The requested ratio.
        mask_ratio: f64,
        /// The number of patches.
        num_patches: usize,
        /// The largest ratio that keeps a patch.
        bound: f64,
    },

    /// There are no patches, or more than an `i32` can index.
    #[error("cannot mask {0} patches: the number must be 1 to {MAX_PATCHES}")]
    NumPatches(usize),

    /// A mask given by hand hides every patch.
    #[error("the mask hides all {0} patches: at least one must stay visible")]
    AllMasked(usize),

    /// `num_keep` is 0 or exceeds the number of patches.
    #[error("cannot keep {num_keep} of {num_patches} patches: the number must be 1 to {num_patches}")]
    NumKeep {
        /// The requested number of visible patches.
        num_keep: usize,
        /// The number of patches.
        num_patches: usize,
    },

    /// The noise contains a NaN, which has no order.
    #[error("the noise of patch {0} is NaN")]
    NoiseIsNan(usize),

    /// A batch without masks.
    #[error("a batch of 0 masks has no shape: at least 1 is needed")]
    EmptyBatch,

    /// Masks of different shapes in one batch.
    #[error(
        "mask {index} keeps {num_keep} of {num_patches} patches, \
         but the batch keeps {expected_keep} of {expected_patches}"
    )]
    Ragged {
        /// The index of the first mask that differs.
        index: usize,
        /// The number of patches that it keeps.
        num_keep: usize,
        /// The number of patches that it has.
        num_patches: usize,
        /// The number of patches that the batch's first mask keeps.
        expected_keep: usize,
        /// The number of patches that the batch's first mask has.
        expected_patches: usize,
    },

    /// The name of a strategy is unknown.
    #[error("unknown masking strategy {name:?}: expected one of {known}")]
    UnknownStrategy {
        /// The given name.
        name: String,
        /// The names of all strategies.
        known: String,
    },
}
