//! The only randomness there is: a ChaCha8 stream keyed by (seed, pass, sample).

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

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

/// The stream of one key. Its draws use integer and correctly rounded operations only, so they are the same on
/// every platform.
pub(crate) struct MaskRng(ChaCha8Rng);

impl MaskRng {
    /// The key fills ChaCha's 256 bits as four little-endian words: seed, pass, sample, domain.
    pub(crate) fn new(key: MaskKey) -> Self {
        let mut words = [0; 32];
        words[..8].copy_from_slice(&key.seed.to_le_bytes());
        words[8..16].copy_from_slice(&key.pass.to_le_bytes());
        words[16..24].copy_from_slice(&(key.sample as u64).to_le_bytes());
        words[24..].copy_from_slice(&DOMAIN);
        Self(ChaCha8Rng::from_seed(words))
    }

    /// 64 uniform bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A uniform integer below `bound`, 0 for a bound of 0 or 1; its bias is below `bound / 2^64`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    /// A uniform number in `[0, 1)`.
    pub(crate) fn unit(&mut self) -> f64 {
        const STEPS: f64 = (1u64 << f64::MANTISSA_DIGITS) as f64;
        (self.bits() >> (u64::BITS - f64::MANTISSA_DIGITS)) as f64 / STEPS
    }
}
