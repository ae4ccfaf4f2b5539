//! What the official names in a file show: parts of a model, what the file holds, and whether it is another model.

use std::collections::BTreeMap;

use crate::Contents;
use crate::segmenter::is_segmentation_head;
use crate::weights::read::Stored;

/// Which part of a model an official name belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Includes what is unknown: a norm before the blocks, more tokens, parts of other kinds of encoders.
    Encoder,
    Decoder,
    /// Added by fine-tuning and probing.
    Head,
    /// Added by segmentation.
    SegmentationHead,
}

pub(crate) fn part(name: &str) -> Part {
    match name.split('.').next().unwrap_or_default() {
        "head" | "head_dist" | "pre_logits" | "fc_norm" => Part::Head,
        first if is_segmentation_head(first) => Part::SegmentationHead,
        "mask_token" => Part::Decoder,
        first if first.starts_with("decoder_") => Part::Decoder,
        _ => Part::Encoder,
    }
}

impl Contents {
    pub(crate) fn of(tensors: &BTreeMap<String, Stored>) -> Self {
        // Only linear maps have two dimensions; norms do not.
        let rows = |name: &str| match tensors.get(name)?.shape[..] {
            [rows, _] => Some(rows),
            _ => None,
        };
        if let Some(stored) = tensors.get("decode_head.classifier.weight")
            && let [classes, _, 1, 1] = stored.shape[..]
        {
            return Self::Segmenter { classes };
        }
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

/// Parts of names that occur only in other models, and what they belong to.
const OTHERS: [(&str, &str); 15] = [
    ("reg_token", "register tokens"),
    ("register_tokens", "register tokens"),
    ("dist_token", "a distillation token"),
    ("distillation_token", "a distillation token"),
    ("ls1.gamma", "LayerScale"),
    ("layer_scale1", "LayerScale"),
    ("gamma_1", "LayerScale"),
    ("q_norm", "norms of queries and keys"),
    ("norm_pre", "a norm before the blocks"),
    ("mlp.w12", "a SwiGLU"),
    ("weights_in", "a SwiGLU"),
    ("mlp.fc1_g", "a SwiGLU"),
    ("relative_position", "relative positions"),
    ("rope", "rotary positions"),
    ("attn.q_bias", "biases of queries and values alone, as BEiT has"),
];

/// The first name that occurs only in other models, and what it belongs to.
pub(crate) fn part_of_others<'a>(
    names: impl IntoIterator<Item = &'a String>,
) -> Option<(&'a str, &'static str)> {
    names.into_iter().find_map(|name| {
        let (_, what) = OTHERS.iter().find(|(part, _)| name.contains(part))?;
        Some((name.as_str(), *what))
    })
}
