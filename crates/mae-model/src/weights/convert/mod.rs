//! Converts files without building a model: to others' names, other dtypes, other sizes and channels.

mod channels;
mod export;
mod resample;

pub use channels::Channels;
pub use export::StoredAs;
