//! Random erasing: noise in place of a rectangle of an image.

use crate::{Crop, DataError, Image, SampleRng, below, uniform};
use mae_random::normals;

/// The share of the area that is erased, and the height over the width of what is.
///
/// # Source
/// Random erasing (arXiv 1708.04896) as timm's `RandomErasing` has it: `min_area`, `max_area`, `min_aspect`.
const AREA: (f64, f64) = (0.02, 1.0 / 3.0);
const ASPECT: (f64, f64) = (0.3, 1.0 / 0.3);
const TRIES: usize = 10;

/// Replaces a random rectangle of some images by noise, distributed as timm's `RandomErasing` in its mode `pixel`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandomErasing {
    probability: f64,
    mean: [f64; 3],
    std: [f64; 3],
}

impl RandomErasing {
    /// Erases with `probability`, to noise of the `mean` and the deviation `std` that images are normalised by, a
    /// channel each, where white is 1.
    ///
    /// # Errors
    /// [`DataError::Argument`] for a number outside 0 to 1.
    ///
    /// # Source
    /// timm's `RandomErasing(probability, mode="pixel")`; MAE's official fine-tuning: a probability of 0.25.
    /// Deviation: timm erases what is already normalised, to numbers of any size from the normal distribution; here
    /// they become bytes, rounded and cut off at black and white.
    pub fn new(probability: f64, mean: [f64; 3], std: [f64; 3]) -> Result<Self, DataError> {
        let named = |name, values: [f64; 3]| values.map(|value| (name, value));
        let [means, deviations] = [named("erasing's mean", mean), named("erasing's deviation", std)];
        let all = [("erasing's probability", probability)].into_iter().chain(means).chain(deviations);
        for (name, value) in all {
            if !(0.0..=1.0).contains(&value) {
                let (value, bound) = (value.to_string(), "0 to 1".to_owned());
                return Err(DataError::Argument { name, value, bound });
            }
        }
        Ok(Self { probability, mean, std })
    }

    /// Draws what is erased of an image of `height` by `width`, if anything is.
    ///
    /// # Source
    /// timm's `RandomErasing._erase`: ten tries, and nothing if none of them is smaller than the image both ways, nor
    /// if the image is so small that the rectangle rounds to nothing.
    pub fn draw(&self, height: usize, width: usize, rng: &mut SampleRng) -> Option<Crop> {
        if uniform(rng) >= self.probability {
            return None;
        }
        let between = |(low, high): (f64, f64), rng: &mut SampleRng| low + (high - low) * uniform(rng);
        for _ in 0..TRIES {
            let area = between(AREA, rng) * (height * width) as f64;
            // Uniform in its logarithm.
            let aspect = between((ASPECT.0.ln(), ASPECT.1.ln()), rng).exp();
            // Halves go to the even neighbour, as Python rounds.
            let erased_height = (area * aspect).sqrt().round_ties_even() as usize;
            let erased_width = (area / aspect).sqrt().round_ties_even() as usize;
            if erased_height < height && erased_width < width {
                let top = below(rng, (height - erased_height + 1) as u64) as usize;
                let left = below(rng, (width - erased_width + 1) as u64) as usize;
                let erased = Crop { top, left, height: erased_height, width: erased_width };
                return (erased_height > 0 && erased_width > 0).then_some(erased);
            }
        }
        None
    }

    /// Erases what it draws.
    ///
    /// # Shapes
    /// `[H, W, C]` to `[H, W, C]`. Where there are other than 3 channels, each is erased to noise of the mean and the
    /// deviation that the three have on average.
    #[must_use]
    pub fn apply(&self, mut image: Image, rng: &mut SampleRng) -> Image {
        let (width, channels) = (image.width(), image.channels());
        let Some(erased) = self.draw(image.height(), width, rng) else {
            return image;
        };
        let average = |values: [f64; 3]| values.iter().sum::<f64>() / 3.0;
        let (mean, std) = match channels {
            3 => (self.mean, self.std),
            _ => ([average(self.mean); 3], [average(self.std); 3]),
        };
        let mut spare = None;
        let mut normal = || {
            spare.take().unwrap_or_else(|| {
                let [first, second] = normals(rng, 1.0);
                spare = Some(second);
                first
            })
        };
        let rows = image.data_mut().chunks_exact_mut(width * channels);
        for row in rows.skip(erased.top).take(erased.height) {
            let row = &mut row[erased.left * channels..][..erased.width * channels];
            for (at, byte) in row.iter_mut().enumerate() {
                let channel = at % channels % 3;
                *byte = (255.0 * (mean[channel] + std[channel] * normal())).round() as u8;
            }
        }
        image
    }
}
