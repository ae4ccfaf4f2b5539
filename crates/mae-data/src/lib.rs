//! Folders of images as batches of bytes: decoding, augmentation, a deterministic loader and distributed sampling.
//!
//! An [`ImageSource`] is a data set: an [`ImageFolder`] of JPEG, PNG, WebP, GIF, BMP, TIFF and PPM files, or your own. A
//! [`Transform`] makes images of one size, as torchvision does on Pillow: [`TrainTransform`] by a random crop and
//! flip, [`EvalTransform`] from the centre; [`FinetuneTransform`] adds timm's [`RandAugment`] and [`RandomErasing`]. A
//! [`Loader`] does both on several threads, in the order that a [`DistributedSampler`] gives, and hands out each
//! [`Batch`] as bytes, `[B, C, H, W]`. What a sample looks like is a pure function of (seed, pass, sample index). A
//! [`Doctor`] examines a folder before it is trained on. This crate knows no tensor and no model.
//!
//! ```
//! use std::sync::Arc;
//!
//! use mae_data::{
//!     DistributedSampler, FolderOptions, ImageFolder, ImageSource, Loader, LoaderConfig, RandomResizedCrop,
//!     TrainTransform,
//! };
//!
//! # fn main() -> Result<(), mae_data::DataError> {
//! # let folder = tempfile::tempdir().expect("a temporary folder");
//! # let root = folder.path();
//! # for name in ["cat-1.png", "cat-2.png", "dog-1.png"] {
//! #     image::RgbImage::new(60, 40).save(root.join(name)).expect("a written image");
//! # }
//! let images = Arc::new(ImageFolder::open(root, FolderOptions::default())?);
//! let transform = Arc::new(TrainTransform::new((224, 224), RandomResizedCrop::default())?);
//! let config = LoaderConfig { batch_size: 2, workers: 2, ..LoaderConfig::default() };
//! let loader = Loader::new(images, transform, config)?;
//!
//! for batch in loader.epoch(3)? {
//!     assert_eq!(batch?.shape, [2, 3, 224, 224]);
//! }
//! # Ok(())
//! # }
//! ```

mod augment;
mod bad;
mod batch;
mod batches;
#[cfg(feature = "burn")]
mod burn_loader;
mod crop;
mod decode;
mod doctor;
mod encoded;
mod error;
mod eval;
mod exif;
mod filter;
mod finetune;
mod folder;
mod image;
mod jpeg;
mod loader;
mod name;
mod pack;
mod pack_files;
mod passed_over;
mod ppm;
mod rand_augment;
mod random_erasing;
mod report;
mod resample;
mod resize;
mod rng;
mod sampler;
mod shapes;
mod shard_index;
mod shards;
mod sizes;
mod source;
mod tar_scan;
mod transform;
mod view;
mod warning;
mod worker;

pub use augment::AugmentOp;
pub use bad::{BadFile, BadFilePolicy};
pub use batch::Batch;
pub use batches::Batches;
#[cfg(feature = "burn")]
pub use burn_loader::BurnLoader;
pub use crop::{Crop, RandomResizedCrop};
pub use decode::{DecodeLimits, decode_file};
pub use doctor::Doctor;
pub use encoded::Encoded;
pub use error::DataError;
pub use eval::{EvalTransform, Fit};
pub use filter::Filter;
pub use finetune::FinetuneTransform;
pub use folder::{FolderOptions, IMAGE_EXTENSIONS, ImageFolder};
pub use image::Image;
pub use loader::{Loader, LoaderConfig};
pub use name::path_name;
pub use pack::{PackOptions, Packed, Store, pack};
pub use passed_over::PassedOver;
pub use rand_augment::RandAugment;
pub use random_erasing::RandomErasing;
pub use report::{ClassCount, DataReport, DuplicateGroup, Smaller, Spread};
pub use resize::resized_crop;
pub use rng::{SampleRng, below, sample_rng, uniform};
pub use sampler::DistributedSampler;
pub use shapes::Shapes;
pub use shards::{ShardSource, open_images};
pub use sizes::data_warnings;
pub use source::ImageSource;
pub use transform::{TrainTransform, Transform};
pub use view::View;
pub use warning::DataWarning;

/// The README's examples, as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
