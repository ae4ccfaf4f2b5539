//! What is wrong with a checkpoint.

use std::io;

/// That a checkpoint is damaged, or is none.
pub fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}
