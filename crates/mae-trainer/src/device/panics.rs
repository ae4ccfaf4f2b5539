//! Burn's backends panic if a device fails. This module turns the panics that the crate expects into errors.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};

use crate::TrainerError;

thread_local! {
    /// Whether a panic with this message is expected on this thread now.
    static EXPECTED: Cell<fn(&str) -> bool> = const { Cell::new(|_| false) };
}

/// Runs `work`. A panic whose message is `expected` becomes an error with that message; any other propagates.
pub(crate) fn catch<T>(expected: fn(&str) -> bool, work: impl FnOnce() -> T) -> Result<T, String> {
    let before = EXPECTED.replace(expected);
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    EXPECTED.set(before);
    done.or_else(|payload| match text(payload.as_ref()) {
        said if expected(said) => Err(said.to_owned()),
        _ => panic::resume_unwind(payload),
    })
}

/// Runs a part of a step of `accum_iter` forward passes of `batch_size` images.
///
/// # Errors
/// [`TrainerError::OutOfMemory`]. No backend of Burn 0.22 has an error type for it: each panics with a message
/// (libtorch with that of its C++ exception, cubecl with that of its `IoError`). Only this module recognises it, by its
/// words.
pub(crate) fn within_memory<T>(
    batch_size: usize,
    accum_iter: usize,
    work: impl FnOnce() -> T,
) -> Result<T, TrainerError> {
    catch(is_out_of_memory, work).map_err(|said| {
        let said = first_line(&said).to_owned();
        TrainerError::OutOfMemory { batch_size, accum_iter, said }
    })
}

/// Whether the panic of a hook's `info` becomes an error, so that there is nothing to print.
#[cfg(feature = "cli")]
pub(crate) fn is_expected(info: &panic::PanicHookInfo<'_>) -> bool {
    EXPECTED.get()(text(info.payload()))
}

/// The first line of a backend's message, without the error that wraps it and the stack frames.
fn first_line(said: &str) -> &str {
    let inner = said.split_once("Torch(\"").map_or(said, |(_, inner)| inner);
    let end = ["\n", "\\n", "\")"].iter().filter_map(|mark| inner.find(mark)).min();
    inner[..end.unwrap_or(inner.len())].trim()
}

/// The message of a panic.
fn text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("its backend gave no reason")
}

/// Whether a message reports a failed allocation: of libtorch on GPUs or the CPU, of cubecl, or of this project's
/// kernels.
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
    fn lack_of_memory_is_an_error() {
        for said in [
            "called `Result::unwrap()` on an `Err` value: Torch(\"CUDA out of memory. Tried to allocate 20.00 GiB.\")",
            "[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes",
            "out of device memory allocating 1024 bytes",
            "An out-of-memory error happened during launch",
            "can't allocate buffer of size: 1024",
        ] {
            let error = within_memory(64, 2, || -> () { panic::resume_unwind(Box::new(said.to_owned())) });
            let error = error.unwrap_err();
            assert!(error.to_string().contains("64 images"), "{error}");
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
        assert_eq!(text(other.unwrap_err().as_ref()), "index out of bounds");
        assert_eq!(within_memory(64, 2, || 7).unwrap(), 7);
    }
}
