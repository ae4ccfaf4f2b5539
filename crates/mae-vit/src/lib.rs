//! The vision transformer of masked autoencoders, on [Burn](burn): patches, fixed sin-cos
//! positions, pre-norm blocks and the official initialisation, for any (height, width) and any
//! number of channels.
//!
//! [`VisionTransformer`] is the principal type; [`VitConfig`] describes and builds one. It can
//! encode whole images or any subset of their patches, and knows nothing of masks or files. No
//! backend is chosen here: enable one of `burn`'s in the crate that uses this one.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use mae_vit::{Geometry, InitRng, Pooling, StackConfig, VisionTransformer, VitConfig};
//!
//! # fn main() -> Result<(), mae_vit::VitError> {
//! let config = VitConfig {
//!     geometry: Geometry::new((32, 48), 8, 3)?, // height, width; patch; channels
//!     stack: StackConfig::new(64, 2, 4),        // width, blocks, heads
//!     norm_eps: 1e-6,
//! };
//! let device = Device::flex();
//! let vit = config.init(&mut InitRng::new(0), &device)?;
//! let tokens = vit.forward(Tensor::zeros([2, 3, 32, 48], &device));
//! assert_eq!(tokens.dims(), [2, 1 + 4 * 6, 64]);
//! assert_eq!(VisionTransformer::pool(tokens, Pooling::MeanPatch).dims(), [2, 64]);
//! # Ok(())
//! # }
//! ```

mod compute;
pub mod dense;
mod error;
mod geometry;
mod init;
mod kernel;
pub mod ops;
mod patchify;
mod pixels;
pub mod position;
mod transformer;

pub use compute::{Compute, Precision};
pub use error::VitError;
pub use geometry::Geometry;
pub use init::InitRng;
pub use kernel::resample_kernels;
pub use patchify::{patchify, unpatchify};
pub use pixels::Normalize;
pub use transformer::{
    Attention, Block, DropPath, LayerNorm, Linear, Mlp, PatchEmbed, Pooling, StackConfig, VisionTransformer,
    VitConfig,
};

/// The README's examples, as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
