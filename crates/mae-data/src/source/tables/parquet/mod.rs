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

/// What `read` returns, with a panic of the reader of Parquet, whose arithmetic on damaged numbers may overflow, as an error.
fn guarded<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    // What a panic leaves half done is dropped.
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err("it is damaged: its reader panicked".into()))
}
