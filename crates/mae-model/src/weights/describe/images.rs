//! How images are prepared for the model of a file.

use mae_vit::Normalize;

use crate::weights::file::WeightFile;
use crate::weights::metadata::{NORMALIZE_KEY, RESIZING_KEY};
use crate::weights::said::{timm_normalize, timm_resizing, transformers_normalize, transformers_resizing};
use crate::{ModelError, Resizing, Source, Sourced};

impl WeightFile {
    /// How its images are normalised: as the file says, else by ImageNet's mean and standard deviation.
    ///
    /// # Errors
    /// If what it says cannot be used, or it says nothing and its images do not have three channels.
    pub fn normalize(&self) -> Result<Normalize, ModelError> {
        let normalize = self.said_normalize()?.value;
        normalize.validate(self.patch_embed()?[1]).map_err(|error| self.unusable(error.to_string()))?;
        Ok(normalize)
    }

    /// How its images are normalised, and the source: the file itself, transformers' preprocessor or timm's
    /// configuration beside it, else ImageNet's values as [`Source::Usual`].
    ///
    /// # Errors
    /// If what it says cannot be used.
    pub fn said_normalize(&self) -> Result<Sourced<Normalize>, ModelError> {
        let refuse = |reason: String| self.unusable(reason);
        if let Some(text) = self.metadata.get(NORMALIZE_KEY) {
            let normalize =
                serde_json::from_str(text).map_err(|e| refuse(format!("'{NORMALIZE_KEY}': {e}")))?;
            return Ok(Sourced::new(normalize, Source::File));
        }
        let said = match (self.beside.preprocessor(), self.beside.timm_images(self.scheme)) {
            _ if self.beside.other_channels => Ok(None),
            (Some(config), _) => transformers_normalize(config, self.patch_embed()?[1]),
            (None, Some(config)) => timm_normalize(config),
            (None, None) => Ok(None),
        };
        let said = said.map_err(refuse)?;
        Ok(said.unwrap_or_else(|| Sourced::new(Normalize::imagenet(), Source::Usual)))
    }

    /// How its images are resized to the model's `size`, (height, width), if the file or a configuration beside it says
    /// so.
    ///
    /// # Errors
    /// If the stated resizing is not understood, or makes images of another size.
    pub fn said_resizing(&self, size: (usize, usize)) -> Result<Option<Sourced<Resizing>>, ModelError> {
        if let Some(said) = self.parsed(RESIZING_KEY)? {
            return Ok(Some(Sourced::new(said, Source::File)));
        }
        let said = match (self.beside.preprocessor(), self.beside.timm_images(self.scheme)) {
            (Some(config), _) => transformers_resizing(config, size),
            (None, Some(config)) => timm_resizing(config, size),
            (None, None) => Ok(None),
        };
        said.map_err(|reason| self.unusable(reason))
    }

    fn unusable(&self, reason: String) -> ModelError {
        ModelError::Description { path: self.path.clone(), reason }
    }
}
