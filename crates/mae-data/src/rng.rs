//! The one place that randomness comes from: a stream for each (seed, pass, sample).

use rand_core::{Rng, SeedableRng};

/// The generator that transforms and samplers draw from.
pub type SampleRng = rand_chacha::ChaCha8Rng;

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
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&pass.to_le_bytes());
    key[16..24].copy_from_slice(&(sample as u64).to_le_bytes());
    key[24..].copy_from_slice(&DOMAIN);
    // The key itself, unhashed: distinct keys cannot collide.
    SampleRng::from_seed(key)
}

/// A number in `[0, 1)`, uniform over the multiples of 2⁻⁵³.
pub fn uniform(rng: &mut SampleRng) -> f64 {
    (rng.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// An integer in `0..bound`, each equally likely; 0 for a bound of 0 or 1.
pub fn below(rng: &mut SampleRng, bound: u64) -> u64 {
    if bound < 2 {
        return 0;
    }
    // The multiples of `bound` that fit: draws past the last whole one would favour small results.
    let whole = u64::MAX - u64::MAX % bound;
    loop {
        let draw = rng.next_u64();
        if draw < whole {
            return draw % bound;
        }
    }
}

/// Two independent numbers from the normal distribution of mean 0 and deviation 1 (Box and Muller).
pub(crate) fn normals(rng: &mut SampleRng) -> [f64; 2] {
    // In (0, 1]: the logarithm of 0 has no root.
    let radius = (-2.0 * (1.0 - uniform(rng)).ln()).sqrt();
    let (sin, cos) = (std::f64::consts::TAU * uniform(rng)).sin_cos();
    [radius * cos, radius * sin]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_the_key_matters() {
        let first = |seed, pass, sample| sample_rng(seed, pass, sample).next_u64();
        let base = first(1, 2, 3);
        assert_eq!(base, first(1, 2, 3));
        for other in [first(2, 2, 3), first(1, 3, 3), first(1, 2, 4), first(2, 1, 3), first(1, 3, 2)] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn draws_are_uniform() {
        const DRAWS: usize = 70_000;
        let mut rng = sample_rng(0, 0, 0);
        let mut counts = [0usize; 7];
        for _ in 0..DRAWS {
            counts[below(&mut rng, 7) as usize] += 1;
            assert!((0.0..1.0).contains(&uniform(&mut rng)));
        }
        let expected = DRAWS as f64 / 7.0;
        let chi_square: f64 = counts.iter().map(|&n| (n as f64 - expected).powi(2) / expected).sum();
        // The 99.9th percentile of chi-square with 6 degrees of freedom.
        assert!(chi_square < 22.46, "{counts:?} gives {chi_square}");
        assert_eq!(below(&mut rng, 1), 0);
    }
}
