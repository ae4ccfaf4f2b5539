//! From a path to tensors: what file it is, all of its parts, and where each tensor's bytes are.

mod kind;
mod open;
mod pytorch;
mod stored;

pub(crate) use open::{Models, Opened, locate, read};
pub(crate) use stored::Stored;
