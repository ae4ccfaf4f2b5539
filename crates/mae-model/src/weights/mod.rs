//! Weight files: read whatever scheme they are in, written in the schemes that others read.

mod adapt;
mod choose;
mod contents;
mod describe;
mod export;
mod file;
mod kind;
mod layout;
mod model;
mod names;
mod open;
mod preparation;
mod pytorch;
mod resample;
mod said;
mod stored;
mod summary;

pub use contents::Contents;
pub use describe::Hints;
pub use export::{Precision, Scheme};
pub use file::{Used, WeightFile};
pub use model::{Loaded, SavedModel, load, load_into, save};
pub use preparation::{Resize, Resizing};
pub use said::{Source, Sourced};
