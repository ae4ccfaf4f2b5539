//! A device's memory: what a step is expected to take, and what is said when it is not there.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use burn::tensor::Device;
use mae_model::{ParamInfo, list_params};
use mae_vit::Precision;

use crate::{Run, Task, TrainerError};

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
        // Products take copies of the weights, rounded.
        let rounded = if compute.precision == Precision::Bf16 { 2 } else { 0 };
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

thread_local! {
    /// Whether this thread is within [`within_memory`].
    static WITHIN: Cell<bool> = const { Cell::new(false) };
}

/// Does a part of a step of so many images a pass, and so many passes.
fn within_memory<T>(
    batch_size: usize,
    accum_iter: usize,
    work: impl FnOnce() -> T,
) -> Result<T, TrainerError> {
    WITHIN.set(true);
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    WITHIN.set(false);
    done.or_else(|payload| {
        let text = text(payload.as_ref()).unwrap_or_default();
        match is_out_of_memory(text) {
            true => Err(TrainerError::out_of_memory(batch_size, accum_iter, text)),
            false => panic::resume_unwind(payload),
        }
    })
}

impl TrainerError {
    fn out_of_memory(batch_size: usize, accum_iter: usize, said: &str) -> Self {
        let advice = match batch_size {
            1 => "one image is the least: --grad-checkpointing keeps less of it".to_owned(),
            batch => format!(
                "--batch-size {} --accum-iter {} makes updates of as many images with half of it; --grad-checkpointing \
                 keeps less of each image",
                batch / 2,
                accum_iter * 2
            ),
        };
        Self::OutOfMemory { batch_size, advice, said: first_line(said).to_owned() }
    }
}

/// What a backend said, without the error that it is wrapped in and the frames of its stack.
fn first_line(said: &str) -> &str {
    let inner = said.split_once("Torch(\"").map_or(said, |(_, inner)| inner);
    let end = ["\n", "\\n", "\")"].iter().filter_map(|mark| inner.find(mark)).min();
    inner[..end.unwrap_or(inner.len())].trim()
}

/// Keeps quiet about panics for lack of memory where [`within_memory`] makes errors of them.
pub(crate) fn hush_out_of_memory() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !(WITHIN.get() && text(info.payload()).is_some_and(is_out_of_memory)) {
                hook(info);
            }
        }));
    });
}

/// What a panic says.
pub(crate) fn text(payload: &(dyn std::any::Any + Send)) -> Option<&str> {
    payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied())
}

/// Whether a backend speaks of memory that it does not get: libtorch on cards and on the CPU, cubecl.
fn is_out_of_memory(text: &str) -> bool {
    let text = text.to_lowercase();
    [
        "out of memory",
        "out-of-memory",
        "out of device memory",
        "can't allocate",
        "cannot allocate memory",
        "alloc_failed",
    ]
    .iter()
    .any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lack_of_memory_is_an_error_with_advice() {
        for said in [
            "called `Result::unwrap()` on an `Err` value: Torch(\"CUDA out of memory. Tried to allocate 20.00 GiB.\")",
            "[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes",
            "out of device memory allocating 1024 bytes",
            "An out-of-memory error happened during launch",
            "can't allocate buffer of size: 1024",
        ] {
            let error = within_memory(64, 2, || -> () { panic::resume_unwind(Box::new(said.to_owned())) })
                .unwrap_err();
            let text = error.to_string();
            assert!(text.contains("64 images") && text.contains("--batch-size 32 --accum-iter 4"), "{text}");
        }
        let wrapped =
            r#"an `Err` value: Torch("[enforce] can't allocate memory: 9 bytes\nframe #0: 0x9ec5e\n")"#;
        assert_eq!(first_line(wrapped), "[enforce] can't allocate memory: 9 bytes");
    }

    #[test]
    fn other_panics_go_on() {
        let other = panic::catch_unwind(|| {
            within_memory(64, 2, || -> () { panic::resume_unwind(Box::new("index out of bounds")) })
        });
        assert_eq!(text(other.unwrap_err().as_ref()), Some("index out of bounds"));
        assert_eq!(within_memory(64, 2, || 7).unwrap(), 7);
    }
}
