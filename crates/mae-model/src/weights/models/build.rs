//! Models from a file.

use std::collections::HashMap;

use burn::module::Module;
use burn::tensor::{Device, TensorData};
use mae_vit::{Geometry, InitRng, VisionTransformer};

use crate::params::{replace_params, visit_params};
use crate::weights::file::WeightFile;
use crate::weights::names::{Part, from_official, official_name, official_shape, part};
use crate::{Classifier, Hints, Mae, ModelError};

/// Which of a file's tensors a model was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Official names of those that were.
    pub used: Vec<String>,
    /// Names in the file of all others.
    pub unused: Vec<String>,
}

impl WeightFile {
    /// The encoder, and which tensors it was given. Where it was fine-tuned on means of tokens its norm is the one behind the
    /// mean, since there is no other.
    ///
    /// # Errors
    /// If the file does not tell the encoder's shape, lacks one of its tensors or has more of them; if a tensor is of
    /// another shape or type, or holds numbers that are not finite.
    pub fn encoder(&self, hints: &Hints, device: &Device) -> Result<(VisionTransformer, Used), ModelError> {
        let config = self.vit_config(hints)?;
        self.check_size(&config.geometry, &[config.stack])?;
        let encoder = config
            .init(&mut InitRng::new(0), device)
            .map_err(|source| ModelError::Config { part: "encoder", source })?;
        let behind = !self.tensors.contains_key("norm.weight") && self.tensors.contains_key("fc_norm.weight");
        let name = |path: &str| match path.strip_prefix("norm.") {
            Some(kind) if behind => format!("fc_norm.{kind}"),
            _ => official_name(path),
        };
        self.replace(encoder, &config.geometry, name, |part| part == Part::Encoder)
    }

    /// The whole model, and which tensors it was given.
    ///
    /// # Errors
    /// As [`encoder`](Self::encoder); [`ModelError::NoDecoder`] if there is none.
    pub fn mae(&self, hints: &Hints, device: &Device) -> Result<(Mae, Used), ModelError> {
        let config = self.mae_config(hints)?;
        self.check_size(&config.geometry, &[config.encoder, config.decoder])?;
        let model = config.init(0, device)?;
        self.replace(model, &config.geometry, official_name, |part| part != Part::Head)
    }

    /// The encoder with its classifier, and which tensors they were given.
    ///
    /// # Errors
    /// As [`encoder`](Self::encoder); if there is no classifier.
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

    /// A module with all of its values from the file, which must have no others of these parts; `name_of` says what a
    /// parameter is called there.
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
