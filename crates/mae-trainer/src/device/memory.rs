//! A device's memory: what is said when it is not there.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use crate::TrainerError;

thread_local! {
    /// Whether this thread is within [`within_memory`].
    static WITHIN: Cell<bool> = const { Cell::new(false) };
}

/// Does a part of a step of so many images a pass, and so many passes.
pub(crate) fn within_memory<T>(
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
