//! Weight files: read whatever scheme they are in, written in the schemes that others read.

mod describe;
mod export;
mod file;
mod layout;
mod model;
mod names;
mod resample;
mod stored;
mod summary;

pub use describe::{Contents, Hints};
pub use export::{Precision, Scheme};
pub use file::{Used, WeightFile};
pub use model::{Loaded, SavedModel, load, load_into, save};
