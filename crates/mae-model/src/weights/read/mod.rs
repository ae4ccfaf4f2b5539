//! Reads a path's tensors: recognises the file, finds all of its parts and locates each tensor's bytes.

mod kind;
mod open;
mod pytorch;
mod stored;

pub(crate) use open::{Models, Opened, locate, read};
pub(crate) use stored::Stored;
