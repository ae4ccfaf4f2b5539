//! The built-in tasks.

pub(crate) mod classify;
pub(crate) mod encoder;
pub(crate) mod layers;
pub(crate) mod pretrain;
pub(crate) mod segment;
