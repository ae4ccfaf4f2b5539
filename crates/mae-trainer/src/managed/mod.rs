//! Pre-training handed to `burn-train`: its learner, metrics, renderer, interruption and early stopping around the
//! same update as the explicit loop's.
//!
//! What the stock pieces of `burn-train` 0.22 lack is in [`PretrainingStrategy`]: it continues in the middle of an
//! epoch, writes a checkpoint as one unit, and reacts to a loss that is not finite. [`Pretraining`] and
//! [`UpdateLoader`] also work with the stock strategies.

mod checkpointer;
mod launch;
mod learner;
mod loader;
mod metrics;
mod quiet;
mod scheduler;
mod strategy;
mod view;

pub use launch::Launch;
pub use learner::Pretraining;
pub use loader::UpdateLoader;
pub use metrics::{GradNorm, ImagesPerSecond, Loss, Quantity, Scalar, Waiting};
pub use scheduler::RunSchedule;
pub use strategy::PretrainingStrategy;
pub use view::View;
