//! The random crop for training.

use crate::{Crop, DataError, SampleRng, below, uniform};

/// Draws crops of random area and aspect ratio, distributed as in torchvision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandomResizedCrop {
    scale: (f64, f64),
    ratio: (f64, f64),
}

impl Default for RandomResizedCrop {
    /// # Source
    /// MAE pre-training: scale 0.2 to 1 (official `main_pretrain.py`), torchvision's default ratio 3/4 to 4/3.
    fn default() -> Self {
        Self { scale: (0.2, 1.0), ratio: (3.0 / 4.0, 4.0 / 3.0) }
    }
}

impl RandomResizedCrop {
    /// Draws crops whose share of the image's area lies within `scale` and whose width over height lies within `ratio`.
    ///
    /// # Errors
    /// [`DataError::Argument`] unless 0 < low ≤ high for both, with `scale` up to 1.
    pub fn new(scale: (f64, f64), ratio: (f64, f64)) -> Result<Self, DataError> {
        check_range("crop scale", scale, 1.0, "0 < low <= high <= 1")?;
        check_range("crop ratio", ratio, f64::MAX, "0 < low <= high")?;
        Ok(Self { scale, ratio })
    }

    /// Draws a crop of an image of `height` by `width`, neither of them 0.
    ///
    /// # Source
    /// torchvision `RandomResizedCrop.get_params`: ten tries, then the largest central crop within `ratio`.
    pub fn draw(&self, height: usize, width: usize, rng: &mut SampleRng) -> Crop {
        const TRIES: usize = 10;
        let area = (height * width) as f64;
        for _ in 0..TRIES {
            let target_area = area * between(self.scale, rng);
            // Log-uniform, so 3/4 is as likely as 4/3.
            let aspect = between((self.ratio.0.ln(), self.ratio.1.ln()), rng).exp();
            let crop_width = round((target_area * aspect).sqrt());
            let crop_height = round((target_area / aspect).sqrt());
            if (1..=width).contains(&crop_width) && (1..=height).contains(&crop_height) {
                let top = below(rng, (height - crop_height + 1) as u64) as usize;
                let left = below(rng, (width - crop_width + 1) as u64) as usize;
                return Crop { top, left, height: crop_height, width: crop_width };
            }
        }
        self.central(height, width)
    }

    /// The largest central crop within the bounds of the ratio.
    fn central(&self, height: usize, width: usize) -> Crop {
        let (low, high) = self.ratio;
        let aspect = width as f64 / height as f64;
        let (crop_height, crop_width) = if aspect < low {
            (round(width as f64 / low).clamp(1, height), width)
        } else if aspect > high {
            (height, round(height as f64 * high).clamp(1, width))
        } else {
            (height, width)
        };
        Crop {
            top: (height - crop_height) / 2,
            left: (width - crop_width) / 2,
            height: crop_height,
            width: crop_width,
        }
    }
}

/// A square window of `side` pixels at a random position in an image of `(height, width)`. It covers all of an image
/// side that is shorter.
pub(crate) fn random_window(side: usize, (height, width): (usize, usize), rng: &mut SampleRng) -> Crop {
    let (rows, columns) = (height.min(side), width.min(side));
    let top = below(rng, (height - rows + 1) as u64) as usize;
    let left = below(rng, (width - columns + 1) as u64) as usize;
    Crop { top, left, height: rows, width: columns }
}

/// Like `random_window`, but in the centre of the image.
pub(crate) fn central_window(side: usize, (height, width): (usize, usize)) -> Crop {
    let (rows, columns) = (height.min(side), width.min(side));
    Crop { top: (height - rows) / 2, left: (width - columns) / 2, height: rows, width: columns }
}

/// Refuses a window of 0 pixels.
pub(crate) fn check_window(side: usize) -> Result<(), DataError> {
    match side {
        0 => Err(DataError::Argument { name: "window", value: "0".into(), bound: "at least 1".into() }),
        _ => Ok(()),
    }
}

fn check_range(name: &'static str, range: (f64, f64), most: f64, bound: &str) -> Result<(), DataError> {
    let (low, high) = range;
    if low > 0.0 && low <= high && high <= most {
        return Ok(());
    }
    Err(DataError::Argument { name, value: format!("{low} to {high}"), bound: bound.into() })
}

fn between((low, high): (f64, f64), rng: &mut SampleRng) -> f64 {
    low + (high - low) * uniform(rng)
}

/// Rounds as Python does: halves to even.
fn round(value: f64) -> usize {
    value.round_ties_even() as usize
}
