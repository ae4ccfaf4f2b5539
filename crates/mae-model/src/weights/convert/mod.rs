//! Files into other files, without a model in between: under others' names, in other numbers, for other sizes.

mod export;
mod resample;

pub use export::StoredAs;
