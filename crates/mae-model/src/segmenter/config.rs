//! The description of a segmenter.

use std::fmt;

use mae_vit::{StackConfig, VitConfig, VitError};
use serde::{Deserialize, Serialize};

use crate::ModelError;

/// The configuration of a [`Segmenter`](crate::Segmenter): everything but its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmenterConfig {
    /// The encoder, for images of the training crop's size.
    pub vit: VitConfig,
    /// The head that computes logits from its tokens.
    pub head: SegmentationHead,
    /// Names of the classes, in the order of the labels.
    pub classes: Vec<String>,
}

/// How per-pixel logits are computed from an encoder's tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SegmentationHead {
    /// A batch norm and a 1 x 1 convolution on the last block's tokens, after the encoder's norm. The encoder is
    /// usually frozen.
    ///
    /// # Source
    /// DINOv2 (arXiv 2304.07193) section 7.4, linear evaluation.
    Linear,
    /// A pyramid of feature maps, and a head that fuses it.
    UperNet(UperNetConfig),
}

/// A UPerNet head, as MAE and BEiT use it.
///
/// # Source
/// UPerNet, arXiv 1807.10221; MAE section A.4; BEiT's `upernet_beit` configurations for mmsegmentation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UperNetConfig {
    /// Channels of all feature maps in the head.
    pub channels: usize,
    /// The blocks, counted from 1, whose tokens make the pyramid, from its finest map to its coarsest. These tokens do
    /// not pass through the encoder's norm, which is unused.
    pub blocks: [usize; 4],
    /// Sides of the grids of bins to which the coarsest map is pooled.
    pub pool_scales: Vec<usize>,
    /// A second head, used only in training.
    pub auxiliary: Option<AuxiliaryConfig>,
    /// The share of channels that is dropped before the classifier in training.
    pub dropout: f64,
}

/// A head of one 3 x 3 convolution on the third map of the pyramid.
///
/// # Source
/// FCN, arXiv 1411.4038; mmsegmentation's `FCNHead` in the configurations of UPerNet, with 0.4 of the loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuxiliaryConfig {
    /// Channels of the convolution.
    pub channels: usize,
}

impl fmt::Display for SegmentationHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::UperNet(UperNetConfig { channels, blocks: [first, second, third, fourth], .. }) = self
        else {
            return f.write_str("linear, on the tokens of the last block");
        };
        write!(
            f,
            "UPerNet of {channels} channels on the tokens after blocks {first}, {second}, {third} and {fourth}"
        )
    }
}

impl UperNetConfig {
    /// The published configuration for an encoder: as many channels as its width, and tokens after a third, a half and
    /// two thirds of the blocks and after the last.
    pub fn for_encoder(stack: &StackConfig) -> Self {
        let depth = stack.depth;
        let first = (depth / 3).max(1);
        let second = (depth / 2).max(first + 1);
        let third = (2 * depth / 3).max(second + 1);
        Self {
            channels: stack.embed_dim,
            blocks: [first, second, third, depth],
            pool_scales: vec![1, 2, 3, 6],
            auxiliary: Some(AuxiliaryConfig { channels: 256 }),
            dropout: 0.1,
        }
    }
}

/// Limits of what a segmenter supports.
mod bounds {
    /// The finest map of the pyramid has a score every quarter of a patch: every 8 px at this size.
    pub const COARSEST_PATCH: usize = 32;
    /// The coarsest map of the pyramid has half as many rows and columns as there are patches.
    pub const SMALLEST_GRID: usize = 2;
    pub const FEWEST_CLASSES: usize = 2;
}

impl SegmenterConfig {
    /// Checks the description.
    ///
    /// # Errors
    /// [`ModelError::Config`] if the encoder is inconsistent or there are fewer than two classes. For a UPerNet, also
    /// if channels or a pool scale are 0, or dropout is outside `[0, 1)`; if a block does not exist or the blocks do
    /// not increase; or if the patches are too coarse or too few for the pyramid.
    pub fn check(&self) -> Result<(), ModelError> {
        self.vit.validate().map_err(|source| ModelError::Config { part: "encoder", source })?;
        at_least("the number of classes", self.classes.len(), bounds::FEWEST_CLASSES)?;
        match &self.head {
            SegmentationHead::Linear => Ok(()),
            SegmentationHead::UperNet(head) => head.check(&self.vit),
        }
    }

    /// The smallest training batch. Batch norms need two values per channel, and pooling to a single bin leaves one per
    /// image.
    pub fn min_batch(&self) -> usize {
        let (pools_to_one, patches) = match &self.head {
            SegmentationHead::Linear => (false, self.vit.geometry.num_patches()),
            SegmentationHead::UperNet(head) => {
                let (rows, columns) = self.vit.geometry.grid();
                (head.pool_scales.contains(&1), (rows / 2) * (columns / 2))
            }
        };
        if pools_to_one || patches == 1 { 2 } else { 1 }
    }
}

impl UperNetConfig {
    fn check(&self, vit: &VitConfig) -> Result<(), ModelError> {
        at_least("channels", self.channels, 1)?;
        for scale in &self.pool_scales {
            at_least("a pool scale", *scale, 1)?;
        }
        if let Some(AuxiliaryConfig { channels }) = self.auxiliary {
            at_least("auxiliary.channels", channels, 1)?;
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(refused("dropout", self.dropout, "in [0, 1)".into()));
        }
        let depth = vit.stack.depth;
        let mut before = 0;
        for block in self.blocks {
            if block <= before || block > depth {
                let bound = format!(
                    "larger than the one before and at most {depth}, the encoder's depth: blocks are {:?}",
                    self.blocks
                );
                return Err(refused("a block of the pyramid", block as f64, bound));
            }
            before = block;
        }
        let geometry = vit.geometry;
        if geometry.patch_size() > bounds::COARSEST_PATCH {
            let bound = format!(
                "at most {}: a finer patch is needed for the pyramid of UPerNet",
                bounds::COARSEST_PATCH
            );
            return Err(refused("patch_size", geometry.patch_size() as f64, bound));
        }
        let (rows, columns) = geometry.grid();
        at_least("the number of rows of patches", rows, bounds::SMALLEST_GRID)?;
        at_least("the number of columns of patches", columns, bounds::SMALLEST_GRID)
    }
}

fn at_least(name: &'static str, value: usize, least: usize) -> Result<(), ModelError> {
    match value < least {
        true => Err(refused(name, value as f64, format!("at least {least}"))),
        false => Ok(()),
    }
}

fn refused(name: &'static str, value: f64, bound: String) -> ModelError {
    ModelError::Config { part: "segmenter", source: VitError::OutOfRange { name, value, bound } }
}
