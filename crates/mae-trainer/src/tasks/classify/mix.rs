//! Mixup, CutMix and label smoothing: mixes the images of a batch with each other, and their targets with them.

use burn::tensor::Tensor;

use crate::recipe::within;
use crate::{Section, TrainerError};

crate::section! {
    /// The section of a recipe about how the images of a batch are mixed.
    pub MixRecipe => Mix {
        /// Mixup: both parameters of the beta distribution from which the mixing weight is drawn; 0 for no mixup.
        Free mixup: f64 = 0.0;
        /// CutMix: the same for the share of an image's area that is kept; 0 for no CutMix.
        Free cutmix: f64 = 0.0;
        /// Share of the batches that are mixed.
        Free prob: f64 = 1.0;
        /// Share of the mixed batches that use CutMix rather than mixup, if both are on.
        Free switch_prob: f64 = 0.5;
        /// Share of each target that is spread evenly over all classes.
        Free label_smoothing: f64 = 0.0;
    }
}

impl Default for Mix {
    /// Nothing is mixed, nothing smoothed.
    fn default() -> Self {
        MixRecipe::default().settle()
    }
}

impl MixRecipe {
    /// Checks every value.
    pub(super) fn check(&self) -> Result<(), TrainerError> {
        for (name, share) in [("mix.prob", self.prob), ("switch_prob", self.switch_prob)] {
            within(name, (0.0..=1.0).contains(&share), share, "from 0 to 1")?;
        }
        let smoothing = self.label_smoothing;
        within("label_smoothing", (0.0..1.0).contains(&smoothing), smoothing, "in [0, 1)")?;
        // Beyond 1, weights gather around one half, and drawing them takes ever longer.
        for (name, parameter) in [("mixup", self.mixup), ("cutmix", self.cutmix)] {
            within(name, (0.0..=2.0).contains(&parameter), parameter, "from 0 to 2")?;
        }
        Ok(())
    }
}

/// How a batch is mixed: its i-th image with the i-th from its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mixing {
    /// No mixing.
    None,
    /// Mixup: the two images are blended.
    Mixup {
        /// The weight of the image itself, 0 to 1.
        kept: f64,
    },
    /// CutMix: a rectangle of the image is replaced by that of the other one.
    CutMix {
        /// The rectangle's rows: the first, and the one after the last.
        rows: (usize, usize),
        /// The rectangle's columns, in the same form.
        columns: (usize, usize),
        /// The share of an image's area that is kept.
        kept: f64,
    },
}

impl Mix {
    /// Draws how a batch of images of `(height, width)` is mixed. `uniform` returns uniform random numbers in [0, 1).
    ///
    /// # Source
    /// mixup, arXiv 1710.09412; CutMix, arXiv 1905.04899; timm's `Mixup` in batch mode, with its correction of the
    /// share for the part of the rectangle outside the image.
    pub fn draw(&self, (height, width): (usize, usize), mut uniform: impl FnMut() -> f64) -> Mixing {
        let (blends, cuts) = (self.mixup > 0.0, self.cutmix > 0.0);
        if !(blends || cuts) || uniform() >= self.prob {
            return Mixing::None;
        }
        if !cuts || (blends && uniform() >= self.switch_prob) {
            return Mixing::Mixup { kept: beta(self.mixup, &mut uniform) };
        }
        let cut = (1.0 - beta(self.cutmix, &mut uniform)).sqrt();
        let mut span = |side: usize| {
            let (half, centre) = ((side as f64 * cut) as usize / 2, (uniform() * side as f64) as usize);
            (centre.saturating_sub(half), (centre + half).min(side))
        };
        let (rows, columns) = (span(height), span(width));
        let area = (rows.1 - rows.0) * (columns.1 - columns.0);
        Mixing::CutMix { rows, columns, kept: 1.0 - area as f64 / (height * width) as f64 }
    }

    /// Returns the target distributions of a batch: the share of each class in each image, smoothed. If an image has
    /// several classes, each of them has the share of the image.
    ///
    /// # Shapes
    /// B lists of labels → `[B, classes]`
    pub fn targets(&self, mixing: &Mixing, labels: &[impl AsRef<[u32]>], classes: usize) -> Vec<f32> {
        let kept = mixing.kept() as f32;
        let off = (self.label_smoothing / classes as f64) as f32;
        let on = (1.0 - self.label_smoothing) as f32;
        let mut targets = vec![off; labels.len() * classes];
        for (row, (own, other)) in targets.chunks_mut(classes).zip(labels.iter().zip(labels.iter().rev())) {
            own.as_ref().iter().for_each(|label| row[*label as usize] += kept * on);
            other.as_ref().iter().for_each(|label| row[*label as usize] += (1.0 - kept) * on);
        }
        targets
    }
}

impl Mixing {
    /// The share of the image itself in the mixture, 0 to 1.
    pub fn kept(&self) -> f64 {
        match *self {
            Self::None => 1.0,
            Self::Mixup { kept } | Self::CutMix { kept, .. } => kept,
        }
    }

