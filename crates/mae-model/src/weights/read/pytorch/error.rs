//! Errors of reading checkpoints.

use std::io;

/// The error for a checkpoint that is damaged, or a file that is not a checkpoint.
pub fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}
