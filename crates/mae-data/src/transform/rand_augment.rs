//! RandAugment: applies a few random operations of similar magnitude to an image's pixels.

use crate::transform::augment::MAX_MAGNITUDE;
use crate::{AugmentOp, DataError, Image, SampleRng, below, uniform};
use mae_random::normals;

/// The probability that a drawn operation is applied.
///
/// # Source
/// timm's `AugmentOp`, `prob=0.5`.
const APPLIED: f64 = 0.5;

/// Draws operations and applies them, distributed as in timm's `rand-m9-mstd0.5-inc1` and its variants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandAugment {
    magnitude: f64,
    std: f64,
    layers: usize,
    fill: [u8; 3],
}

impl RandAugment {
    /// Draws `layers` operations per image with replacement from the fifteen of [`AugmentOp::all`], and applies each
    /// with probability 1/2. Magnitudes follow a normal distribution with mean `magnitude` and standard deviation
    /// `std`, clamped to 0 to 10. Uncovered pixels get the colour `fill`; timm uses the images' mean.
    ///
    /// # Errors
    /// [`DataError::Argument`] for a magnitude outside 0 to 10, a deviation that is negative or not finite, or 0
    /// layers.
    ///
    /// # Source
    /// RandAugment (arXiv 1909.13719) as in timm's `rand_augment_transform`; MAE §A.1, table 9:
    /// `RandAugment::new(9.0, 0.5, 2, fill)`. Deviation: timm draws from Python's and numpy's generators.
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

    /// Draws the operations to apply to an image, in order: at most one per layer.
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

    /// Applies the operations that [`draw`](Self::draw) returns.
    ///
    /// # Shapes
    /// `[H, W, C]` to `[H, W, C]`; see [`AugmentOp::apply`] for channels other than 3.
    #[must_use]
    pub fn apply(&self, image: Image, rng: &mut SampleRng) -> Image {
        self.draw(rng).into_iter().fold(image, |image, op| op.apply(image, self.fill))
    }
}
