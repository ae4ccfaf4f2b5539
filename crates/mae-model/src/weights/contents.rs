//! The part of a model that a file holds.

use std::fmt;

use serde::Serialize;

/// The part of a model that a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Contents {
    /// Encoder and decoder.
    Full,
    /// The encoder alone.
    Encoder,
    /// An encoder with the projection head of contrastive learning (MoCo-v3, DINO), which is not used here.
    Projected,
    /// A fine-tuned encoder with its classifier.
    FineTuned {
        /// The number of classes.
        classes: usize,
    },
    /// An encoder with a linear probe.
    Probe {
        /// The number of classes.
        classes: usize,
    },
    /// An encoder with a segmentation head.
    Segmenter {
        /// The number of classes.
        classes: usize,
    },
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => write!(f, "encoder and decoder"),
            Self::Encoder => write!(f, "an encoder alone"),
            Self::Projected => write!(f, "an encoder with a projection head, as contrastive learning has"),
            Self::FineTuned { classes } => write!(f, "an encoder fine-tuned to {classes} classes"),
            Self::Probe { classes } => write!(f, "an encoder with a linear probe of {classes} classes"),
            Self::Segmenter { classes } => {
                write!(f, "an encoder with a segmentation head of {classes} classes")
            }
        }
    }
}
