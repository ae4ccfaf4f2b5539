//! Masked autoencoders (arXiv 2111.06377) on [Burn](burn): an encoder that sees only the visible patches, a shallow
//! decoder, the reconstruction loss, the published sizes, and weight files in the official, timm's and transformers'
//! schemes.
//!
//! [`Mae`] is the main type; a [`MaeConfig`] describes and builds it. [`Preset`] names the published sizes. [`save`]
//! and [`load`] write and read weights as safetensors files that describe their own model. A [`WeightFile`] reads
//! weights of this crate, the official code, timm or transformers, and exports them to any of these schemes. A
//! [`FeatureExtractor`] computes features as its model defines them.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use mae_model::{Geometry, Masker, Preset, Strategy};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let geometry = Geometry::new((32, 32), 8, 3)?;
//! let device = Device::flex();
//! let model = Preset::Nano.config(geometry).init(0, &device)?;
//!
//! let masker = Masker::new(Strategy::Random, geometry.grid(), 0.75)?;
//! let masks = masker.draw_batch(/* seed */ 0, /* (pass, index) */ [(0, 0), (0, 1)])?;
//! let images = Tensor::random([2, 3, 32, 32], burn::tensor::Distribution::Default, &device);
//! let loss = model.forward(images.clone(), &masks).into_scalar::<f32>();
//! assert!(loss.is_finite());
//! assert_eq!(model.encode(images).dims(), [2, 1 + 16, 64]);
//! # Ok(())
//! # }
//! ```

mod classifier;
mod config;
mod decoder;
mod error;
mod features;
mod mae;
mod params;
mod segmenter;
mod weights;

pub use classifier::{Classifier, ClassifierConfig, FeatureNorm, Head};
pub use config::{MaeConfig, NORM_EPS, Preset};
pub use decoder::Decoder;
pub use error::ModelError;
pub use features::FeatureExtractor;
pub use mae::{Mae, Reconstruction};
pub use params::{ParamInfo, has_path_ids, list_params, with_path_ids};
pub use segmenter::{
    AuxiliaryConfig, AuxiliaryHead, BatchStatistics, ConvNorm, HeadDropout, LinearHead, Pyramid,
    SegmentationHead, Segmenter, SegmenterConfig, TrainForward, UperHead, UperNet, UperNetConfig,
};
pub use weights::{
    Channels, Contents, Hints, Loaded, Resize, Resizing, SavedModel, Scheme, Source, Sourced, StoredAs, Used,
    WeightFile, load, load_into, save,
};

// Types of lower-level crates that appear in this crate's API.
pub use mae_masking::{MaskBatch, Masker, MaskingError, Strategy};
pub use mae_vit::{
    Compute, DropPath, Geometry, Normalize, Pooling, Precision, StackConfig, VisionTransformer, VitConfig,
    VitError,
};

/// The README's examples, as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
