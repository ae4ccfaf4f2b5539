//! Pre-training of masked autoencoders: recipes, the learning-rate schedule, AdamW in groups, the
//! training step, run folders with checkpoints and records, pictures; and evaluation: kNN, linear probes, fine-tuning.
//!
//! A [`Recipe`] says what to do; a [`Run`] is that recipe with its data and its folder; a
//! [`TrainState`] is what trains. The loop itself is the caller's: `examples/plain` shows it. A [`ClassifyRun`] does the same for
//! classifiers on an encoder, with [`train_classifier`] as its loop.
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
//! let mut state = run.latest_state(&device)?.state;
//! let mut updates = run.updates();
//! let report = train_step(&run, &mut state, &mut updates, &device)?.expect("every update is read by default");
//! assert!(report.loss.is_finite() && state.step == 1);
//! run.save(&state)?;
//! # Ok(())
//! # }
//! ```

mod agree;
mod atomic;
mod averaging;
mod canvas;
mod card;
mod changes;
mod checkpoint;
mod classify;
#[cfg(feature = "cli")]
pub mod cli;
mod collective;
mod contents;
mod curve;
mod data;
mod device;
mod disk;
mod downsample;
mod draw;
mod dry_run;
mod ema;
mod error;
mod evaluate;
mod gradients;
mod heatmap;
mod knn;
mod lbfgs;
mod lock;
mod machine;
#[cfg(feature = "managed")]
pub mod managed;
mod memory;
#[cfg(feature = "mpi")]
mod mpi;
mod named;
#[cfg(feature = "nccl")]
mod nccl;
mod nonfinite;
mod optimizer;
pub mod output;
mod pace;
mod paths;
mod pictures;
mod plan;
mod probe;
mod progress;
mod public_recipe;
mod rank_count;
mod reading;
mod recipe;
mod records;
mod report;
mod resizing;
mod resume;
mod run;
mod run_folder;
mod schedule;
mod step;
#[cfg(feature = "cli")]
mod stop;
mod summary;
mod tensorboard;
mod validate;

pub use canvas::save_png;
pub use changes::Change;
pub use checkpoint::{TrainState, list_checkpoints, load_checkpoint, save_checkpoint};
pub use classify::{
    ClassifyData, ClassifyEval, ClassifyModel, ClassifyOptim, ClassifyRecipe, ClassifyRun, Lars, Method, Mix,
    Mixing, Scores, Trained, layer_scales, score, train_classifier,
};
pub use collective::{Collective, Pending, Single, bucket_bytes, launched_ranks, ranks_on};
pub use curve::draw_loss_curve;
pub use data::{Data, ImageSet};
pub use device::{DEVICE_NAMES, DeviceName};
pub use draw::{draw_curve, draw_pictures, draw_sheet, images_of, reconstruct};
pub use dry_run::dry_run;
pub use ema::Ema;
pub use error::{TrainerError, chain};
pub use evaluate::{Accuracies, FeatureReport, evaluate, feature_report};
pub use heatmap::{Heatmap, draw_heatmaps};
pub use knn::{Features, KNN_TEMPERATURE, knn_accuracy, knn_predict};
#[cfg(feature = "mpi")]
pub use mpi::Mpi;
pub use nonfinite::OnNan;
pub use optimizer::{AdamW, Groups};
pub use pace::{Job, Pace};
pub use pictures::{Reconstruction, draw_grid, draw_reconstructions};
pub use plan::Plan;
pub use probe::{probe_accuracy, probe_predict};
pub use progress::{Progress, duration};
pub use public_recipe::PublicRecipe;
pub use reading::{Measurement, StepReport};
pub use recipe::{DataRecipe, EvalRecipe, MaskingRecipe, ModelRecipe, OptimRecipe, Recipe};
pub use records::{
    Evaluation, EvaluationWriter, Line, LineWriter, Record, RecordWriter, read_evaluations, read_records,
};
pub use report::{ReportFacts, write_report};
pub use resizing::eval_transform;
pub use run::{Restored, Run};
pub use run_folder::new_folder;
pub use schedule::{BASE_BATCH, Schedule, ScheduleConfig};
pub use step::{Accumulation, Update, Updates, train_step};
#[cfg(feature = "cli")]
pub use stop::{INTERRUPTED, StopFlag};
pub use summary::summarize;
pub use tensorboard::TensorBoard;
