//! Processes that train one model together, each on its part of the data.
//!
//! A [`Collective`] connects a process with the others: [`Single`] is a process alone, `Mpi` a rank of an MPI job,
//! `Nccl` a rank with an NVIDIA card. [`Averaging`] averages a model's gradients over ranks during the backward pass.
//!
//! ```
//! use mae_ranks::{Collective, launched_ranks};
//!
//! let ranks = launched_ranks()?;
//! assert!(ranks.is_main() && ranks.size() == 1);
//! assert_eq!(ranks.gather(b"here")?, [b"here"]);
//! # Ok::<(), mae_ranks::RanksError>(())
//! ```

mod averaging;
mod collective;
mod error;
mod launch;
#[cfg(feature = "mpi")]
mod mpi;
#[cfg(feature = "nccl")]
mod nccl;

pub use averaging::Averaging;
pub use collective::{Collective, Pending, Single, bucket_bytes};
pub use error::RanksError;
pub use launch::{launched_ranks, ranks_on};
#[cfg(feature = "mpi")]
pub use mpi::Mpi;

/// The README's examples, as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
