//! Random numbers for the `mae` crates: ChaCha8 streams, each a function of its key, and draws from them.
//!
//! All draws except [`normals`] use only integer or correctly rounded operations, so they are the same on every
//! platform.

use rand_core::{Rng, SeedableRng};

/// A stream of random bits. It also implements the traits of the `rand` crates.
pub type Stream = rand_chacha::ChaCha8Rng;

/// Returns the stream of a key, which is a domain and three numbers such as (seed, pass, sample). The domain separates
/// streams that share the three numbers.
#[must_use]
pub fn stream(domain: [u8; 8], numbers: [u64; 3]) -> Stream {
    let mut key = [0; 32];
    for (part, number) in key.chunks_exact_mut(8).zip(numbers) {
        part.copy_from_slice(&number.to_le_bytes());
    }
    key[24..].copy_from_slice(&domain);
    // The key is used as ChaCha's key without hashing, so two keys cannot collide.
    Stream::from_seed(key)
}

/// Returns the stream of a seed alone.
#[must_use]
pub fn seeded(seed: u64) -> Stream {
    Stream::seed_from_u64(seed)
}

/// Draws 64 uniform bits.
pub fn bits(rng: &mut Stream) -> u64 {
    rng.next_u64()
}

/// Draws a number in `[0, 1)`, uniform over the multiples of 2⁻⁵³.
pub fn uniform(rng: &mut Stream) -> f64 {
    (bits(rng) >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// Draws an integer in `0..bound`, each equally likely. Returns 0 for a bound of 0 or 1. Draws again if the bits are at
/// or above the largest multiple of `bound` that fits in a `u64`.
pub fn below(rng: &mut Stream, bound: u64) -> u64 {
    if bound < 2 {
        return 0;
    }
    // The largest multiple of `bound` that fits. Draws at or above it would favour small results.
    let whole = u64::MAX - u64::MAX % bound;
    loop {
        let draw = bits(rng);
        if draw < whole {
            return draw % bound;
        }
    }
}

/// Draws an integer in `0..bound` from exactly one draw of 64 bits. Returns 0 for a bound of 0 or 1. Its bias is below
/// `bound` / 2⁶⁴.
///
/// Masks use this function and everything else uses [`below`]. This must stay so, because the results of a seed must
/// not change.
pub fn scaled(rng: &mut Stream, bound: usize) -> usize {
    ((u128::from(bits(rng)) * bound as u128) >> 64) as usize
}

/// Draws two independent normal numbers with mean 0 and standard deviation `deviation` (Box and Muller).
pub fn normals(rng: &mut Stream, deviation: f64) -> [f64; 2] {
    // `1 - uniform` lies in (0, 1], so the logarithm is finite.
    let radius = deviation * (-2.0 * (1.0 - uniform(rng)).ln()).sqrt();
    let (sin, cos) = (std::f64::consts::TAU * uniform(rng)).sin_cos();
    [radius * cos, radius * sin]
}

/// Runs the README's examples as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_the_key_matters() {
        let first = |domain: &[u8; 8], numbers| bits(&mut stream(*domain, numbers));
        let base = first(b"a-domain", [1, 2, 3]);
        assert_eq!(base, first(b"a-domain", [1, 2, 3]));
        for numbers in [[2, 2, 3], [1, 3, 3], [1, 2, 4], [2, 1, 3], [1, 3, 2]] {
            assert_ne!(base, first(b"a-domain", numbers));
        }
        assert_ne!(base, first(b"b-domain", [1, 2, 3]));
    }

    /// Asserts that the counts of 70,000 draws are as even as expected by chance.
    fn even(mut draw: impl FnMut(&mut Stream) -> usize) {
        const DRAWS: usize = 70_000;
        let mut rng = stream(*b"the-test", [0; 3]);
        let mut counts = [0usize; 7];
        (0..DRAWS).for_each(|_| counts[draw(&mut rng)] += 1);
        let expected = DRAWS as f64 / 7.0;
        let chi_square: f64 = counts.iter().map(|&n| (n as f64 - expected).powi(2) / expected).sum();
        // The 99.9th percentile of chi-square with 6 degrees of freedom.
        assert!(chi_square < 22.46, "{counts:?} gives {chi_square}");
    }

    #[test]
    fn draws_are_uniform() {
        even(|rng| below(rng, 7) as usize);
        even(|rng| scaled(rng, 7));
        even(|rng| (uniform(rng) * 7.0) as usize);
        for bound in [0, 1] {
            assert_eq!((below(&mut seeded(0), bound), scaled(&mut seeded(0), bound as usize)), (0, 0));
        }
    }

    #[test]
    fn normals_have_their_moments() {
        let mut rng = seeded(5);
        let numbers: Vec<f64> = (0..50_000).flat_map(|_| normals(&mut rng, 3.0)).collect();
        let moment = |power| numbers.iter().map(|x| x.powi(power)).sum::<f64>() / numbers.len() as f64;
        let [mean, square, fourth] = [1, 2, 4].map(moment);
        assert!(mean.abs() < 0.05 && (square / 9.0 - 1.0).abs() < 0.03, "{mean} {square}");
        assert!((fourth / (3.0 * square * square) - 1.0).abs() < 0.05, "{fourth}");
    }
}
