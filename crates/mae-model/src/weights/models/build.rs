//! Builds models from a file.

use std::collections::HashMap;

use burn::module::Module;
use burn::tensor::{Device, TensorData};
use mae_vit::{Geometry, InitRng, LayerNorm, Pooling, VisionTransformer};

use crate::features::{FeatureExtractor, Normed};
use crate::params::{replace_params, visit_params};
use crate::weights::file::WeightFile;
use crate::weights::names::{Part, from_official, official_name, official_shape, part};
use crate::{
    Classifier, ClassifierConfig, Contents, Hints, Mae, ModelError, SegmentationHead, Segmenter,
    SegmenterConfig,
};

/// Which of a file's tensors went into a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Official names of the tensors that were used.
    pub used: Vec<String>,
    /// Names in the file of all other tensors.
    pub unused: Vec<String>,
}

impl WeightFile {
    /// Builds the extractor of the features that the model defines, and returns which tensors it uses. By default, the
    /// features are pooled like those of its classifier, or are the mean of the patch tokens if it has none.
    ///
    /// # Errors
    /// If the file does not state the encoder's shape, or lacks one of its tensors or has more of them; if a tensor has
    /// another shape or dtype, or infinities or NaNs. [`ModelError::NoTokenNorm`] if the class token is requested and
    /// the model was fine-tuned on means.
    pub fn features(
        &self,
        pooling: Option<Pooling>,
        hints: &Hints,
        device: &Device,
    ) -> Result<(FeatureExtractor, Used), ModelError> {
        let head = match self.contents() {
            Contents::FineTuned { .. } | Contents::Probe { .. } => Some(self.classifier_config(hints)?),
            _ => None,
        };
        let norms_mean = self.norms_mean()?;
        let usual = head.as_ref().map_or_else(Pooling::default, |config| config.pooling);
        let pooling = pooling.unwrap_or(if norms_mean { Pooling::MeanPatch } else { usual });
        let normed = match (norms_mean, pooling, head) {
            (true, Pooling::MeanPatch, _) => Normed::Pooled,
            (true, Pooling::ClassToken, _) => {
                return Err(ModelError::NoTokenNorm { path: self.path.clone() });
            }
            // As its classifier does.
            (false, Pooling::ClassToken, Some(config)) => config.normed(),
            (false, ..) => Normed::Tokens,
        };
        let (encoder, used) = self.bare_encoder(hints, device)?;
        Ok((FeatureExtractor::assemble(encoder, pooling, normed), used))
    }

    /// Builds the encoder, which normalises its tokens, and returns which tensors it uses. Unlike this,
    /// [`features`](Self::features) works with every file.
    ///
    /// # Errors
    /// As [`features`](Self::features); [`ModelError::NoTokenNorm`] if the model was fine-tuned on means.
    pub fn encoder(&self, hints: &Hints, device: &Device) -> Result<(VisionTransformer, Used), ModelError> {
        match self.norms_mean()? {
            true => Err(ModelError::NoTokenNorm { path: self.path.clone() }),
            false => self.bare_encoder(hints, device),
        }
    }

    /// Builds a classifier from the encoder and a new head, as [`Classifier::new`] does, and returns which tensors the
    /// encoder uses.
    ///
    /// # Errors
    /// As [`features`](Self::features); [`ModelError::NoTokenNorm`] if the model was fine-tuned on means and the new
    /// one is not, because it would need a norm that the file does not have.
    pub fn new_classifier(
        &self,
        config: ClassifierConfig,
        seed: u64,
        hints: &Hints,
        device: &Device,
    ) -> Result<(Classifier, Used), ModelError> {
        // A classifier on means gets a new norm.
        let (encoder, used) = match config.norms_mean() {
            true => self.bare_encoder(hints, device)?,
            false => self.encoder(hints, device)?,
        };
        Ok((Classifier::new(encoder, config, seed, device), used))
    }

    /// The encoder with its norm, whether that applies to tokens or to their mean.
    fn bare_encoder(&self, hints: &Hints, device: &Device) -> Result<(VisionTransformer, Used), ModelError> {
        let config = self.vit_config(hints)?;
        self.check_size(&config.geometry, &[config.stack])?;
        let encoder = config
            .init(&mut InitRng::new(0), device)
            .map_err(|source| ModelError::Config { part: "encoder", source })?;
        let norms_mean = self.norms_mean()?;
        let name = |path: &str| match path.strip_prefix("norm.") {
            Some(kind) if norms_mean => format!("fc_norm.{kind}"),
            _ => official_name(path),
        };
        self.replace(encoder, &config.geometry, name, |part| part == Part::Encoder)
    }

