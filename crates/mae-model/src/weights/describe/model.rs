//! The model of a file, as its description states or as its tensors show.

use std::fmt::{self, Debug};

use mae_vit::{Geometry, Pooling, StackConfig, VitConfig};

use crate::weights::file::WeightFile;
use crate::weights::metadata::{CLASSIFIER_KEY, CONFIG_KEY, ENCODER_KEY, SEGMENTER_KEY};
use crate::weights::names::{Part, part, part_of_others};
use crate::weights::said::Said;
use crate::{
    ClassifierConfig, Contents, Head, Hints, MaeConfig, ModelError, NORM_EPS, Preset, Scheme,
    SegmenterConfig, Source, Sourced,
};

/// An encoder's configuration, with the sources of its values.
pub(crate) struct Told {
    pub geometry: Sourced<Geometry>,
    /// Includes the number of heads, whose source is `heads`.
    pub stack: StackConfig,
    pub heads: Source,
    pub norm_eps: Sourced<f64>,
}

/// A tower of a model: the names of its tensors, and of the field for its heads.
struct Tower {
    blocks: &'static str,
    token: &'static str,
    field: &'static str,
    of: fn((StackConfig, StackConfig)) -> StackConfig,
}

const ENCODER: Tower =
    Tower { blocks: "blocks", token: "cls_token", field: "num_heads", of: |(encoder, _)| encoder };
const DECODER: Tower = Tower {
    blocks: "decoder_blocks",
    token: "mask_token",
    field: "decoder_num_heads",
    of: |(_, decoder)| decoder,
};

/// Added to an error if the number of positions fits the patches alone, without a class token.
const NO_EMBED_CLASS: &str = " and the class token (a file without a position for the class token, timm's no_embed_class, \
                              needs a config.json beside it with the size of its images)";

impl WeightFile {
    /// The encoder's configuration.
    ///
    /// # Errors
    /// [`ModelError::Description`] if the file does not state a value, if it contradicts a hint, or if the files around
    /// it say that the model is computed differently. [`ModelError::OtherModel`] if a tensor shows another kind of
    /// model.
    pub fn vit_config(&self, hints: &Hints) -> Result<VitConfig, ModelError> {
        let Told { geometry, stack, norm_eps, .. } = self.told(hints)?;
        Ok(VitConfig { geometry: geometry.value, stack, norm_eps: norm_eps.value })
    }

    /// Like [`vit_config`](Self::vit_config), with the sources of the values.
    pub(crate) fn told(&self, hints: &Hints) -> Result<Told, ModelError> {
        let own = self.tensors.keys().filter(|name| matches!(part(name), Part::Encoder | Part::Decoder));
        if let Some((name, what)) = part_of_others(own) {
            return Err(ModelError::OtherModel { path: self.path.clone(), name: name.into(), what });
        }
        let said = self.says()?;
        let norm_eps = self.agreed("norm_eps", hints, hints.norm_eps, said.norm_eps)?;
        if let Some(VitConfig { geometry, stack, norm_eps }) = self.described_vit()? {
            self.agreed("image_size", hints, hints.image_size, said.image_size)?;
            self.agreed("num_heads", hints, hints.num_heads, said.num_heads)?;
            let (geometry, norm_eps) =
                (Sourced::new(geometry, Source::File), Sourced::new(norm_eps, Source::File));
            return Ok(Told { geometry, stack, heads: Source::File, norm_eps });
        }
        let (stack, heads) = self.stack(&ENCODER, hints, hints.num_heads, said.num_heads)?;
        let usual = if self.scheme == Scheme::Transformers { 1e-12 } else { NORM_EPS };
        let norm_eps = norm_eps.unwrap_or_else(|| Sourced::new(usual, Source::Usual));
        let told = Told { geometry: self.geometry(hints)?, stack, heads, norm_eps };
        self.check_shapes(&told)?;
        Ok(told)
    }

    /// The whole model's configuration.
    ///
    /// # Errors
    /// [`ModelError::NoDecoder`] if there is no decoder; as [`vit_config`](Self::vit_config).
    pub fn mae_config(&self, hints: &Hints) -> Result<MaeConfig, ModelError> {
        Ok(self.told_mae(hints)?.0)
    }

