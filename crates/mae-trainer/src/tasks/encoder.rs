//! Loads the encoder that a task starts from.

use std::path::PathBuf;

use burn::tensor::Device;
use mae_model::{Classifier, ClassifierConfig, Hints, Segmenter, SegmenterConfig, Source, WeightFile};
use mae_vit::{Geometry, Pooling, VisionTransformer, VitConfig};

use crate::pixels::{dtype, pixel_format};
use crate::{DataRecipe, TrainerError};

crate::section! {
    /// The model section of a recipe that starts from an encoder.
    pub EncoderRecipe => EncoderSettings {
        /// A file with an encoder, or a run's folder.
        Fixed weights: PathBuf = PathBuf::new();
        /// The model to read from a file that contains several; timm's choice by default.
        Fixed weights_key: Option<String> = None;
        /// The tokens that are pooled into an image's features. By default the patches' mean for fine-tuning and the
        /// class token for probes, as in the paper.
        Fixed pooling: Pooling;
        /// The encoder's sizes; the file's by default.
        Fixed encoder: VitConfig;
    }
}

impl EncoderRecipe {
    /// Fills in the open fields: the patches' mean for pooling, and from the file the encoder's sizes and how images
    /// are decoded and normalised. If these are known, as in a run that is resumed, the file is not needed. Returns the
    /// geometry of the encoder's images.
    ///
    /// # Errors
    /// If the file cannot be used.
    pub fn fill(&mut self, data: &mut DataRecipe) -> Result<Geometry, TrainerError> {
        self.pooling.get_or_insert(Pooling::MeanPatch);
        if let (Some(vit), Some(normalize)) = (self.encoder, &data.normalize) {
            data.pixels.get_or_insert_with(|| pixel_format(normalize, vit.geometry.in_chans()));
            return Ok(vit.geometry);
        }
        if self.weights.as_os_str().is_empty() {
            let bound = "a file with an encoder, or a run's folder";
            return Err(TrainerError::argument("model.weights", "not given", bound));
        }
        let file = WeightFile::open_model(&self.weights, self.weights_key.as_deref())?;
        let vit = match self.encoder {
            Some(vit) => vit,
            None => *self.encoder.insert(file.vit_config(&Hints::default())?),
        };
        let normalize = match data.normalize.take() {
            Some(normalize) => normalize,
            // If the file has no mean and deviation, or has those of another pixel type than requested, they are
            // measured.
            None if vit.geometry.in_chans() != 3 && file.said_normalize()?.source == Source::Usual => {
                return Ok(vit.geometry);
            }
            None => {
                let said = file.normalize()?;
                if data.pixels.is_some_and(|pixels| dtype(pixels.pixel_type()) != said.dtype()) {
                    return Ok(vit.geometry);
                }
                said
            }
        };
        data.pixels.get_or_insert_with(|| pixel_format(&normalize, vit.geometry.in_chans()));
        data.normalize = Some(normalize);
        Ok(vit.geometry)
    }
}

impl EncoderSettings {
    /// Loads the file's encoder.
    ///
    /// # Errors
    /// If the file cannot be used, or its model was fine-tuned on means and has no norm for single tokens.
    pub fn load(&self, device: &Device) -> Result<VisionTransformer, TrainerError> {
        let (file, hints) = self.open()?;
        Ok(file.encoder(&hints, device)?.0)
    }

    /// Loads the file's encoder and adds a new head.
    ///
    /// # Errors
    /// If the file cannot be used, or its model was fine-tuned on means and the new head needs the norm that it lacks.
    pub(super) fn classifier(
        &self,
        config: ClassifierConfig,
        seed: u64,
        device: &Device,
    ) -> Result<Classifier, TrainerError> {
        let (file, hints) = self.open()?;
        Ok(file.new_classifier(config, seed, &hints, device)?.0)
    }

    /// Loads the file's encoder and adds a new segmentation head.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub(super) fn segmenter(
        &self,
        config: SegmenterConfig,
        seed: u64,
        device: &Device,
    ) -> Result<Segmenter, TrainerError> {
        let (file, hints) = self.open()?;
        Ok(file.new_segmenter(config, seed, &hints, device)?.0)
    }

    /// Opens the file. Returns it with hints for what it may not say itself.
    fn open(&self) -> Result<(WeightFile, Hints), TrainerError> {
        let VitConfig { geometry, stack, norm_eps } = self.encoder;
        let hints = Hints {
            image_size: Some(geometry.image_size()),
            num_heads: Some(stack.num_heads),
            norm_eps: Some(norm_eps),
            ..Hints::default()
        };
        Ok((WeightFile::open_model(&self.weights, self.weights_key.as_deref())?, hints))
    }
}
