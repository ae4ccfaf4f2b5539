//! The key of a mask.

use mae_random::{Stream, stream};

/// Separates these streams from others with the same three numbers.
const DOMAIN: [u8; 8] = *b"mae-mask";

/// The key of one mask: everything that a draw depends on besides the [`Masker`](crate::Masker).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MaskKey {
    /// The run's seed.
    pub seed: u64,
    /// The pass over the data set, so that each pass masks a sample differently. This is the epoch or, if an epoch has
    /// several views of each image, a different number for each view.
    pub pass: u64,
    /// The sample's index in its data set.
    pub sample: usize,
}

impl MaskKey {
    pub(crate) fn stream(self) -> Stream {
        stream(DOMAIN, [self.seed, self.pass, self.sample as u64])
    }
}
