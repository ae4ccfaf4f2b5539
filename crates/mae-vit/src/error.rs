//! Errors of invalid settings.

/// An invalid setting, found when it is validated.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum VitError {
    /// The patches do not tile the image.
    #[error("patch size {patch} does not divide the image's {axis} of {extent} px")]
    PatchSize {
        /// Side of a patch, in pixels.
        patch: usize,
        /// "height" or "width".
        axis: &'static str,
        /// The image's extent along that axis, in pixels.
        extent: usize,
    },
    /// A size that must be at least one is zero.
    #[error("{name} is 0, but must be at least 1")]
    Zero {
        /// The field's name.
        name: &'static str,
    },
    /// A width that must split evenly does not.
    #[error("{name} is {value}, but must be a multiple of {divisor} ({reason})")]
    NotDivisible {
        /// The field's name.
        name: &'static str,
        /// The offending value.
        value: usize,
        /// The number of which it must be a multiple.
        divisor: usize,
        /// Why it must be a multiple.
        reason: &'static str,
    },
    /// A real number outside its range.
    #[error("{name} is {value}, but must be {bound}")]
    OutOfRange {
        /// The field's name.
        name: &'static str,
        /// The offending value.
        value: f64,
        /// The admissible range, in words.
        bound: String,
    },
    /// Normalisation constants for another number of channels.
    #[error("normalisation has {mean} means and {std} standard deviations for {channels} channels")]
    Channels {
        /// Number of means given.
        mean: usize,
        /// Number of standard deviations given.
        std: usize,
        /// Number of channels of the images.
        channels: usize,
    },
    /// An unsupported pixel type.
    #[error("the pixel type is {dtype}, but must be U8, U16 or F32")]
    PixelType {
        /// The type that was given.
        dtype: String,
    },
    /// An unknown precision of matrix products.
    #[error("unknown precision '{name}': expected f32 or bf16")]
    Precision {
        /// The name that was given.
        name: String,
    },
}