    /// Mixes a batch.
    ///
    /// # Shapes
    /// `[B, C, H, W]` → `[B, C, H, W]`
    pub fn apply(&self, images: Tensor<4>) -> Tensor<4> {
        let [batch, channels, ..] = images.dims();
        match *self {
            Self::None => images,
            Self::Mixup { kept } => images.clone().mul_scalar(kept) + images.flip([0]).mul_scalar(1.0 - kept),
            Self::CutMix { rows, columns, .. } if rows.0 == rows.1 || columns.0 == columns.1 => images,
            Self::CutMix { rows, columns, .. } => {
                let region = [0..batch, 0..channels, rows.0..rows.1, columns.0..columns.1];
                let other = images.clone().flip([0]).slice(region.clone());
                images.slice_assign(region, other)
            }
        }
    }
}

/// Draws a number from the symmetric beta distribution.
///
/// # Source
/// Jöhnk 1964. For parameters up to 1, at least half of the pairs are accepted.
fn beta(parameter: f64, uniform: &mut impl FnMut() -> f64) -> f64 {
    loop {
        let [x, y] = [(); 2].map(|()| (1.0 - uniform()).powf(1.0 / parameter));
        if x + y <= 1.0 && x + y > 0.0 {
            return x / (x + y);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};
    use mae_data::{sample_rng, uniform};

    const BOTH: Mix = Mix { mixup: 0.8, cutmix: 1.0, prob: 1.0, switch_prob: 0.5, label_smoothing: 0.1 };

    #[test]
    fn beta_numbers_have_their_mean_and_variance() {
        for parameter in [0.2, 0.8, 1.0] {
            let mut rng = sample_rng(0, 0, 0);
            let draws: Vec<f64> = (0..40_000).map(|_| beta(parameter, &mut || uniform(&mut rng))).collect();
            let mean = draws.iter().sum::<f64>() / draws.len() as f64;
            let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / draws.len() as f64;
            // The mean and variance of beta(a, a) are 1/2 and 1 / (4 (2 a + 1)).
            assert!((mean - 0.5).abs() < 0.006, "{parameter}: {mean}");
            assert!((variance - 0.25 / (2.0 * parameter + 1.0)).abs() < 0.002, "{parameter}: {variance}");
        }
    }

    #[test]
    fn half_of_the_batches_are_cut_and_what_is_kept_is_what_shows() {
        let shape = [4, 1, 9, 14];
        let values: Vec<f32> = (0..4).flat_map(|image| vec![image as f32; 9 * 14]).collect();
        let images = Tensor::<4>::from_data(TensorData::new(values, shape), &Device::flex());
        let mut cut = 0;
        for draw in 0..400 {
            let mut rng = sample_rng(0, 0, draw);
            let mixing = BOTH.draw((9, 14), || uniform(&mut rng));
            let mixed = mixing.apply(images.clone()).into_data().convert::<f32>();
            let mixed = mixed.as_slice::<f32>().unwrap();
            for (image, pixels) in mixed.chunks(9 * 14).enumerate() {
                // The mean of mixed constant images shows the share of each.
                let mean = f64::from(pixels.iter().sum::<f32>()) / pixels.len() as f64;
                let expected = mixing.kept() * image as f64 + (1.0 - mixing.kept()) * (3 - image) as f64;
                assert!((mean - expected).abs() < 1e-5, "{mixing:?}: {mean}, {expected}");
            }
            cut += usize::from(matches!(mixing, Mixing::CutMix { .. }));
        }
        // Within 4 standard deviations of a fair coin.
        assert!(cut.abs_diff(200) < 40, "{cut}");
    }

    #[test]
    fn one_of_the_two_is_always_drawn_and_none_never() {
        let draws = |mix: Mix| {
            (0..100).map(move |draw| {
                let mut rng = sample_rng(1, 0, draw);
                mix.draw((8, 8), || uniform(&mut rng))
            })
        };
        assert!(draws(Mix { cutmix: 0.0, ..BOTH }).all(|m| matches!(m, Mixing::Mixup { .. })));
        assert!(draws(Mix { mixup: 0.0, ..BOTH }).all(|m| matches!(m, Mixing::CutMix { .. })));
        assert!(draws(Mix::default()).all(|mixing| mixing == Mixing::None));
        let rarely = draws(Mix { prob: 0.25, ..BOTH }).filter(|mixing| *mixing != Mixing::None).count();
        assert!(rarely.abs_diff(25) < 18, "{rarely}");
    }

    #[test]
    fn targets_are_shares_of_classes() {
        let targets = BOTH.targets(&Mixing::Mixup { kept: 0.75 }, &[[0], [2], [2]], 4);
        let near = |a: f32, b: f32| (a - b).abs() < 1e-6;
        let expected = [
            [0.75 * 0.9 + 0.025, 0.025, 0.25 * 0.9 + 0.025, 0.025],
            [0.025, 0.025, 0.925, 0.025],
            [0.25 * 0.9 + 0.025, 0.025, 0.75 * 0.9 + 0.025, 0.025],
        ];
        for (row, expected) in targets.chunks(4).zip(expected) {
            assert!(row.iter().zip(expected).all(|(a, b)| near(*a, b)), "{row:?}");
        }
        assert!(targets.chunks(4).all(|row| near(row.iter().sum(), 1.0)));
        assert_eq!(Mix::default().targets(&Mixing::None, &[[1]], 3), [0.0, 1.0, 0.0]);
        // Images of several classes, and of none.
        let targets = Mix::default().targets(&Mixing::Mixup { kept: 0.75 }, &[vec![0, 2], vec![]], 3);
        assert_eq!(targets, [0.75, 0.0, 0.75, 0.25, 0.0, 0.25]);
    }
}
