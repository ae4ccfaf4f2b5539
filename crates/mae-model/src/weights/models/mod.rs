//! Builds models from files and saves them.

mod build;
mod save;

pub use build::Used;
pub use save::{Loaded, SavedModel, load, load_into, save};
