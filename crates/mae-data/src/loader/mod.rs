//! Loads batches of a data set ahead of time with threads, and divides the data set among ranks.

pub(crate) mod bad;
mod batch;
mod batches;
#[cfg(feature = "burn")]
mod burn_loader;
mod config;
#[allow(clippy::module_inception, reason = "the loader is what the folder is about")]
mod loader;
pub(crate) mod sampler;
pub(crate) mod worker;

pub use bad::{BadFile, BadFilePolicy};
pub use batch::Batch;
pub use batches::Batches;
#[cfg(feature = "burn")]
pub use burn_loader::BurnLoader;
pub use config::LoaderConfig;
pub use loader::Loader;
pub use sampler::DistributedSampler;
