//! An estimate of the device memory that a step takes.

use burn::tensor::Device;
use mae_model::{ParamInfo, list_params};
use mae_vit::{Precision, ops};

use super::Run;
use crate::device::within_memory;
use crate::{Task, TrainerError};

/// Peak memory of a step on a device, in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Memory {
    /// Weights, gradients, optimizer moments, and the moving average if there is one.
    pub parameters: u64,
    /// Activations that the forward pass keeps for the backward pass, images included.
    pub activations: u64,
}

impl Memory {
    /// The sum of both.
    pub fn total(self) -> u64 {
        self.parameters + self.activations
    }
}

impl<T: Task> Run<T> {
    /// Estimates the peak memory of a step on a device from the shapes of the tensors that are kept. A backend's
    /// temporary buffers and the gaps of its allocator are not included. `None` if the task does not know what it
    /// keeps.
    pub(crate) fn memory(&self, model: &T::Model, device: &Device) -> Option<Memory> {
        let compute = self.settings.compute();
        let activations = self.task.activations_per_image(compute, device)?;
        let number = size_of::<f32>();
        // bf16 products use rounded copies of the weights, unless they round their factors on the fly.
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

    /// Runs a part of a step. A backend that runs out of memory panics; the panic becomes an error here.
    ///
    /// # Errors
    /// [`TrainerError::OutOfMemory`]; any other panic propagates.
    pub(crate) fn within_memory<R>(&self, work: impl FnOnce() -> R) -> Result<R, TrainerError> {
        within_memory(self.settings.train.batch_size, self.settings.train.accum_iter, work)
    }
}
