//! Training of masked autoencoders and of models made from them: pre-training, linear probes, fine-tuning,
//! segmentation, and user-defined tasks.
//!
//! A [`Recipe`] says what to train and how; a [`Run`] is that recipe with its data and its folder; a [`TrainState`] is
//! the model with its optimizer and its progress; a [`Trainer`] is the loop. A [`Task`] defines what is trained: this
//! crate has [`Pretrain`], [`Probe`], [`Finetune`] and [`Segment`].
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

#[cfg(feature = "cli")]
pub mod cli;
mod context;
mod device;
mod dry_run;
mod error;
#[cfg(feature = "managed")]
pub mod managed;
mod measured;
mod pixels;
mod recipe;
mod resizing;
mod run;
mod task;
mod tasks;
mod training;
mod view;

#[doc(hidden)]
pub use serde;

// Types of other crates that this crate's functions take and return.
pub use mae_data::{BadFile, Batch, Batches, Image, ImageSource};
pub use mae_masking::{MaskBatch, Strategy};
pub use mae_model::{Classifier, Mae, MaeConfig, ParamInfo, Preset, SavedModel};
pub use mae_ranks::{Collective, Single, launched_ranks, ranks_on};
pub use mae_report::{Evaluation, Metric, Outcome, Record, read_evaluations, read_records};
pub use mae_vit::{Compute, Geometry, Normalize, Pooling, Precision, StackConfig};

#[cfg(feature = "cli")]
pub use cli::{INTERRUPTED, StopFlag};
pub use context::{Aside, Context, Data, ImageSet, Rows};
pub use device::{DEVICE_NAMES, DeviceName};
pub use dry_run::dry_run;
pub use error::{TrainerError, chain};
pub use measured::Measured;
pub use pixels::{Shown, dtype, pixel_format};
pub use recipe::{
    Change, DataRecipe, DataSettings, EvalRecipe, EvalSettings, Field, OptimRecipe, OptimSettings,
    PublicRecipe, Recipe, Resume, Section, Settings, TaskRecipe, TrainRecipe, TrainSettings,
};
#[doc(hidden)]
pub use recipe::{read_section, visit_path};
pub use resizing::eval_transform;
pub use run::checkpoint::{TrainState, list_checkpoints, load_checkpoint, save_checkpoint};
pub use run::{Restored, Run, new_folder};
pub use task::{At, SettingsOf, Task};
pub use tasks::classify::{
    ClassifierScores, Finetune, FinetuneRecipe, FinetuneSettings, Lars, LinearRecipe, LinearSettings, Mix,
    MixRecipe, Mixing, Probe, ProbeRecipe, ProbeSettings, TuningRecipe, TuningSettings,
};
pub use tasks::encoder::{EncoderRecipe, EncoderSettings};
pub use tasks::layers::layer_scales;
pub use tasks::pretrain::{
    Accuracies, FeatureReport, KnnRecipe, KnnSettings, MaskingRecipe, MaskingSettings, ModelRecipe,
    ModelSettings, Pretrain, PretrainRecipe, PretrainSettings, draw_sheet, reconstruct,
};
pub use tasks::segment::{
    HeadKind, MapsRecipe, MapsSettings, PredictMode, PredictRecipe, PredictSettings, Segment, SegmentRecipe,
    SegmentSettings, SegmentationPass, SegmentationSettings, SegmenterScores, SegmentingRecipe,
    SegmentingSettings,
};
pub use training::{
    AdamW, BASE_BATCH, Backward, Ema, Groups, Measurement, OnNan, Pace, RateDecay, Schedule, ScheduleConfig,
    StepReport, Trainer, Update, Updates, evaluate, train_step,
};
pub use view::{Observer, Progress, draw_examples, summarize, write_report};

/// The README's examples, as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
