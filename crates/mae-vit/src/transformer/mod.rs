//! The vision transformer: its layers, its blocks, and its attention weights.

mod attention;
mod block;
mod drop_path;
mod layers;
mod vit;

pub use block::{Attention, Block, Mlp};
pub use drop_path::DropPath;
pub use layers::{LayerNorm, Linear};
pub use vit::{PatchEmbed, Pooling, StackConfig, VisionTransformer, VitConfig};
