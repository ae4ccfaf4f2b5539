//! Turns folders of images into batches of bytes: augmentation, a deterministic loader and distributed sampling.
//!
//! An [`ImageSource`] is a data set: an [`ImageFolder`] of JPEG, PNG, WebP, GIF, BMP, TIFF and PPM files, or your own.
//! A [`Transform`] makes images of one size, with the results of torchvision on Pillow: [`TrainTransform`] takes a
//! random crop and flips it at random, [`EvalTransform`] crops the centre, and [`FinetuneTransform`] adds timm's
//! [`RandAugment`] and [`RandomErasing`]. A [`Loader`] decodes and transforms on several threads, in the order that a
//! [`DistributedSampler`] gives, and returns each [`Batch`] as bytes, `[B, C, H, W]`. A sample is a pure function of
//! (seed, pass, sample index). A [`Doctor`] examines a folder before training. For semantic segmentation, [`Segmented`]
//! adds the class of each pixel from [`LabelMaps`], and [`SegmentTransform`] transforms image and label map together.
//! This crate knows no tensors and no models; `mae-image` decodes.
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

mod doctor;
mod error;
mod loader;
mod maps;
mod name;
mod rng;
mod shapes;
mod source;
mod statistics;
mod transform;

pub use doctor::{
    ClassCount, DataReport, DataWarning, Doctor, DuplicateGroup, FormatCount, MapClass, MapReport,
    SaturatedChannel, Smaller, Spread, StrayValue, data_warnings,
};
pub use error::DataError;
#[cfg(feature = "burn")]
pub use loader::BurnLoader;
pub use loader::{BadFile, BadFilePolicy, Batch, Batches, DistributedSampler, Loader, LoaderConfig};
pub use mae_image::{
    AnyImage, Crop, DecodeLimits, Encoded, GeoValue, Georeference, Image, ImageError, Pixel, PixelFormat,
    PixelType, decode_file, decode_labels, path_name, stored_format,
};
pub use maps::{
    ClassMap, IGNORE, LabelMap, LabelMapOptions, LabelMaps, SegmentationFolders, Segmented, label_colour,
    load_with_map,
};
pub use rng::{SampleRng, below, sample_rng, uniform};
pub use shapes::{SegmentedShapes, Shapes};
#[cfg(feature = "parquet")]
pub use source::ParquetImages;
pub use source::{
    FolderOptions, IMAGE_EXTENSIONS, ImageFolder, ImageList, ImageSource, LabelTable, PackOptions, Packed,
    PassedOver, ShardSource, Store, Subset, TableRows, images_exist, is_table, open_images, pack,
};
pub use statistics::PixelStatistics;
pub use transform::{
    AugmentOp, EvalTransform, Filter, FinetuneTransform, Fit, JointTransform, PhotometricDistortion,
    RandAugment, RandomErasing, RandomResizedCrop, SegmentTransform, TrainTransform, Transform, View,
    resize_to, resized_crop, scaled_size,
};

/// The README's examples, as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
