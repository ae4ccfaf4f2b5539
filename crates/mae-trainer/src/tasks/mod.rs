//! The tasks that there are.

pub(crate) mod classify;
pub(crate) mod pretrain;
