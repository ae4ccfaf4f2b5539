//! Layers of dense prediction heads: convolutions, batch normalisation, pooling and resizing of feature maps.
//!
//! A feature map is `[B, H, W, C]` here, channels last: the order that a transformer's tokens have, so that a map of tokens is a
//! reshape and a 1 x 1 convolution is a linear map. Weights have PyTorch's names, shapes and layout.

mod conv;
mod norm;
mod resize;

pub use crate::ops::Activation;
pub use conv::{Conv, ConvTranspose};
pub use norm::{BatchMoments, BatchNorm};
pub use resize::{adaptive_avg_pool, max_pool, resize_bilinear};
