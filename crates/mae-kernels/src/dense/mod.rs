//! Feature maps `[B, H, W, C]`: convolution, batch normalisation, resizing, and the cross-entropy of pixels.

mod batch_norm;
mod conv;
mod cross_entropy;
mod mix;

pub use batch_norm::{ChannelMoments, ChannelNorm, Nonlinearity, batch_norm, batch_norm_backward};
pub use conv::{Map, conv3x3, conv3x3_input_backward, conv3x3_weight_backward};
pub use cross_entropy::cross_entropy;
pub use mix::{Taps, mix_rows};
