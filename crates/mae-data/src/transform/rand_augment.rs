//! RandAugment: a few operations on an image's pixels, drawn at random, all of about the same magnitude.

use crate::transform::augment::MAX_MAGNITUDE;
use crate::{AugmentOp, DataError, Image, SampleRng, below, uniform};
use mae_random::normals;

/// How likely each operation that was drawn is to be applied.
///
/// # Source
/// timm's `AugmentOp`, `prob=0.5`.
const APPLIED: f64 = 0.5;

/// Draws operations and applies them, distributed as timm's `rand-m9-mstd0.5-inc1` and its kin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandAugment {
    magnitude: f64,
    std: f64,
    layers: usize,
    fill: [u8; 3],
}

impl RandAugment {
    /// `layers` operations an image, drawn with replacement from the fifteen of [`AugmentOp::all`], each applied half
    /// of the time, at a magnitude drawn from a normal distribution about `magnitude` with deviation `std`, cut off
    /// at 0 and 10. What moves into the image is of the colour `fill`, for which timm takes the images' mean.
    ///
    /// # Errors
    /// [`DataError::Argument`] for a magnitude outside 0 to 10, a deviation that is negative or not finite, and no
    /// layers.
    ///
    /// # Source
    /// RandAugment (arXiv 1909.13719) as timm's `rand_augment_transform` has it; MAE §A.1, table 9:
    /// `RandAugment::new(9.0, 0.5, 2, fill)`. Deviation: timm's own draws follow Python's and numpy's generators.
    pub fn new(magnitude: f64, std: f64, layers: usize, fill: [u8; 3]) -> Result<Self, DataError> {
        let refuse = |name, value: String, bound: &str| {
            Err(DataError::Argument { name, value, bound: bound.to_owned() })
        };
        if !(0.0..=MAX_MAGNITUDE).contains(&magnitude) {
            return refuse("RandAugment's magnitude", magnitude.to_string(), "0 to 10");
        }
        if !(0.0..f64::INFINITY).contains(&std) {
            return refuse(
                "RandAugment's deviation of the magnitude",
                std.to_string(),
                "finite and at least 0",
            );
        }
        if layers == 0 {
            return refuse("RandAugment's number of layers", layers.to_string(), "at least 1");
        }
        Ok(Self { magnitude, std, layers, fill })
    }

    /// Draws what is applied to an image, in order: as many operations as there are layers, or fewer.
    pub fn draw(&self, rng: &mut SampleRng) -> Vec<AugmentOp> {
        (0..self.layers).filter_map(|_| self.draw_one(rng)).collect()
    }

    fn draw_one(&self, rng: &mut SampleRng) -> Option<AugmentOp> {
        let applied = uniform(rng) < APPLIED;
        let [normal, _] = normals(rng, 1.0);
        let magnitude = (self.magnitude + self.std * normal).clamp(0.0, MAX_MAGNITUDE);
        let ops = AugmentOp::all(magnitude, uniform(rng) < 0.5);
        let op = ops[below(rng, ops.len() as u64) as usize];
        applied.then_some(op)
    }

    /// Applies what it draws.
    ///
    /// # Shapes
    /// `[H, W, C]` to `[H, W, C]`; see [`AugmentOp::apply`] for channels other than 3.
    #[must_use]
    pub fn apply(&self, image: Image, rng: &mut SampleRng) -> Image {
        self.draw(rng).into_iter().fold(image, |image, op| op.apply(image, self.fill))
    }
}
