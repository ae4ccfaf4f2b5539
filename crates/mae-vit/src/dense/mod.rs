//! Layers of dense prediction heads: convolutions, batch normalisation, pooling and resizing of feature maps.
//!
//! Feature maps are `[B, H, W, C]`, channels last. A transformer's tokens have the same order, so a reshape makes them
//! a map, and a 1 x 1 convolution is a linear map. Weights have PyTorch's names, shapes and layout.

mod conv;
mod norm;
mod resize;

pub use crate::ops::Activation;
pub use conv::{Conv, ConvTranspose};
pub use norm::{BatchMoments, BatchNorm};
pub use resize::{adaptive_avg_pool, max_pool, resize_bilinear};
