//! What part of a model a file holds.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::names::{Part, part};
use super::stored::Stored;

/// What part of a model a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Contents {
    /// Encoder and decoder.
    Full,
    /// The encoder alone.
    Encoder,
    /// An encoder with the head of contrastive learning, which is of no use here: MoCo-v3's, DINO's.
    Projected,
    /// An encoder that was fine-tuned, with its classifier.
    FineTuned {
        /// Its classes.
        classes: usize,
    },
    /// An encoder with a linear probe.
    Probe {
        /// Its classes.
        classes: usize,
    },
}

impl Contents {
    pub(super) fn of(tensors: &BTreeMap<String, Stored>) -> Self {
        // Linear maps, not norms.
        let rows = |name: &str| match tensors.get(name)?.shape[..] {
            [rows, _] => Some(rows),
            _ => None,
        };
        // A probe is a batch norm, head.0, and a linear layer, head.1.
        match (
            rows("head.weight"),
            rows("head.1.weight").filter(|_| tensors.contains_key("head.0.running_mean")),
        ) {
            (_, Some(classes)) => Self::Probe { classes },
            (Some(classes), _) => Self::FineTuned { classes },
            _ if tensors.keys().any(|name| part(name) == Part::Decoder) => Self::Full,
            _ if tensors.keys().any(|name| name.starts_with("head.")) => Self::Projected,
            _ => Self::Encoder,
        }
    }
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => write!(f, "encoder and decoder"),
            Self::Encoder => write!(f, "an encoder alone"),
            Self::Projected => write!(f, "an encoder with a projection head, as contrastive learning has"),
            Self::FineTuned { classes } => write!(f, "an encoder fine-tuned to {classes} classes"),
            Self::Probe { classes } => write!(f, "an encoder with a linear probe of {classes} classes"),
        }
    }
}
