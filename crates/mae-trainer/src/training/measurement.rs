//! The losses and gradient norms of updates, on the device and read back.

use burn::tensor::Tensor;

/// The mean loss and gradient norm of one or more updates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// The mean loss over the updates' images, on all ranks, each measured before its update.
    pub loss: f64,
    /// The mean of the gradients' norms over all parameters, before clipping.
    pub grad_norm: f64,
}

impl StepReport {
    /// Whether both values are finite. Only then can the updates be applied.
    pub fn is_finite(&self) -> bool {
        self.loss.is_finite() && self.grad_norm.is_finite()
    }
}

/// The loss and gradient norm of an update, still on the device.
#[derive(Clone, Debug)]
pub struct Measurement {
    /// The loss of each batch, or their mean over all ranks.
    losses: Vec<Tensor<1>>,
    /// The sum of the gradient's squares.
    squares: Tensor<1>,
}

impl Measurement {
    pub(super) fn new(losses: Vec<Tensor<1>>, squares: Tensor<1>) -> Self {
        Self { losses, squares }
    }

    /// Reads the values of this update alone, which waits for the device.
    pub fn read(self) -> StepReport {
        mean(vec![self])
    }
}

/// The mean over several updates, in one read from the device.
pub(super) fn mean(measured: Vec<Measurement>) -> StepReport {
    let count = measured.len() as f64;
    let batches: Vec<_> = measured.iter().map(|update| update.losses.len()).collect();
    let tensors = measured.into_iter().flat_map(|update| update.losses.into_iter().chain([update.squares]));
    let numbers = Tensor::cat(tensors.collect(), 0).into_data().convert::<f32>();
    let mut numbers = numbers.as_slice::<f32>().expect("converted to f32").iter().map(|x| f64::from(*x));
    let mut sum = StepReport { loss: 0.0, grad_norm: 0.0 };
    for batches in batches {
        sum.loss += numbers.by_ref().take(batches).sum::<f64>() / batches as f64;
        sum.grad_norm += numbers.next().map_or(f64::NAN, f64::sqrt);
    }
    StepReport { loss: sum.loss / count, grad_norm: sum.grad_norm / count }
}
