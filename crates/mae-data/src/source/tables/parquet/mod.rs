//! Images in Parquet files.

mod cache;
mod classes;
mod columns;
mod files;
mod images;
mod pages;
mod rows;

pub(crate) use files::split;
pub use images::ParquetImages;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls `read` and returns a panic as an error. The Parquet reader's arithmetic may overflow on damaged files.
fn guarded<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    // State that a panic leaves half updated is dropped.
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err("it is damaged: its reader panicked".into()))
}
