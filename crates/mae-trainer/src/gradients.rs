//! The gradient as a whole: its mean over ranks, its norm over all parameters, and clipping by it.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use mae_model::Mae;
use mae_vit::ops;

use crate::Collective;

/// The Euclidean norm of all gradients together; infinite or not a number if one of them is.
pub(crate) fn global_norm(model: &Mae, gradients: &GradientsParams) -> f64 {
    struct Squares<'a>(&'a GradientsParams, Vec<Tensor<1>>);
    impl ModuleVisitor for Squares<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.get::<D>(param.id) {
                self.1.push(ops::sum_of_squares(gradient));
            }
        }
    }
    let mut squares = Squares(gradients, Vec::new());
    model.visit(&mut squares);
    match squares.1.is_empty() {
        true => 0.0,
        // One number is read, not one a parameter.
        false => f64::from(Tensor::cat(squares.1, 0).sum().into_scalar::<f32>()).sqrt(),
    }
}

/// Gradients and loss of one rank, averaged over all: as one flat vector, in the order of the model's parameters.
pub(crate) fn mean_over(
    ranks: &dyn Collective,
    model: &Mae,
    gradients: GradientsParams,
    loss: f64,
    device: &Device,
) -> (GradientsParams, f64) {
    struct Flatten(GradientsParams, Vec<f32>);
    impl ModuleVisitor for Flatten {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.remove::<D>(param.id) {
                let data = gradient.into_data().convert::<f32>();
                self.1.extend_from_slice(data.as_slice().expect("converted to f32 above"));
            }
        }
    }
    struct Restore<'a>(GradientsParams, &'a [f32], &'a Device);
    impl ModuleVisitor for Restore<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if param.is_require_grad() {
                let shape = param.val().shape();
                let (gradient, rest) = self.1.split_at(shape.num_elements());
                self.1 = rest;
                let gradient = Tensor::<D>::from_data(TensorData::new(gradient.to_vec(), shape), self.2);
                self.0.register(param.id, gradient);
            }
        }
    }
    if ranks.size() == 1 {
        return (gradients, loss);
    }
    let mut flat = Flatten(gradients, Vec::with_capacity(model.num_params()));
    model.visit(&mut flat);
    let mut flat = flat.1;
    ranks.sum(&mut flat);
    let scale = 1.0 / ranks.size() as f32;
    flat.iter_mut().for_each(|x| *x *= scale);
    let mut restored = Restore(GradientsParams::new(), &flat, device);
    model.visit(&mut restored);
    let losses = ranks.gather_numbers(&[loss]);
    (restored.0, losses.iter().flatten().sum::<f64>() / ranks.size() as f64)
}

/// Scales all gradients alike where their norm is above `max_norm`.
///
/// # Source
/// PyTorch's `clip_grad_norm_`, with its 1e-6.
pub(crate) fn clip(model: &Mae, gradients: GradientsParams, norm: f64, max_norm: f64) -> GradientsParams {
    struct Scale(GradientsParams, f64);
    impl ModuleVisitor for Scale {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.remove::<D>(param.id) {
                self.0.register(param.id, gradient.mul_scalar(self.1));
            }
        }
    }
    let factor = max_norm / (norm + 1e-6);
    // Gradients whose norm is not a number are never used.
    if factor.is_nan() || factor >= 1.0 {
        return gradients;
    }
    let mut scale = Scale(gradients, factor);
    model.visit(&mut scale);
    scale.0
}