    /// Like [`mae_config`](Self::mae_config), with the sources of the decoder's number of heads and of its targets.
    pub(crate) fn told_mae(&self, hints: &Hints) -> Result<(MaeConfig, Source, Source), ModelError> {
        if !self.tensors.keys().any(|name| part(name) == Part::Decoder) {
            return Err(ModelError::NoDecoder { path: self.path.clone(), contents: self.contents() });
        }
        let VitConfig { geometry, stack: encoder, norm_eps } = self.vit_config(hints)?;
        let said = self.says()?;
        let targets = self.agreed("norm_pix_loss", hints, hints.norm_pix_loss, said.norm_pix_loss)?;
        if let Some(config) = self.described()? {
            self.agreed(DECODER.field, hints, hints.decoder_num_heads, said.decoder_num_heads)?;
            return Ok((config, Source::File, Source::File));
        }
        let (decoder, heads) =
            self.stack(&DECODER, hints, hints.decoder_num_heads, said.decoder_num_heads)?;
        let targets = targets.ok_or_else(|| {
            let option = hints.name("norm_pix_loss");
            self.untold(format!("whether its targets were normalised by patch: set {option}"))
        })?;
        let norm_pix_loss = targets.value;
        Ok((MaeConfig { geometry, encoder, decoder, norm_eps, norm_pix_loss }, heads, targets.source))
    }

    /// The share of patches masked in training, if it is stated.
    pub(crate) fn mask_ratio(&self, hints: &Hints) -> Result<Option<f64>, ModelError> {
        let said = self.said()?.mask_ratio.clone();
        Ok(self.agreed("mask_ratio", hints, hints.mask_ratio, said)?.map(|said| said.value))
    }

    /// What the files around the tensors say.
    pub(crate) fn said(&self) -> Result<&Said, ModelError> {
        let refuse =
            |reason: &String| ModelError::Description { path: self.path.clone(), reason: reason.clone() };
        self.said.as_ref().map_err(refuse)
    }

    /// What the file itself says, else what the files around its tensors say.
    pub(crate) fn says(&self) -> Result<Said, ModelError> {
        let mut said = self.said()?.clone();
        if let Some(VitConfig { geometry, stack, norm_eps }) = self.described_vit()? {
            said.image_size = Some(Sourced::new(geometry.image_size(), Source::File));
            said.num_heads = Some(Sourced::new(stack.num_heads, Source::File));
            said.norm_eps = Some(Sourced::new(norm_eps, Source::File));
        }
        if let Some(config) = self.described()? {
            said.decoder_num_heads = Some(Sourced::new(config.decoder.num_heads, Source::File));
            said.norm_pix_loss = Some(Sourced::new(config.norm_pix_loss, Source::File));
        }
        Ok(said)
    }

    /// Returns the stated value, else the caller's hint. Fails if both are given and differ.
    fn agreed<T: PartialEq + Debug>(
        &self,
        field: &str,
        hints: &Hints,
        hint: Option<T>,
        said: Option<Sourced<T>>,
    ) -> Result<Option<Sourced<T>>, ModelError> {
        match (hint, said) {
            (Some(hint), Some(Sourced { value, source })) if hint != value => Err(ModelError::Description {
                path: self.path.clone(),
                reason: format!("{} is {hint:?}, but {source} says {value:?}", hints.name(field)),
            }),
            (_, Some(said)) => Ok(Some(said)),
            (hint, None) => Ok(hint.map(|hint| Sourced::new(hint, Source::Caller))),
        }
    }

    /// Checks that the stated configuration matches the tensors.
    fn check_shapes(&self, told: &Told) -> Result<(), ModelError> {
        for (key, said) in &self.said()?.shapes {
            let found = match *key {
                "hidden_size" | "embed_dim" => told.stack.embed_dim,
                "num_hidden_layers" | "depth" => told.stack.depth,
                "intermediate_size" => told.stack.mlp_dim,
                "num_channels" | "in_chans" => told.geometry.value.in_chans(),
                _ => told.geometry.value.patch_size(),
            };
            if found != *said {
                let reason = format!("its config.json says {key} = {said}, but its tensors have {found}");
                return Err(ModelError::Description { path: self.path.clone(), reason });
            }
        }
        Ok(())
    }

    /// The configuration of the encoder with its classifier. If the file has no class names, the classes are named by
    /// their numbers.
    ///
    /// # Errors
    /// [`ModelError::Description`] if the file does not state a value or has no classifier; as
    /// [`vit_config`](Self::vit_config).
    pub fn classifier_config(&self, hints: &Hints) -> Result<ClassifierConfig, ModelError> {
        if let Some(config) = self.described_classifier()? {
            return Ok(config);
        }
        let (head, classes) = match self.contents() {
            Contents::FineTuned { classes } => (Head::FineTuned, classes),
            Contents::Probe { classes } => (Head::Probe, classes),
            other => return Err(self.untold(format!("which classes it has: it holds {other}"))),
        };
        // The official code has this norm when it fine-tunes on means. It probes class tokens.
        let means = self.tensors.contains_key("fc_norm.weight");
        let pooling = if means { Pooling::MeanPatch } else { Pooling::ClassToken };
        let classes = (0..classes).map(|class| class.to_string()).collect();
        Ok(ClassifierConfig { vit: self.vit_config(hints)?, pooling, head, classes, multi_label: false })
    }

