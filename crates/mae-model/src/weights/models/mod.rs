//! Models from files, and to files and back.

mod build;
mod save;

pub use build::Used;
pub use save::{Loaded, SavedModel, load, load_into, save};
