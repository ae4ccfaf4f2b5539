//! Arithmetic that vectorises. The loops that call it carry `#[multiversion(targets = "simd")]`, which compiles them
//! for several instruction sets and picks one at run time. They are functions because the attribute does not reach into
//! closures.

/// Lanes of a reduction. The number is fixed so that a sum has the same value for every vector width.
const LANES: usize = 16;

/// Sums `f(i)` over `0..len`, in lanes.
#[inline(always)]
pub(crate) fn sum(len: usize, f: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let whole = len - len % LANES;
    for start in (0..whole).step_by(LANES) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += f(start + lane);
        }
    }
    let mut rest = 0.0;
    for i in whole..len {
        rest += f(i);
    }
    // Pairwise rather than sequential summation: it rounds less and vectorises.
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0] + rest
}

/// Returns the largest value, ignoring NaNs.
#[inline(always)]
pub(crate) fn max(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    for chunk in whole {
        for (max, &value) in lanes.iter_mut().zip(chunk) {
            *max = if value > *max { value } else { *max };
        }
    }
    for (max, &value) in lanes.iter_mut().zip(rest) {
        *max = if value > *max { value } else { *max };
    }
    lanes.into_iter().fold(f32::NEG_INFINITY, f32::max)
}

/// `e^x` within 2 units in the last place. `x` is clamped to -87..=88, so the result is neither zero nor infinite.
///
/// # Source
/// Cephes `expf`: two-part reduction by ln 2 and a polynomial on ±ln 2 / 2.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2^23: adding it leaves the integer in the low bits
    const POLY: [f32; 6] =
        [1.987_569_2e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    // These comparisons are false for NaN, so NaN passes through.
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(2.121_944_4e-4, n.mul_add(-0.693_359_4, x));
    let mut p = POLY[0];
    for &c in &POLY[1..] {
        p = p.mul_add(r, c);
    }
    let y = (p * r).mul_add(r, r) + 1.0;
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    y * f32::from_bits(exponent)
}

/// The error function within 3 units in the last place.
///
/// # Source
/// The rational approximation of Eigen's and XLA's `erf` for f32, odd over even powers on ±3.83.
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    const EDGE: f32 = 3.832_507; // beyond it erf rounds to one
    const ODD: [f32; 7] = [
        -2.726_142_3e-10,
        2.770_681_4e-8,
        -2.101_024e-6,
        -5.692_506_5e-5,
        -7.349_906e-4,
        -2.954_6e-3,
        -1.609_603_4e-2,
    ];
    const EVEN: [f32; 5] = [-1.456_607_2e-5, -2.133_740_6e-4, -1.682_827e-3, -7.373_329e-3, -1.426_473_9e-2];
    let x = if x < -EDGE { -EDGE } else { x };
    let x = if x > EDGE { EDGE } else { x };
    let square = x * x;
    let (mut odd, mut even) = (ODD[0], EVEN[0]);
    for &c in &ODD[1..] {
        odd = odd.mul_add(square, c);
    }
    for &c in &EVEN[1..] {
        even = even.mul_add(square, c);
    }
    x * odd / even
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_near_the_real_one() {
        for i in -8600..=8700 {
            let x = i as f32 / 100.0;
            let (ours, real) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((ours / real - 1.0).abs() < 2.5e-7, "exp({x}) = {ours}, not {real}");
        }
        assert!(exp(f32::NEG_INFINITY) < 1e-37 && exp(f32::NAN).is_nan());
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn erf_is_near_the_integral() {
        // Integrates the density from zero by Simpson's rule.
        let density = |t: f64| (-t * t).exp() * 2.0 / std::f64::consts::PI.sqrt();
        let (step, mut integral) = (1e-3, 0.0);
        for i in 0..5000 {
            let t = f64::from(i) * step;
            assert!((f64::from(erf(t as f32)) - integral).abs() < 4e-7, "erf({t})");
            assert_eq!(erf(-t as f32), -erf(t as f32));
            integral += step / 6.0 * (density(t) + 4.0 * density(t + step / 2.0) + density(t + step));
        }
        assert!(erf(f32::NAN).is_nan());
    }

    #[test]
    fn sums_and_maxima_at_odd_lengths() {
        for len in [0, 1, 15, 16, 17, 100] {
            let values: Vec<f32> = (0..len).map(|i| ((i * 7) % 23) as f32 - 30.0).collect();
            assert_eq!(sum(len, |i| values[i]), values.iter().sum::<f32>());
            assert_eq!(max(&values), values.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        }
    }
}