    /// The configuration of an encoder with a segmentation head.
    ///
    /// # Errors
    /// [`ModelError::Description`] if the file has none or a malformed one; as [`SegmenterConfig::check`].
    pub fn segmenter_config(&self) -> Result<SegmenterConfig, ModelError> {
        let Some(config) = self.described_segmenter()? else {
            let contents = self.contents();
            return Err(self.untold(format!("which segmentation head it has: it holds {contents}")));
        };
        config.check()?;
        Ok(config)
    }

    /// Whether its norm applies to the mean of tokens.
    ///
    /// # Errors
    /// [`ModelError::Description`] if there is a norm both before and after the mean, or if the file says otherwise.
    pub(crate) fn norms_mean(&self) -> Result<bool, ModelError> {
        let has = |name: &str| self.tensors.contains_key(name);
        let refuse =
            |reason: &str| ModelError::Description { path: self.path.clone(), reason: reason.into() };
        let (tokens, mean) = (has("norm.weight"), has("fc_norm.weight"));
        if tokens && mean {
            return Err(refuse(
                "it has norm and fc_norm: norms both before and after the mean of tokens are not supported",
            ));
        }
        match self.described_classifier()?.map(|config| config.norms_mean()) {
            Some(true) if tokens => {
                Err(refuse("it says that its norm is after the mean of tokens, but has norm"))
            }
            Some(false) if mean => Err(refuse("it says that its norm is of tokens, but has fc_norm")),
            _ => Ok(mean),
        }
    }

    /// From the file's own description.
    fn described(&self) -> Result<Option<MaeConfig>, ModelError> {
        self.parsed(CONFIG_KEY)
    }

    fn described_vit(&self) -> Result<Option<VitConfig>, ModelError> {
        if let Some(config) = self.described()? {
            return Ok(Some(config.vit()));
        }
        if let Some(config) = self.described_classifier()? {
            return Ok(Some(config.vit));
        }
        match self.described_segmenter()? {
            Some(config) => Ok(Some(config.vit)),
            None => self.parsed(ENCODER_KEY),
        }
    }

    /// From the file's own description.
    fn described_classifier(&self) -> Result<Option<ClassifierConfig>, ModelError> {
        self.parsed(CLASSIFIER_KEY)
    }

    /// From the file's own description.
    fn described_segmenter(&self) -> Result<Option<SegmenterConfig>, ModelError> {
        self.parsed(SEGMENTER_KEY)
    }

    /// Checks that the file is large enough for the model that it describes, before memory is allocated.
    pub(crate) fn check_size(&self, geometry: &Geometry, stacks: &[StackConfig]) -> Result<(), ModelError> {
        self.check_size_with(geometry, stacks, 0.0)
    }

    /// Like [`check_size`](Self::check_size), for a model with `besides` more parameters.
    pub(crate) fn check_size_with(
        &self,
        geometry: &Geometry,
        stacks: &[StackConfig],
        besides: f64,
    ) -> Result<(), ModelError> {
        // In floating point, because a file may claim any size.
        let number = |n: usize| n as f64;
        let (height, width) = geometry.image_size();
        let patches = number(height) * number(width) / number(geometry.patch_size()).powi(2);
        let tower = |stack: &StackConfig| {
            let (dim, mlp) = (number(stack.embed_dim), number(stack.mlp_dim));
            dim * (number(stack.depth) * (4.0 * dim + 2.0 * mlp) + patches)
        };
        let claimed = besides + stacks.iter().map(tower).sum::<f64>();
        let held: f64 = self
            .tensors
            .values()
            .map(|stored| stored.shape.iter().map(|side| number(*side)).product::<f64>())
            .sum();
        if claimed <= held {
            return Ok(());
        }
        let reason = format!(
            "it describes a model of at least {:.1} M numbers, but holds {:.1} M",
            claimed / 1e6,
            held / 1e6
        );
        Err(ModelError::Description { path: self.path.clone(), reason })
    }

    fn untold(&self, what: impl fmt::Display) -> ModelError {
        ModelError::Description { path: self.path.clone(), reason: format!("it does not say {what}") }
    }

