//! Masked autoencoders (arXiv 2111.06377) on [Burn](burn): everything behind one dependency.
//!
//! From a folder of images to a falling loss:
//!
//! ```
//! # fn photographs(folder: &std::path::Path) {
//! #     std::fs::create_dir(folder).unwrap();
//! #     for i in 0..8_u32 {
//! #         let pixel = |x: u32, y: u32| image::Rgb([0, 1, 2].map(|c| (x * (i + 3) + y * (c + 1) * 7) as u8));
//! #         image::RgbImage::from_fn(40, 32, pixel).save(folder.join(format!("{i}.png"))).unwrap();
//! #     }
//! # }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let at = tempfile::tempdir()?;
//! # photographs(&at.path().join("photos"));
//! # std::env::set_current_dir(at.path())?;
//! use mae::prelude::*;
//!
//! let mut recipe = Recipe::<PretrainRecipe>::default();
//! recipe.data.path = Some("photos".into());
//! recipe.train.epochs = 20;
//! let run = Run::<Pretrain>::create(&recipe, "runs/photos")?;
//! let device = Device::flex();
//! let state = Trainer::new(&run, &device).train(run.latest_state(&device)?.state)?;
//! println!("{}", summarize(&run, &state, &device)?);
//! # let losses: Vec<_> = mae::trainer::read_records(&run.path("metrics.jsonl"))?.iter().map(|r| r.loss).collect();
//! # assert!(losses.last() < losses.first(), "{losses:?}");
//! # Ok(())
//! # }
//! ```
//!
//! The run's folder then has the weights, pictures of reconstructions, curves and a report page. The crates behind this
//! one are [`image`], [`data`], [`masking`], [`vit`], [`model`], [`trainer`], [`ranks`], [`eval`] and [`report`]; each
//! is useful alone. A task of your own implements [`trainer::Task`].

pub use burn;
pub use mae_data as data;
pub use mae_eval as eval;
pub use mae_image as image;
pub use mae_masking as masking;
pub use mae_model as model;
pub use mae_ranks as ranks;
pub use mae_report as report;
pub use mae_trainer as trainer;
pub use mae_vit as vit;

/// The items that most programs use.
pub mod prelude {
    /// A result whose error is a [`TrainerError`] by default.
    pub type Result<T, E = mae_trainer::TrainerError> = std::result::Result<T, E>;

    pub use burn::module::Module;
    pub use burn::tensor::{Device, Tensor, TensorData};
    pub use mae_data::{
        Batch, EvalTransform, FolderOptions, Image, ImageSource, Loader, LoaderConfig, RandomResizedCrop,
        Shapes, TrainTransform, open_images,
    };
    pub use mae_masking::{MaskBatch, Masker, Strategy};
    pub use mae_model::{Classifier, FeatureExtractor, Mae, Preset, SavedModel, WeightFile, with_path_ids};
    #[cfg(feature = "cli")]
    pub use mae_trainer::cli;
    pub use mae_trainer::{
        At, Context, Data, EncoderRecipe, Finetune, FinetuneRecipe, Measured, Metric, Pretrain,
        PretrainRecipe, Probe, ProbeRecipe, Recipe, Run, Segment, SegmentRecipe, SettingsOf, Task,
        TaskRecipe, TrainState, Trainer, TrainerError, section, sections, summarize,
    };
    pub use mae_vit::{Geometry, InitRng, Linear, Normalize, Pooling, VisionTransformer, VitConfig};
}

/// The README's examples, as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
