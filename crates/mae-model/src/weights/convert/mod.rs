//! Files into other files, without a model in between: under others' names, in other numbers, for other sizes and channels.

mod channels;
mod export;
mod resample;

pub use channels::Channels;
pub use export::StoredAs;