    /// A tensor's shape, which must have `N` dimensions.
    fn shape<const N: usize>(&self, name: &str) -> Result<[usize; N], ModelError> {
        let stored = self.tensors.get(name).ok_or_else(|| ModelError::Mismatch {
            path: self.path.clone(),
            missing: vec![name.into()],
            unknown: Vec::new(),
        })?;
        stored.shape.as_slice().try_into().map_err(|_| {
            self.untold(format!(
                "how to read {} of shape {:?}, which must have {N} dimensions",
                stored.name, stored.shape
            ))
        })
    }

    /// `[D, C, P, P]`
    pub(crate) fn patch_embed(&self) -> Result<[usize; 4], ModelError> {
        self.shape("patch_embed.proj.weight")
    }

    fn geometry(&self, hints: &Hints) -> Result<Sourced<Geometry>, ModelError> {
        let [_, channels, patch, columns] = self.patch_embed()?;
        let [_, tokens, _] = self.shape("pos_embed")?;
        if patch != columns {
            return Err(self.untold(format!(
                "how to use patches of {patch} x {columns} pixels: only squares are supported"
            )));
        }
        let patches = tokens.saturating_sub(1);
        let side = patches.isqrt();
        let told = self.agreed("image_size", hints, hints.image_size, self.said()?.image_size.clone())?;
        let Sourced { value: size, source } = match told {
            Some(told) => told,
            None if side * side == patches => Sourced::new((side * patch, side * patch), Source::Tensors),
            None => {
                let square = tokens.isqrt().pow(2) == tokens;
                let unless = if square { NO_EMBED_CLASS } else { "" };
                return Err(self.untold(format!(
                    "the size of its images: {patches} patches of {patch} px{unless} do not form a square; \
                     set {}",
                    hints.name("image_size")
                )));
            }
        };
        let refuse = |reason: String| ModelError::Description { path: self.path.clone(), reason };
        let geometry = Geometry::new(size, patch, channels).map_err(|error| refuse(error.to_string()))?;
        if geometry.num_patches() != patches {
            let unless = if geometry.num_patches() == tokens { NO_EMBED_CLASS } else { "" };
            return Err(refuse(format!(
                "images of {} x {} px have {} patches of {patch} px, but the file has positions for {patches}{unless}",
                size.0,
                size.1,
                geometry.num_patches()
            )));
        }
        Ok(Sourced::new(geometry, source))
    }

    /// The configuration of a tower's blocks, and the source of its number of heads.
    fn stack(
        &self,
        tower: &Tower,
        hints: &Hints,
        hint: Option<usize>,
        said: Option<Sourced<usize>>,
    ) -> Result<(StackConfig, Source), ModelError> {
        let blocks = tower.blocks;
        let [_, _, embed_dim] = self.shape(tower.token)?;
        let [mlp_dim, _] = self.shape(&format!("{blocks}.0.mlp.fc1.weight"))?;
        let index =
            |name: &String| name.strip_prefix(blocks)?.strip_prefix('.')?.split('.').next()?.parse().ok();
        let depth =
            self.tensors.keys().filter_map(index).max().map_or(0, |last: usize| last.saturating_add(1));
        // A name may claim a higher index than there are tensors.
        if depth > self.tensors.len() {
            return Err(self.untold(format!("which {blocks} it has: the last is number {}", depth - 1)));
        }
        let told = self.agreed(tower.field, hints, hint, said)?;
        let heads = told.or_else(|| self.usual_heads(tower, embed_dim)).ok_or_else(|| {
            let option = hints.name(tower.field);
            self.untold(format!("how many heads its {blocks} of width {embed_dim} have: set {option}"))
        })?;
        Ok((StackConfig { embed_dim, depth, num_heads: heads.value, mlp_dim }, heads.source))
    }

    /// The number of heads of the published model of this width; no tensor shows it.
    fn usual_heads(&self, tower: &Tower, width: usize) -> Option<Sourced<usize>> {
        // MoCo-v3's `vits.py` has twelve heads at this width, all others six.
        let moco = self.prefix.split('.').any(|part| part == "base_encoder" || part == "momentum_encoder");
        if moco && width == 384 {
            return Some(Sourced::new(12, Source::Usual));
        }
        // Our preset for small images is not published.
        let published = Preset::ALL.into_iter().filter(|preset| *preset != Preset::Nano);
        let stack =
            published.map(|preset| (tower.of)(preset.stacks())).find(|stack| stack.embed_dim == width);
        Some(Sourced::new(stack?.num_heads, Source::Usual))
    }
}
