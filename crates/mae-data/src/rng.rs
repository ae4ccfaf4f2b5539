//! The only source of randomness in this crate: one stream per (seed, pass, sample).

pub use mae_random::{Stream as SampleRng, below, uniform};

/// Separates these streams from others with the same key, such as those of the masks.
const DOMAIN: [u8; 8] = *b"mae-data";

/// Returns the random generator of one sample in one pass over the data. It is a pure function of its arguments, for
/// any number of workers, ranks or restarts. A pass is an epoch, unless an epoch has several samples of each image.
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
