//! Burn's backends panic where a device fails: panics that this crate expects, and makes errors of.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};

use crate::TrainerError;

thread_local! {
    /// Whether a panic that says this is expected on this thread now.
    static EXPECTED: Cell<fn(&str) -> bool> = const { Cell::new(|_| false) };
}

/// Does some work; a panic whose text is `expected` becomes that text, any other goes on.
pub(crate) fn catch<T>(expected: fn(&str) -> bool, work: impl FnOnce() -> T) -> Result<T, String> {
    let before = EXPECTED.replace(expected);
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    EXPECTED.set(before);
    done.or_else(|payload| match text(payload.as_ref()) {
        said if expected(said) => Err(said.to_owned()),
        _ => panic::resume_unwind(payload),
    })
}

/// Does a part of a step of `accum_iter` passes of `batch_size` images.
///
/// # Errors
/// [`TrainerError::OutOfMemory`]. No backend of Burn 0.22 hands on a type for it: each panics with a text (libtorch with its C++
/// exception's, cubecl with its `IoError`'s), so it is recognised by its words, here alone.
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

/// Whether the panic that a hook is told of becomes an error: there is then nothing to print.
#[cfg(feature = "cli")]
pub(crate) fn is_expected(info: &panic::PanicHookInfo<'_>) -> bool {
    EXPECTED.get()(text(info.payload()))
}

/// What a backend said, without the error that it is wrapped in and the frames of its stack.
fn first_line(said: &str) -> &str {
    let inner = said.split_once("Torch(\"").map_or(said, |(_, inner)| inner);
    let end = ["\n", "\\n", "\")"].iter().filter_map(|mark| inner.find(mark)).min();
    inner[..end.unwrap_or(inner.len())].trim()
}

/// What a panic says.
fn text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("its backend gave no reason")
}

/// Whether a backend speaks of memory that it does not get: libtorch on cards and on the CPU, cubecl, this project's kernels.
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
