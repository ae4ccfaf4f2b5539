//! Weight files: reads every supported scheme and writes the schemes that others read.
//!
//! A file is read in layers: its tensors (`read`), their names and the choice of a model (`names`), the files around it
//! (`said`), all of this as a [`WeightFile`] (`file`), and the model's description (`describe`). From there, `models`
//! builds the model and `convert` writes another file. No layer knows those above it. The other modules are plain types
//! that all layers share.

mod contents;
mod convert;
mod describe;
mod durable;
mod file;
mod hints;
mod metadata;
mod models;
mod names;
mod read;
mod resizing;
mod said;
mod scheme;
mod source;

pub use contents::Contents;
pub use convert::{Channels, StoredAs};
pub use file::WeightFile;
pub use hints::Hints;
pub use models::{Loaded, SavedModel, Used, load, load_into, save};
pub use resizing::{Resize, Resizing};
pub use scheme::Scheme;
pub use source::{Source, Sourced};
