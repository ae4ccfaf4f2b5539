//! The one place that randomness comes from: a stream for each (seed, pass, sample).

pub use mae_random::{Stream as SampleRng, below, uniform};

/// Keeps these streams apart from others keyed by the same numbers, such as the masks'.
const DOMAIN: [u8; 8] = *b"mae-data";

/// The generator of one sample in one pass over the data: a pure function of its key, whatever the number of workers,
/// ranks or restarts. The pass is the epoch, unless an epoch has several samples of each image.
///
/// ```
/// use mae_data::{sample_rng, uniform};
///
/// assert_eq!(uniform(&mut sample_rng(0, 3, 17)), uniform(&mut sample_rng(0, 3, 17)));
/// assert_ne!(uniform(&mut sample_rng(0, 3, 17)), uniform(&mut sample_rng(0, 4, 17)));
/// ```
#[must_use]
pub fn sample_rng(seed: u64, pass: u64, sample: usize) -> SampleRng {
    mae_random::stream(DOMAIN, [seed, pass, sample as u64])
}
