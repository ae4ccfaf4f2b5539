//! Pre-training by `burn-train`: its learner, metrics, renderer, interruption and early stopping around the same update
//! as in the explicit loop.
//!
//! [`PretrainingStrategy`] adds what the stock parts of `burn-train` 0.22 lack: it resumes in the middle of an epoch,
//! writes a checkpoint as one unit, and handles non-finite losses. [`Pretraining`] and [`UpdateLoader`] also work with
//! the stock strategies.

mod checkpointer;
#[cfg(feature = "tui")]
mod full_screen;
mod launch;
mod learner;
mod loader;
mod metrics;
mod quiet;
mod scheduler;
#[cfg(feature = "tui")]
mod screen;
mod shown;
mod strategy;

#[cfg(feature = "tui")]
pub use full_screen::FullScreen;
pub use launch::Launch;
pub use learner::Pretraining;
pub use loader::UpdateLoader;
pub use metrics::{GradNorm, ImagesPerSecond, Loss, Quantity, Scalar, Waiting};
pub use scheduler::RunSchedule;
#[cfg(all(feature = "cli", feature = "tui"))]
pub(crate) use screen::{draws, leave_screen};
pub use shown::Screen;
pub use strategy::PretrainingStrategy;
