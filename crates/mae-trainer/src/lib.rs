//! Training of masked autoencoders and of what is made of them: pre-training, linear probes, fine-tuning, and tasks of one's own.
//!
//! A [`Recipe`] says what to do; a [`Run`] is that recipe with its data and its folder; a [`TrainState`] is what trains; a [`Trainer`]
//! is the loop. What is trained is a [`Task`]: [`Pretrain`], [`Probe`] and [`Finetune`] are here.
//!
//! ```
//! use burn::tensor::Device;
//! use mae_trainer::{Pretrain, Recipe, Run, Trainer};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut recipe = Recipe::named("shapes")?;
//! (recipe.train.epochs, recipe.train.batch_size, recipe.data.shapes) = (1, Some(16), 64); // cut short
//!
//! let folder = tempfile::tempdir()?;
//! let run = Run::<Pretrain>::create(&recipe, &folder.path().join("run"))?;
//! let device = Device::flex();
//! let state = Trainer::new(&run, &device).stop_at(2).train(run.latest_state(&device)?.state)?;
//! assert_eq!(state.step, 2);
//! # Ok(())
//! # }
//! ```

mod card;
#[cfg(feature = "cli")]
pub mod cli;
mod device;
mod draw;
mod dry_run;
mod ema;
mod error;
mod gradients;
#[cfg(feature = "managed")]
pub mod managed;
mod measured;
mod memory;
mod nonfinite;
mod observer;
mod optimizer;
pub mod output;
mod pace;
mod progress;
mod reading;
mod recipe;
mod report;
mod resizing;
mod run;
mod schedule;
mod step;
#[cfg(feature = "cli")]
mod stop;
mod summary;
mod task;
mod tasks;
mod trainer;

#[doc(hidden)]
pub use serde;

pub use mae_ranks::{Collective, Single, launched_ranks, ranks_on};
pub use mae_report::{Evaluation, Metric, Outcome, Record, read_evaluations, read_records};

pub use device::{DEVICE_NAMES, DeviceName};
pub use draw::{draw_examples, images_of};
pub use dry_run::dry_run;
pub use ema::Ema;
pub use error::{TrainerError, chain};
pub use measured::Measured;
pub use nonfinite::OnNan;
pub use observer::Observer;
pub use optimizer::{AdamW, Groups};
pub use pace::Pace;
pub use progress::Progress;
pub use reading::{Measurement, StepReport};
pub use recipe::{
    Change, DataRecipe, DataSettings, EvalRecipe, EvalSettings, Field, OptimRecipe, OptimSettings,
    PublicRecipe, Recipe, Resume, Section, Settings, TaskRecipe, TrainRecipe, TrainSettings,
};
#[doc(hidden)]
pub use recipe::{read_section, visit_path};
pub use report::write_report;
pub use resizing::eval_transform;
pub use run::checkpoint::{TrainState, list_checkpoints, load_checkpoint, save_checkpoint};
pub use run::{Aside, Data, ImageSet, Restored, Rows, Run, new_folder};
pub use schedule::{BASE_BATCH, Schedule, ScheduleConfig};
pub use step::{Backward, Update, Updates, train_step};
#[cfg(feature = "cli")]
pub use stop::{INTERRUPTED, StopFlag};
pub use summary::summarize;
pub use task::{At, SettingsOf, Task};
pub use tasks::classify::{
    EncoderRecipe, EncoderSettings, Finetune, FinetuneRecipe, FinetuneSettings, Lars, LinearRecipe,
    LinearSettings, Mix, MixRecipe, Mixing, Probe, ProbeRecipe, ProbeSettings, TuningRecipe, TuningSettings,
    layer_scales,
};
pub use tasks::pretrain::{
    Accuracies, FeatureReport, KnnRecipe, KnnSettings, MaskingRecipe, MaskingSettings, ModelRecipe,
    ModelSettings, Pretrain, PretrainRecipe, PretrainSettings, draw_pictures, draw_sheet, feature_report,
    reconstruct,
};
pub use trainer::{Trainer, evaluate};
