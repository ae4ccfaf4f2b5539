//! Data sets that a table lists.

mod list;

pub use list::ImageList;
