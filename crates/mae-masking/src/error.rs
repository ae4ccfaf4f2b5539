//! What can be wrong with a request for a mask.

/// The most patches an image can have: ids reach the device as `i32`.
pub const MAX_PATCHES: usize = i32::MAX as usize;

/// What can be wrong with a request for a mask.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MaskingError {
    /// The mask ratio is not a number in `[0, 1)`.
    #[error("mask ratio {0} is outside [0, 1)")]
    Ratio(f64),

    /// The mask ratio leaves nothing for the encoder to see.
    #[error(
        "mask ratio {mask_ratio} keeps none of {num_patches} patches: the bound is {bound}, which keeps one"
    )]
    NothingKept {
        /// The ratio asked for.
        mask_ratio: f64,
        /// The patches there are.
        num_patches: usize,
        /// The largest ratio that keeps a patch.
        bound: f64,
    },

    /// There are no patches, or more than an `i32` can index.
    #[error("{0} patches cannot be masked: from 1 to {MAX_PATCHES} can")]
    NumPatches(usize),

    /// A mask given by hand hides every patch.
    #[error("the mask hides all {0} patches: at least one must stay visible")]
    AllMasked(usize),

    /// More patches are to be kept than there are, or none.
    #[error("{num_keep} of {num_patches} patches cannot be kept: from 1 to {num_patches} can")]
    NumKeep {
        /// The patches to be kept.
        num_keep: usize,
        /// The patches there are.
        num_patches: usize,
    },

    /// Noise that has no order.
    #[error("the noise of patch {0} is not a number")]
    NoiseIsNan(usize),

    /// A batch without a mask.
    #[error("a batch of 0 masks has no shape: at least 1 is needed")]
    EmptyBatch,

    /// Masks of different shapes in one batch.
    #[error(
        "mask {index} keeps {num_keep} of {num_patches} patches, \
         but the batch keeps {expected_keep} of {expected_patches}"
    )]
    Ragged {
        /// The first mask that differs.
        index: usize,
        /// How many patches it keeps.
        num_keep: usize,
        /// How many patches it has.
        num_patches: usize,
        /// How many patches the batch's first mask keeps.
        expected_keep: usize,
        /// How many patches the batch's first mask has.
        expected_patches: usize,
    },

    /// A strategy that does not exist.
    #[error("unknown masking strategy {name:?}: expected one of {known}")]
    UnknownStrategy {
        /// What was given.
        name: String,
        /// The strategies there are.
        known: String,
    },
}
