//! Means and deviations of pixels, exact.

/// Exact sums over RGB pixels, which can be added in any order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PixelSums {
    count: u128,
    sums: [u128; 3],
    squares: [u128; 3],
}

impl PixelSums {
    /// Of an image's bytes, `[H, W, 3]`: at most 2^64 / 255^2 pixels, which no memory holds.
    pub(crate) fn of(data: &[u8]) -> Self {
        let (mut sums, mut squares) = ([0_u64; 3], [0_u64; 3]);
        for pixel in data.chunks_exact(3) {
            for channel in 0..3 {
                let value = u64::from(pixel[channel]);
                sums[channel] += value;
                squares[channel] += value * value;
            }
        }
        let count = (data.len() / 3) as u128;
        Self { count, sums: sums.map(u128::from), squares: squares.map(u128::from) }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.count += other.count;
        for channel in 0..3 {
            self.sums[channel] += other.sums[channel];
            self.squares[channel] += other.squares[channel];
        }
    }

    /// Mean and standard deviation (dividing by the number of pixels) of each channel, 0 to 1; nothing of nothing.
    pub(crate) fn mean_and_std(&self) -> Option<([f64; 3], [f64; 3])> {
        if self.count == 0 {
            return None;
        }
        let scale = 255.0 * self.count as f64;
        let mean = self.sums.map(|sum| sum as f64 / scale);
        let std = std::array::from_fn(|channel| {
            // n^2 times the variance, in integers: nothing cancels.
            let spread = self.count * self.squares[channel] - self.sums[channel] * self.sums[channel];
            (spread as f64).sqrt() / scale
        });
        Some((mean, std))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_and_deviations_are_exact() {
        let mut pixels = PixelSums::of(&[0, 255, 10, 0, 255, 20]);
        pixels.add(&PixelSums::of(&[255, 255, 30, 255, 255, 40]));
        let (mean, std) = pixels.mean_and_std().unwrap();
        assert_eq!((mean, &std[..2]), ([0.5, 1.0, 25.0 / 255.0], &[0.5, 0.0][..]));
        assert!((std[2] - 125_f64.sqrt() / 255.0).abs() < 1e-16);
        assert_eq!(PixelSums::default().mean_and_std(), None);
    }
}
