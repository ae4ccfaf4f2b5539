//! What model a file holds: as it says, or as its tensors show.

use std::collections::BTreeMap;
use std::fmt;

use mae_vit::{Geometry, Pooling, StackConfig, VitConfig};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::file::WeightFile;
use super::names::{Part, part};
use super::stored::Stored;
use crate::{ClassifierConfig, Head, MaeConfig, ModelError, NORM_EPS, Preset, Scheme};

/// Metadata keys of the description.
pub(super) const CONFIG_KEY: &str = "mae.config";
pub(super) const CLASSIFIER_KEY: &str = "mae.classifier";
pub(super) const NORMALIZE_KEY: &str = "mae.normalize";

/// What part of a model a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Contents {
    /// Encoder and decoder.
    Full,
    /// The encoder alone.
    Encoder,
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
        let rows = |name: &str| tensors.get(name).and_then(|stored| stored.shape.first().copied());
        // A probe is a batch norm, head.0, and a linear layer, head.1.
        match (rows("head.weight"), rows("head.1.weight")) {
            (_, Some(classes)) => Self::Probe { classes },
            (Some(classes), _) => Self::FineTuned { classes },
            _ if tensors.keys().any(|name| part(name) == Part::Decoder) => Self::Full,
            _ => Self::Encoder,
        }
    }
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => write!(f, "encoder and decoder"),
            Self::Encoder => write!(f, "an encoder alone"),
            Self::FineTuned { classes } => write!(f, "an encoder fine-tuned to {classes} classes"),
            Self::Probe { classes } => write!(f, "an encoder with a linear probe of {classes} classes"),
        }
    }
}

/// What to take for granted where a file does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Hints {
    /// Height and width in pixels: a square otherwise.
    pub image_size: Option<(usize, usize)>,
    /// The encoder's heads: those of the published width otherwise.
    pub num_heads: Option<usize>,
    /// The decoder's heads: those of the published width otherwise.
    pub decoder_num_heads: Option<usize>,
    /// Whether the targets were normalised by patch.
    pub norm_pix_loss: Option<bool>,
    /// Epsilon of the layer norms: 1e-6 otherwise, and 1e-12 under transformers' names, as each of them has it.
    pub norm_eps: Option<f64>,
}

pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("descriptions have string keys and finite numbers")
}

impl WeightFile {
    /// The encoder's description.
    ///
    /// # Errors
    /// [`ModelError::Description`] says what the file does not tell.
    pub fn vit_config(&self, hints: &Hints) -> Result<VitConfig, ModelError> {
        if let Some(config) = self.described()? {
            return Ok(config.vit());
        }
        if let Some(config) = self.described_classifier()? {
            return Ok(config.vit);
        }
        let heads =
            self.heads(hints.num_heads, "num_attention_heads", "num_heads", "blocks", |preset| preset.0);
        let stack = self.stack("blocks", "cls_token", heads)?;
        let usual = if self.scheme == Scheme::Transformers { 1e-12 } else { NORM_EPS };
        let norm_eps = hints.norm_eps.or(self.number("layer_norm_eps")).unwrap_or(usual);
        Ok(VitConfig { geometry: self.geometry(hints)?, stack, norm_eps })
    }

    /// The whole model's description.
    ///
    /// # Errors
    /// [`ModelError::NoDecoder`] if there is only a part of one; [`ModelError::Description`] says what the file does not
    /// tell.
    pub fn mae_config(&self, hints: &Hints) -> Result<MaeConfig, ModelError> {
        if !self.tensors.keys().any(|name| part(name) == Part::Decoder) {
            return Err(ModelError::NoDecoder { path: self.path.clone(), contents: self.contents() });
        }
        if let Some(config) = self.described()? {
            return Ok(config);
        }
        let VitConfig { geometry, stack: encoder, norm_eps } = self.vit_config(hints)?;
        let heads = self.heads(
            hints.decoder_num_heads,
            "decoder_num_attention_heads",
            "decoder_num_heads",
            "decoder_blocks",
            |preset| preset.1,
        );
        let decoder = self.stack("decoder_blocks", "mask_token", heads)?;
        let said = self.configs[0].as_ref().and_then(|config| config.get("norm_pix_loss")?.as_bool());
        let norm_pix_loss = hints.norm_pix_loss.or(said).ok_or_else(|| {
            self.untold("whether its targets were normalised by patch: say so by norm_pix_loss")
        })?;
        Ok(MaeConfig { geometry, encoder, decoder, norm_eps, norm_pix_loss })
    }

    /// The description of an encoder with its classifier, whose classes are named by their numbers where the file has no
    /// names.
    ///
    /// # Errors
    /// [`ModelError::Description`] says what the file does not tell, or that it has no classifier.
    pub fn classifier_config(&self, hints: &Hints) -> Result<ClassifierConfig, ModelError> {
        if let Some(config) = self.described_classifier()? {
            return Ok(config);
        }
        let (head, classes) = match self.contents() {
            Contents::FineTuned { classes } => (Head::FineTuned, classes),
            Contents::Probe { classes } => (Head::Probe, classes),
            other => return Err(self.untold(format!("what classes there are: it holds {other}"))),
        };
        // The official code has this norm where it fine-tunes on means, and probes class tokens.
        let means = self.tensors.contains_key("fc_norm.weight");
        let pooling = if means { Pooling::MeanPatch } else { Pooling::ClassToken };
        let classes = (0..classes).map(|class| class.to_string()).collect();
        Ok(ClassifierConfig { vit: self.vit_config(hints)?, pooling, head, classes })
    }

    /// As the file itself says.
    fn described(&self) -> Result<Option<MaeConfig>, ModelError> {
        self.parsed(CONFIG_KEY)
    }

