//! The norm of the gradients over all parameters, and clipping by it.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use mae_vit::ops;

/// The sum of the squares of all gradients, `[1]`; infinite or NaN if one of them is.
pub(crate) fn sum_of_squares<M: Module>(
    model: &M,
    gradients: &GradientsParams,
    device: &Device,
) -> Tensor<1> {
    struct Squares<'a>(&'a GradientsParams, Vec<Tensor<1>>);
    impl ModuleVisitor for Squares<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.get::<D>(param.id) {
                self.1.push(gradient.flatten(0, D - 1));
            }
        }
    }
    let mut squares = Squares(gradients, Vec::new());
    model.visit(&mut squares);
    match squares.1.is_empty() {
        true => Tensor::zeros([1], device),
        false => ops::sum_of_squares(squares.1),
    }
}

/// Scales all gradients by the same factor if their norm is above `max_norm`.
///
/// # Source
/// PyTorch's `clip_grad_norm_`, with its 1e-6.
pub(crate) fn clip<M: Module>(
    model: &M,
    gradients: GradientsParams,
    norm: f64,
    max_norm: f64,
) -> GradientsParams {
    struct Scale(GradientsParams, f64);
    impl ModuleVisitor for Scale {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.remove::<D>(param.id) {
                self.0.register(param.id, gradient.mul_scalar(self.1));
            }
        }
    }
    let factor = max_norm / (norm + 1e-6);
    // Gradients whose norm is NaN are never applied.
    if factor.is_nan() || factor >= 1.0 {
        return gradients;
    }
    let mut scale = Scale(gradients, factor);
    model.visit(&mut scale);
    scale.0
}
