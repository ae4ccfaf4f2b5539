//! The loss of predicted label maps.

use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use mae_data::IGNORE;
use mae_vit::ops;

/// The true classes of a batch's pixels, on the device.
pub(super) struct Truth {
    /// `[B, H, W, 1]`; 0 where a pixel is ignored.
    classes: Tensor<4, Int>,
    /// `[B, H, W, 1]`: 0 where a pixel is ignored, else 1.
    counted: Tensor<4>,
}

impl Truth {
    /// Uploads label maps `[B, H, W]`.
    pub(super) fn new(maps: &[u16], [batch, height, width]: [usize; 3], device: &Device) -> Self {
        let shape = [batch, height, width, 1];
        let class = |label: &u16| if *label == IGNORE { 0 } else { i32::from(*label) };
        let counted = |label: &u16| f32::from(u8::from(*label != IGNORE));
        let classes = TensorData::new(maps.iter().map(class).collect::<Vec<_>>(), shape);
        let counted = TensorData::new(maps.iter().map(counted).collect::<Vec<_>>(), shape);
        Self { classes: Tensor::from_data(classes, device), counted: Tensor::from_data(counted, device) }
    }

    /// The mean cross entropy over pixels that are not ignored, each weighted by its class; 0 if all are ignored.
    ///
    /// # Shapes
    /// scores `[B, H, W, K]`, K weights or none → `[1]`
    ///
    /// # Source
    /// PyTorch's `cross_entropy` with `weight` and `ignore_index`.
    pub(super) fn cross_entropy(&self, scores: Tensor<4>, weights: &[f64]) -> Tensor<1> {
        let weights = match weights {
            [] => self.counted.clone(),
            weights => self.counted.clone() * self.weights(weights),
        };
        ops::cross_entropy(scores.flatten(0, 2), self.classes.clone().flatten(0, 3), weights.flatten(0, 3))
    }

    /// The weight of each pixel's class, `[B, H, W, 1]`.
    fn weights(&self, weights: &[f64]) -> Tensor<4> {
        let weights: Vec<f32> = weights.iter().map(|weight| *weight as f32).collect();
        let weights =
            Tensor::<1>::from_data(TensorData::new(weights.clone(), [weights.len()]), &self.counted.device());
        let shape = self.classes.dims();
        weights.select(0, self.classes.clone().flatten(0, 3)).reshape(shape)
    }

    /// One minus the Dice coefficient of the probabilities, averaged over classes and computed over all pixels of the
    /// batch that are not ignored. A class without pixels raises the loss to the extent that it is predicted.
    ///
    /// # Shapes
    /// scores `[B, H, W, K]` → `[1]`
    ///
    /// # Source
    /// Milletari et al., arXiv 1606.04797, with sums in place of squares and 1 added to the numerator and the
    /// denominator.
    pub(super) fn dice(&self, scores: Tensor<4>) -> Tensor<1> {
        let (shape, device) = (scores.dims(), scores.device());
        let probabilities = activation::softmax(scores, 3) * self.counted.clone();
        let truth = Tensor::<4>::zeros(shape, &device).scatter(
            3,
            self.classes.clone(),
            self.counted.clone(),
            burn::tensor::IndexingUpdateOp::Add,
        );
        let sum = |x: Tensor<4>| x.flatten::<2>(0, 2).sum_dim(0).flatten::<1>(0, 1); // [K]
        let both = sum(probabilities.clone() * truth.clone()).mul_scalar(2.0).add_scalar(1.0);
        let all = (sum(probabilities) + sum(truth)).add_scalar(1.0);
        (both / all).mean().neg().add_scalar(1.0)
    }

    /// Returns the sum of −ln p over pixels that are not ignored, where p is the probability of the true class, and the
    /// number of these pixels.
    ///
    /// # Shapes
    /// probabilities `[B, H, W, K]`
    pub(super) fn surprisal(&self, probabilities: Tensor<4>) -> (f64, f64) {
        let chosen = probabilities.gather(3, self.classes.clone()).clamp_min(f32::MIN_POSITIVE).log();
        let sum = (chosen * self.counted.clone()).sum().neg();
        let number = |x: Tensor<1>| f64::from(x.into_scalar::<f32>());
        (number(sum), number(self.counted.clone().sum()))
    }
}

/// `[B, K, H, W]` → `[B, H, W, K]`
pub(super) fn channels_last(scores: Tensor<4>) -> Tensor<4> {
    scores.permute([0, 2, 3, 1])
}
