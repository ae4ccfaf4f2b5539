//! Weight files: read whatever scheme they are in, written in the schemes that others read.
//!
//! A file is read from below to above: its tensors (`read`), whose names they have and which of its models is taken (`names`), what lies
//! around them (`said`), all of it as a [`WeightFile`] (`file`), what model that is (`describe`), and then the model (`models`) or another
//! file (`convert`). Nothing knows what is above it; the other files here are the plain types that all of them share.

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
