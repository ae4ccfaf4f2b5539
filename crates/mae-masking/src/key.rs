//! What a mask is a function of.

use mae_random::{Stream, stream};

/// Keeps these streams apart from any other that is keyed by the same three numbers.
const DOMAIN: [u8; 8] = *b"mae-mask";

/// Which mask: everything a draw depends on besides the [`Masker`](crate::Masker).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MaskKey {
    /// The run's seed.
    pub seed: u64,
    /// The pass over the data set, so that a sample is masked anew in each: the epoch, or, where an epoch has several views of each
    /// image, another number for each of them.
    pub pass: u64,
    /// The sample's index in its data set.
    pub sample: usize,
}

impl MaskKey {
    pub(crate) fn stream(self) -> Stream {
        stream(DOMAIN, [self.seed, self.pass, self.sample as u64])
    }
}
