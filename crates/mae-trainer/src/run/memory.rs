//! What a step is expected to take of a device's memory.

use burn::tensor::Device;
use mae_model::{ParamInfo, list_params};
use mae_vit::{Precision, ops};

use super::Run;
use crate::device::within_memory;
use crate::{Task, TrainerError};

/// Bytes of a device at the height of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Memory {
    /// Weights, gradients and moments, and the weights' average where there is one.
    pub parameters: u64,
    /// What the forward pass keeps for the backward pass, images included.
    pub activations: u64,
}

impl Memory {
    /// All of it.
    pub fn total(self) -> u64 {
        self.parameters + self.activations
    }
}

impl<T: Task> Run<T> {
    /// What a step is expected to take of a device at its height, by the shapes of what is kept: an estimate, to which come
    /// what a backend uses in passing and its allocator's gaps. None if the task does not know what it keeps.
    pub(crate) fn memory(&self, model: &T::Model, device: &Device) -> Option<Memory> {
        let compute = self.settings.compute();
        let activations = self.task.activations_per_image(compute, device)?;
        let number = size_of::<f32>();
        // Products take copies of the weights, rounded, unless they round factors on the way.
        let on_the_way = ops::kept_bytes(device, compute.precision) == Some(number);
        let rounded = if compute.precision == Precision::Bf16 && !on_the_way { 2 } else { 0 };
        let of = |param: &ParamInfo| {
            let trained = if param.trained { number * (1 + T::MOMENTS) } else { 0 };
            let averaged = if self.settings.optim.ema.is_some() { number } else { 0 };
            param.shape.iter().product::<usize>() * (number + rounded + trained + averaged)
        };
        Some(Memory {
            parameters: list_params(model).iter().map(of).sum::<usize>() as u64,
            activations: (self.settings.train.batch_size * activations) as u64,
        })
    }

    /// Does a part of a step. A backend that has no memory left panics; here that becomes an error.
    ///
    /// # Errors
    /// [`TrainerError::OutOfMemory`]; any other panic goes on.
    pub(crate) fn within_memory<R>(&self, work: impl FnOnce() -> R) -> Result<R, TrainerError> {
        within_memory(self.settings.train.batch_size, self.settings.train.accum_iter, work)
    }
}
