//! The number format bf16: the upper half of an f32.

/// A bf16 number: one sign bit, eight exponent bits and seven fraction bits, as in the upper half of an `f32`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Bf16(u16);

impl Bf16 {
    /// Creates the number with the given bits.
    pub fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// Returns the bits.
    pub fn to_bits(self) -> u16 {
        self.0
    }
}

impl From<f32> for Bf16 {
    /// Rounds to nearest, ties to even, as the instruction `VCVTNE2PS2BF16` does: a subnormal number becomes a zero of
    /// the same sign, and a NaN becomes quiet and keeps the upper bits of its payload.
    #[inline]
    fn from(x: f32) -> Self {
        let bits = x.to_bits();
        let upper = (bits >> 16) as u16;
        if x.is_nan() {
            Self(upper | 0x40)
        } else if x.is_subnormal() {
            Self(upper & 0x8000)
        } else {
            // Adds half of the last place, less one if the last place is even. A carry out of the lower half rounds up,
            // into the exponent if the fraction is all ones.
            Self(((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16)
        }
    }
}

impl From<Bf16> for f32 {
    /// Converts without loss.
    #[inline]
    fn from(x: Bf16) -> Self {
        Self::from_bits(u32::from(x.0) << 16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds by the definition: to the nearer of the two neighbours or, if both are equally near, to the even one.
    fn nearest(x: f32) -> u16 {
        let below = (x.to_bits() >> 16) as u16; // nearer to zero
        let value = |bits: u16| {
            let exponent_all_ones = bits & 0x7fff == 0x7f80;
            let real = f64::from(f32::from_bits(u32::from(bits) << 16));
            // The value that would follow the largest number if the exponents went on.
            if exponent_all_ones { 2.0_f64.powi(128).copysign(real) } else { real }
        };
        let to = |bits: u16| (f64::from(x) - value(bits)).abs();
        match to(below).total_cmp(&to(below + 1)) {
            std::cmp::Ordering::Less => below,
            std::cmp::Ordering::Greater => below + 1,
            std::cmp::Ordering::Equal => below + (below & 1),
        }
    }

    #[test]
    fn every_upper_half_is_rounded_by_the_definition() {
        for upper in 0..=u16::MAX {
            for lower in [0, 1, 2, 0x1234, 0x7fff, 0x8000, 0x8001, 0xabcd, 0xfffe, 0xffff] {
                let x = f32::from_bits(u32::from(upper) << 16 | lower);
                let ours = Bf16::from(x).to_bits();
                if x.is_nan() {
                    assert!(f32::from(Bf16::from_bits(ours)).is_nan(), "{x:?}");
                } else if x.is_infinite() {
                    assert_eq!(ours, upper);
                } else if x.is_subnormal() {
                    assert_eq!(ours, upper & 0x8000);
                } else {
                    assert_eq!(ours, nearest(x), "{x:e}");
                }
            }
        }
    }

    #[test]
    fn a_rounded_number_stays_as_it_is() {
        for bits in 0..=u16::MAX {
            let x = f32::from(Bf16::from_bits(bits));
            if !x.is_nan() && !x.is_subnormal() {
                assert_eq!(Bf16::from(x).to_bits(), bits);
            }
        }
    }
}
