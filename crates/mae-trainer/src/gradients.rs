//! The gradient as a whole: its mean over ranks, its norm over all parameters, and clipping by it.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use mae_model::Mae;
use mae_vit::ops;

use crate::Collective;
use crate::collective::BUCKET_BYTES;

/// The sum of all gradients' squares, `[1]`; infinite or not a number if one of them is.
pub(crate) fn sum_of_squares<M: Module>(
    model: &M,
    gradients: &GradientsParams,
    device: &Device,
) -> Tensor<1> {
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
        true => Tensor::zeros([1], device),
        false => Tensor::cat(squares.1, 0).sum(),
    }
}

/// The Euclidean norm of all gradients together; infinite or not a number if one of them is.
pub(crate) fn global_norm<M: Module>(model: &M, gradients: &GradientsParams, device: &Device) -> f64 {
    // One number is read, not one a parameter.
    f64::from(sum_of_squares(model, gradients, device).into_scalar::<f32>()).sqrt()
}

/// Gradients and mean loss of one rank, averaged over all, if there are several: bucket by bucket, in the order of the
/// model's parameters, and in the gradients' own memory where the device's is the host's.
pub(crate) fn mean_over(
    ranks: &dyn Collective,
    model: &Mae,
    gradients: GradientsParams,
    losses: &[Tensor<1>],
    device: &Device,
) -> (GradientsParams, Option<f64>) {
    struct Take(GradientsParams, Vec<TensorData>);
    impl ModuleVisitor for Take {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.remove::<D>(param.id) {
                self.1.push(gradient.into_data().convert::<f32>());
            }
        }
    }
    struct GiveBack<'a>(std::vec::IntoIter<TensorData>, GradientsParams, &'a Device);
    impl ModuleVisitor for GiveBack<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if param.is_require_grad()
                && let Some(gradient) = self.0.next()
            {
                self.1.register(param.id, Tensor::<D>::from_data(gradient, self.2));
            }
        }
    }
    if ranks.size() == 1 {
        return (gradients, None);
    }
    let mut taken = Take(gradients, Vec::new());
    model.visit(&mut taken);
    let mut gradients = taken.1;
    average(ranks, &mut gradients);
    let mut given = GiveBack(gradients.into_iter(), GradientsParams::new(), device);
    model.visit(&mut given);
    let sum: f64 = losses.iter().map(|loss| f64::from(loss.clone().into_scalar::<f32>())).sum();
    let means = ranks.gather_numbers(&[sum / losses.len() as f64]);
    (given.1, Some(means.iter().flatten().sum::<f64>() / ranks.size() as f64))
}

/// The mean over ranks, in place. Small tensors share a bucket: each sum costs a latency.
fn average(ranks: &dyn Collective, tensors: &mut [TensorData]) {
    const EXPECT: &str = "gradients are converted to f32";
    let scale = 1.0 / ranks.size() as f32;
    let mut bucket: Vec<f32> = Vec::new();
    let mut rest = tensors;
    while !rest.is_empty() {
        bucket.clear();
        let mut count = 0;
        for tensor in rest.iter().map(|tensor| tensor.as_slice::<f32>().expect(EXPECT)) {
            if count > 0 && size_of_val(bucket.as_slice()) + size_of_val(tensor) > BUCKET_BYTES {
                break;
            }
            bucket.extend_from_slice(tensor);
            count += 1;
        }
        ranks.sum(&mut bucket);
        let (group, others) = rest.split_at_mut(count);
        let mut sums = bucket.iter();
        for tensor in group {
            for (x, sum) in tensor.as_mut_slice::<f32>().expect(EXPECT).iter_mut().zip(&mut sums) {
                *x = sum * scale;
            }
        }
        rest = others;
    }
}

/// Scales all gradients alike where their norm is above `max_norm`.
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
    // Gradients whose norm is not a number are never used.
    if factor.is_nan() || factor >= 1.0 {
        return gradients;
    }
    let mut scale = Scale(gradients, factor);
    model.visit(&mut scale);
    scale.0
}
