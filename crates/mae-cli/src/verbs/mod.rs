//! The verbs of `mae`, one file or folder each; probes and fine-tuning share one.

pub mod attention;
pub mod classify;
pub mod convert;
pub mod doctor;
pub mod embed;
pub mod inspect;
pub mod knn;
pub mod predict;
pub mod pretrain;
pub mod reconstruct;
pub mod runs;
pub mod segment;
