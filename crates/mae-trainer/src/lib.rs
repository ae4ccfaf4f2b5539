//! Pre-training of masked autoencoders: recipes, the learning-rate schedule, AdamW in groups, the
//! training step, run folders with checkpoints and records, pictures, and kNN evaluation.
//!
//! A [`Recipe`] says what to do; a [`Run`] is that recipe with its data and its folder; a
//! [`TrainState`] is what trains. The loop itself is the caller's: `examples/plain` shows it.
//!
//! ```
//! use burn::tensor::Device;
//! use mae_trainer::{Progress, Recipe, Run, train_step};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut recipe = Recipe { epochs: 1, batch_size: Some(4), ..Recipe::default() };
//! recipe.data.shapes = 8; // the built-in set, cut short
//! recipe.model.patch_size = Some(8);
//!
//! let folder = tempfile::tempdir()?;
//! let run = Run::create(&recipe, &folder.path().join("run"))?;
//! let device = Device::flex();
//! let mut state = run.latest_state(&device)?;
//! let mut batches = run.batches(state.step)?;
//! let loss = train_step(&run, &mut state, &mut batches, &device)?;
//! assert!(loss.is_finite() && state.step == 1);
//! run.save(&state)?;
//! # Ok(())
//! # }
//! ```

mod atomic;
mod canvas;
mod checkpoint;
#[cfg(feature = "cli")]
pub mod cli;
mod curve;
mod data;
mod device;
mod draw;
mod error;
mod evaluate;
mod knn;
mod optimizer;
mod pictures;
mod plan;
mod progress;
mod recipe;
mod records;
mod run;
mod schedule;
mod step;
#[cfg(feature = "cli")]
mod stop;
mod summary;

pub use checkpoint::{TrainState, latest_checkpoint, load_checkpoint, save_checkpoint};
pub use curve::draw_loss_curve;
pub use data::{Data, ImageSet};
pub use device::{DEVICE_NAMES, DeviceName};
pub use draw::{draw_curve, draw_pictures};
pub use error::{TrainerError, chain};
pub use evaluate::{KnnReport, knn_report};
pub use knn::{Features, knn_accuracy, knn_predict};
pub use optimizer::{AdamW, Groups};
pub use pictures::{Reconstruction, draw_grid, draw_reconstructions};
pub use plan::Plan;
pub use progress::{Progress, duration};
pub use recipe::{DataRecipe, EvalRecipe, MaskingRecipe, ModelRecipe, OptimRecipe, Recipe};
pub use records::{Record, RecordWriter, read_records};
pub use run::{Run, next_folder};
pub use schedule::{BASE_BATCH, Schedule, ScheduleConfig};
pub use step::{Accumulation, train_step};
#[cfg(feature = "cli")]
pub use stop::{INTERRUPTED, StopFlag};
pub use summary::summarize;
