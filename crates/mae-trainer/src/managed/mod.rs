//! Pre-training handed to `burn-train`: its learner, metrics, renderer, interruption and early stopping around the
//! same update as the explicit loop's.
//!
//! What the stock pieces of `burn-train` 0.22 lack is in [`PretrainingStrategy`]: it continues in the middle of an
//! epoch, writes a checkpoint as one unit, and reacts to a loss that is not finite. [`Pretraining`] and
//! [`UpdateLoader`] also work with the stock strategies. So do they with `burn-train`'s own data parallelism, for the
//! cards of one process: each device gets its part of every update. It needs NCCL, and was never run; many processes are
//! [`Mpi`](crate::Collective)'s.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use burn::tensor::Device;
//! use burn::tensor::distributed::{DistributedConfig, ReduceOperation};
//! use burn_train::{ExecutionStrategy, Learner, SupervisedTraining};
//! use mae_trainer::Run;
//! use mae_trainer::managed::{Pretraining, RunSchedule, UpdateLoader};
//!
//! fn train(run: Run, devices: Vec<Device>) -> Result<Pretraining, Box<dyn std::error::Error>> {
//!     let run = Arc::new(run);
//!     let state = run.latest_state(&devices[0])?.state;
//!     let schedule = RunSchedule::new(run.plan.pace.schedule, state.step);
//!     let loader = Arc::new(UpdateLoader::new(run.clone(), state.step));
//!     let learner = Learner::new(Pretraining { mae: state.model }, state.optimizer, schedule);
//!     let config = DistributedConfig { all_reduce_op: ReduceOperation::Mean };
//!     let result = SupervisedTraining::new(run.path("burn"), loader.clone(), loader)
//!         .num_epochs(run.recipe.epochs as usize)
//!         .with_training_strategy(ExecutionStrategy::ddp(devices, config).into())
//!         .launch(learner);
//!     Ok(result.model)
//! }
//! ```

mod checkpointer;
mod launch;
mod learner;
mod loader;
mod metrics;
mod quiet;
mod scheduler;
#[cfg(feature = "tui")]
mod screen;
mod strategy;
mod view;

pub use launch::Launch;
pub use learner::Pretraining;
pub use loader::UpdateLoader;
pub use metrics::{GradNorm, ImagesPerSecond, Loss, Quantity, Scalar, Waiting};
pub use scheduler::RunSchedule;
#[cfg(all(feature = "cli", feature = "tui"))]
pub(crate) use screen::leave_screen;
pub use strategy::PretrainingStrategy;
pub use view::View;
