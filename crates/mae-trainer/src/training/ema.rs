//! A moving average of the weights, which is smoother than the weights themselves and often has better features.

use burn::module::{ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use mae_model::SavedModel;

/// An exponential moving average of a model's trained weights.
#[derive(Clone)]
pub struct Ema<M> {
    /// The average, without autodiff.
    pub model: M,
    decay: f64,
}

impl<M: SavedModel> Ema<M> {
    /// Starts the average with the current weights.
    pub fn new(model: &M, decay: f64) -> Self {
        Self { model: model.valid(), decay }
    }

    /// Starts the same average again with other weights.
    pub(crate) fn restart(self, model: &M) -> Self {
        Self::new(model, self.decay)
    }

    /// Updates the average by the weights after update `step`, counted from 1:
    /// `average += (1 - d) (weights - average)`, where `d = min(decay, (1 + step) / (10 + step))`, so that the initial
    /// weights are forgotten in short runs too. Values that are not trained, such as a running mean, are copied.
    ///
    /// # Source
    /// TensorFlow's `ExponentialMovingAverage` with `num_updates`.
    pub fn update(&mut self, model: &M, step: u64) {
        struct Weights {
            trained: GradientsParams,
            others: GradientsParams,
        }
        impl ModuleVisitor for Weights {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let kind = if param.is_require_grad() { &mut self.trained } else { &mut self.others };
                kind.register(param.id, param.val().inner());
            }
        }
        struct Average(Weights, f64);
        impl ModuleMapper for Average {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                if let Some(weights) = self.0.trained.remove::<D>(param.id) {
                    return param.map(|average| {
                        let change = (weights - average.clone()).mul_scalar(self.1);
                        average + change
                    });
                }
                match self.0.others.remove::<D>(param.id) {
                    Some(value) => param.map(|_| value),
                    None => param,
                }
            }
        }
        let warm = (1.0 + step as f64) / (10.0 + step as f64);
        let mut weights = Weights { trained: GradientsParams::new(), others: GradientsParams::new() };
        model.visit(&mut weights);
        let mut average = Average(weights, 1.0 - self.decay.min(warm));
        self.model = self.model.clone().map(&mut average);
    }
}