    /// As the file itself says.
    fn described_classifier(&self) -> Result<Option<ClassifierConfig>, ModelError> {
        self.parsed(CLASSIFIER_KEY)
    }

    fn parsed<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, ModelError> {
        let Some(text) = self.metadata.get(key) else { return Ok(None) };
        let refuse = |e: serde_json::Error| ModelError::Description {
            path: self.path.clone(),
            reason: format!("'{key}': {e}"),
        };
        serde_json::from_str(text).map(Some).map_err(refuse)
    }

    /// That the file is long enough for the model that it describes, before memory is asked for.
    pub(super) fn check_size(&self, geometry: &Geometry, stacks: &[StackConfig]) -> Result<(), ModelError> {
        // In floating point: what is claimed may be any number.
        let number = |n: usize| n as f64;
        let (height, width) = geometry.image_size();
        let patches = number(height) * number(width) / number(geometry.patch_size()).powi(2);
        let tower = |stack: &StackConfig| {
            let (dim, mlp) = (number(stack.embed_dim), number(stack.mlp_dim));
            dim * (number(stack.depth) * (4.0 * dim + 2.0 * mlp) + patches)
        };
        let claimed: f64 = stacks.iter().map(tower).sum();
        let held: f64 = self
            .tensors
            .values()
            .map(|stored| stored.shape.iter().map(|side| number(*side)).product::<f64>())
            .sum();
        if claimed <= held {
            return Ok(());
        }
        let reason = format!(
            "it describes a model of {:.1} M numbers and more, but holds {:.1} M",
            claimed / 1e6,
            held / 1e6
        );
        Err(ModelError::Description { path: self.path.clone(), reason })
    }

    fn untold(&self, what: impl fmt::Display) -> ModelError {
        ModelError::Description { path: self.path.clone(), reason: format!("it does not say {what}") }
    }

    /// A number of transformers' configuration.
    fn number(&self, key: &str) -> Option<f64> {
        self.configs[0].as_ref()?.get(key)?.as_f64()
    }

    /// A tensor's shape, of so many dimensions.
    fn shape<const N: usize>(&self, name: &str) -> Result<[usize; N], ModelError> {
        let stored = self.tensors.get(name).ok_or_else(|| ModelError::Mismatch {
            path: self.path.clone(),
            missing: vec![name.into()],
            unknown: Vec::new(),
        })?;
        stored.shape.as_slice().try_into().map_err(|_| {
            self.untold(format!(
                "what {} of shape {:?} is, which has {N} dimensions",
                stored.name, stored.shape
            ))
        })
    }

    /// `[D, C, P, P]`
    pub(super) fn patch_embed(&self) -> Result<[usize; 4], ModelError> {
        self.shape("patch_embed.proj.weight")
    }

    fn geometry(&self, hints: &Hints) -> Result<Geometry, ModelError> {
        let [_, channels, patch, columns] = self.patch_embed()?;
        let [_, tokens, _] = self.shape("pos_embed")?;
        if patch != columns {
            return Err(self
                .untold(format!("how to use patches of {patch} x {columns} pixels: they are squares here")));
        }
        let patches = tokens.saturating_sub(1);
        let side = patches.isqrt();
        let size = match hints.image_size {
            Some(size) => size,
            None if side * side == patches => (side * patch, side * patch),
            None => {
                return Err(self.untold(format!(
                    "the size of its images, which {patches} patches of {patch} px make and which are no square: say so \
                     by image_size"
                )));
            }
        };
        let refuse = |reason: String| ModelError::Description { path: self.path.clone(), reason };
        let geometry = Geometry::new(size, patch, channels).map_err(|error| refuse(error.to_string()))?;
        if geometry.num_patches() != patches {
            return Err(refuse(format!(
                "images of {} x {} px have {} patches of {patch} px, but the file has positions for {patches}",
                size.0,
                size.1,
                geometry.num_patches()
            )));
        }
        Ok(geometry)
    }

    fn stack(
        &self,
        blocks: &str,
        token: &str,
        heads: Result<usize, ModelError>,
    ) -> Result<StackConfig, ModelError> {
        let [_, _, embed_dim] = self.shape(token)?;
        let [mlp_dim, _] = self.shape(&format!("{blocks}.0.mlp.fc1.weight"))?;
        let index =
            |name: &String| name.strip_prefix(blocks)?.strip_prefix('.')?.split('.').next()?.parse().ok();
        let depth =
            self.tensors.keys().filter_map(index).max().map_or(0, |last: usize| last.saturating_add(1));
        // A name that counts further than there are tensors.
        if depth > self.tensors.len() {
            return Err(self.untold(format!("what {blocks} there are: the last is number {}", depth - 1)));
        }
        Ok(StackConfig { embed_dim, depth, num_heads: heads?, mlp_dim })
    }

    /// The number of heads, which no tensor shows.
    fn heads(
        &self,
        hint: Option<usize>,
        key: &str,
        option: &str,
        blocks: &str,
        of: impl Fn((StackConfig, StackConfig)) -> StackConfig,
    ) -> Result<usize, ModelError> {
        let [_, width] = self.shape(&format!("{blocks}.0.attn.proj.weight"))?;
        let published = || {
            let stacks = Preset::ALL.into_iter().map(|preset| of(preset.stacks()));
            stacks.into_iter().find(|stack| stack.embed_dim == width).map(|stack| stack.num_heads)
        };
        // Ours for small images is not published.
        let published = || published().filter(|_| width != Preset::Nano.stacks().0.embed_dim);
        let said = self.number(key).map(|heads| heads as usize);
        hint.or(said).or_else(published).ok_or_else(|| {
            self.untold(format!("how many heads its {blocks} of width {width} have: say so by {option}"))
        })
    }
}