    /// Builds the whole model, and returns which tensors it uses.
    ///
    /// # Errors
    /// As [`features`](Self::features); [`ModelError::NoDecoder`] if there is no decoder.
    pub fn mae(&self, hints: &Hints, device: &Device) -> Result<(Mae, Used), ModelError> {
        let config = self.mae_config(hints)?;
        self.check_size(&config.geometry, &[config.encoder, config.decoder])?;
        let model = config.init(0, device)?;
        self.replace(model, &config.geometry, official_name, |part| {
            matches!(part, Part::Encoder | Part::Decoder)
        })
    }

    /// Builds the encoder with its classifier, and returns which tensors they use.
    ///
    /// # Errors
    /// As [`features`](Self::features); if there is no classifier.
    pub fn classifier(&self, hints: &Hints, device: &Device) -> Result<(Classifier, Used), ModelError> {
        let config = self.classifier_config(hints)?;
        self.check_size(&config.vit.geometry, &[config.vit.stack])?;
        let model = config.init(0, device)?;
        self.replace(
            model,
            &config.vit.geometry,
            |path| config.official_name(path),
            |part| part != Part::Decoder,
        )
    }

    /// Builds the encoder with its segmentation head, and returns which tensors they use.
    ///
    /// # Errors
    /// As [`features`](Self::features); if the file describes no segmenter.
    pub fn segmenter(&self, device: &Device) -> Result<(Segmenter, Used), ModelError> {
        let config = self.segmenter_config()?;
        let vit = config.vit;
        self.check_size_with(&vit.geometry, &[vit.stack], config.head_numbers())?;
        let model = config.init(0, device)?;
        self.replace(model, &vit.geometry, Segmenter::official_name, |_| true)
    }

    /// Builds a segmenter from the encoder and a new head, and returns which tensors the encoder uses. Positions are
    /// resampled to the image size of `config`.
    ///
    /// The norm of a model that was fine-tuned on means does not apply to tokens. Under a UPerNet, which uses no norm,
    /// a new one replaces it.
    ///
    /// # Errors
    /// As [`features`](Self::features); as [`SegmenterConfig::check`]; [`ModelError::Encoder`] if the encoder differs
    /// from the configuration's in more than the image size; [`ModelError::NoTokenNorm`] if the model was fine-tuned on
    /// means and the head is linear.
    pub fn new_segmenter(
        &self,
        config: SegmenterConfig,
        seed: u64,
        hints: &Hints,
        device: &Device,
    ) -> Result<(Segmenter, Used), ModelError> {
        config.check()?;
        let (mut encoder, used) = match config.head {
            SegmentationHead::Linear => self.encoder(hints, device)?,
            SegmentationHead::UperNet(_) => self.bare_encoder(hints, device)?,
        };
        if self.norms_mean()? {
            encoder.norm = LayerNorm::new(config.vit.stack.embed_dim, config.vit.norm_eps, device);
        }
        let image_size = config.vit.geometry.image_size();
        if encoder.config().geometry.image_size() != image_size {
            encoder = encoder
                .with_image_size(image_size)
                .map_err(|source| ModelError::Config { part: "encoder", source })?;
        }
        Ok((Segmenter::new(encoder, config, seed, device)?, used))
    }

    /// Replaces all values of a module by the file's, which must have no other tensors of the `wanted` parts. `name_of`
    /// maps a parameter's path to its name in the file.
    pub(crate) fn replace<M: Module>(
        &self,
        module: M,
        geometry: &Geometry,
        name_of: impl Fn(&str) -> String,
        wanted: impl Fn(Part) -> bool,
    ) -> Result<(M, Used), ModelError> {
        // Everything is checked before anything is replaced.
        let mut found: HashMap<String, TensorData> = HashMap::new();
        let (mut used, mut missing, mut failure) = (Vec::new(), Vec::new(), None);
        visit_params(&module, |param, _| {
            let name = name_of(&param.path);
            match self.tensors.get(&name) {
                None => missing.push(name),
                Some(stored) => {
                    let expected = official_shape(&name, &param.shape, geometry);
                    match self.values(stored, &expected) {
                        Ok(data) => {
                            found.insert(param.path, from_official(&name, data, &param.shape, geometry));
                        }
                        Err(error) => failure = failure.take().or(Some(error)),
                    }
                    used.push(name);
                }
            }
        });
        let rest = || self.tensors.iter().filter(|(name, _)| !used.contains(name));
        let unknown = rest().filter(|(name, _)| wanted(part(name))).map(|(_, stored)| stored.name.clone());
        let unknown: Vec<_> = unknown.collect();
        if !missing.is_empty() || !unknown.is_empty() {
            return Err(ModelError::Mismatch { path: self.path.clone(), missing, unknown });
        }
        if let Some(error) = failure {
            return Err(error);
        }
        let unused =
            rest().map(|(_, stored)| stored.name.clone()).chain(self.other.iter().cloned()).collect();
        let module = replace_params(module, |param, _| found.remove(param));
        Ok((module, Used { used, unused }))
    }
}
