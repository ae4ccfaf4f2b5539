//! Random erasing: replaces a rectangle of an image by noise.

use crate::{Crop, DataError, Image, SampleRng, below, uniform};
use mae_random::normals;

/// The range of the erased share of the area and, below, of the height over the width of the rectangle.
///
/// # Source
/// Random erasing (arXiv 1708.04896), with `min_area`, `max_area` and `min_aspect` of timm's `RandomErasing`.
const AREA: (f64, f64) = (0.02, 1.0 / 3.0);
const ASPECT: (f64, f64) = (0.3, 1.0 / 0.3);
const TRIES: usize = 10;

/// Replaces a random rectangle of some images by noise, distributed as in timm's `RandomErasing` with mode `pixel`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandomErasing {
    probability: f64,
    mean: [f64; 3],
    std: [f64; 3],
}

impl RandomErasing {
    /// Erases with `probability`. The noise has the `mean` and the standard deviation `std` that images are normalised
    /// with, one value per channel, where white is 1.
    ///
    /// # Errors
    /// [`DataError::Argument`] for a value outside 0 to 1.
    ///
    /// # Source
    /// timm's `RandomErasing(probability, mode="pixel")`; MAE's official fine-tuning: a probability of 0.25.
    /// Deviation: timm erases after normalisation, with unbounded normal noise. Here the noise is rounded to bytes and
    /// clamped to black and white.
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

    /// Draws the rectangle to erase in an image of `height` by `width`, or `None` to leave the image unchanged.
    ///
    /// # Source
    /// timm's `RandomErasing._erase`, with ten tries. Nothing is erased if no rectangle is smaller than the image in
    /// both directions, or if the image is so small that the rectangle rounds to zero size.
    pub fn draw(&self, height: usize, width: usize, rng: &mut SampleRng) -> Option<Crop> {
        if uniform(rng) >= self.probability {
            return None;
        }
        let between = |(low, high): (f64, f64), rng: &mut SampleRng| low + (high - low) * uniform(rng);
        for _ in 0..TRIES {
            let area = between(AREA, rng) * (height * width) as f64;
            // Log-uniform.
            let aspect = between((ASPECT.0.ln(), ASPECT.1.ln()), rng).exp();
            // Halves round to even, as in Python.
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

    /// Erases the rectangle that [`draw`](Self::draw) returns.
    ///
    /// # Shapes
    /// `[H, W, C]` to `[H, W, C]`. Unless there are 3 channels, all channels get noise of the average mean and the
    /// average deviation of the three.
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
