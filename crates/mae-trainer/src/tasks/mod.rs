//! The tasks that there are.

pub(crate) mod classify;
pub(crate) mod encoder;
pub(crate) mod layers;
pub(crate) mod pretrain;
pub(crate) mod segment;
