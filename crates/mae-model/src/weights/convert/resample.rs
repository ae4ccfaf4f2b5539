//! Adapts weights to other sizes of images and patches.

use std::sync::Arc;

use mae_vit::position::resample_table;
use mae_vit::{Geometry, VitConfig, resample_kernels};
use safetensors::tensor::Dtype;

use crate::weights::file::WeightFile;
use crate::weights::metadata::{CLASSIFIER_KEY, CONFIG_KEY, ENCODER_KEY, RESIZING_KEY, SEGMENTER_KEY, json};
use crate::weights::read::Stored;
use crate::{ClassifierConfig, Hints, MaeConfig, ModelError, SegmenterConfig, Sourced};

impl WeightFile {
    /// Resamples the weights for another image size, in f32: the positions of both towers, in two dimensions. For
    /// another patch size, it also resamples the kernels of the patch embedding.
    ///
    /// # Errors
    /// [`ModelError::Resample`] if the patch size does not divide the image size, or if the patch size changes and
    /// there is a decoder. A decoder predicts patches of one size: convert the encoder alone. Also fails if the file
    /// does not state its own image size.
    ///
    /// # Source
    /// timm `resample_abs_pos_embed` and `resample_patch_embed`.
    pub fn resampled(
        mut self,
        image_size: Option<(usize, usize)>,
        patch_size: Option<usize>,
        hints: &Hints,
    ) -> Result<Self, ModelError> {
        let old = self.vit_config(hints)?.geometry;
        let refuse = |reason: String| ModelError::Resample { path: self.path.clone(), reason };
        let new = Geometry::new(
            image_size.unwrap_or(old.image_size()),
            patch_size.unwrap_or(old.patch_size()),
            old.in_chans(),
        )
        .map_err(|error| refuse(error.to_string()))?;
        if new == old {
            return Ok(self);
        }
        let resizing = self.said_resizing(old.image_size())?;
        if new.patch_size() != old.patch_size() {
            if let Some(stored) = self.tensors.get("decoder_pred.weight") {
                let old = old.patch_size();
                return Err(refuse(format!(
                    "{} predicts patches of {old} px, not of {}: convert the encoder alone (timm) first",
                    stored.name,
                    new.patch_size()
                )));
            }
            let (from, to) = (old.patch_size(), new.patch_size());
            self.replace_values("patch_embed.proj.weight", |values, shape| {
                let resampled = resample_kernels(&values, from, to);
                (resampled, vec![shape[0], shape[1], to, to])
            })?;
        }
        for name in ["pos_embed", "decoder_pos_embed"] {
            if self.tensors.contains_key(name) {
                self.replace_values(name, |values, shape| {
                    let resampled = resample_table(&values, shape[2], old.grid(), new.grid());
                    (resampled, vec![1, 1 + new.num_patches(), shape[2]])
                })?;
            }
        }
        if let Some(config) = self.parsed::<MaeConfig>(CONFIG_KEY)? {
            self.metadata.insert(CONFIG_KEY.into(), json(&MaeConfig { geometry: new, ..config }));
        }
        if let Some(config) = self.parsed::<VitConfig>(ENCODER_KEY)? {
            self.metadata.insert(ENCODER_KEY.into(), json(&VitConfig { geometry: new, ..config }));
        }
        if let Some(mut config) = self.parsed::<ClassifierConfig>(CLASSIFIER_KEY)? {
            config.vit.geometry = new;
            self.metadata.insert(CLASSIFIER_KEY.into(), json(&config));
        }
        if let Some(mut config) = self.parsed::<SegmenterConfig>(SEGMENTER_KEY)? {
            config.vit.geometry = new;
            config.check()?;
            self.metadata.insert(SEGMENTER_KEY.into(), json(&config));
        }
        if let Some(said) = resizing {
            let resizing = said.value.scaled(old.image_size(), new.image_size());
            self.metadata.insert(RESIZING_KEY.into(), json(&resizing));
        }
        if let Ok(said) = &mut self.said {
            said.image_size = said.image_size.take().map(|said| Sourced { value: new.image_size(), ..said });
            said.shapes.retain(|(key, _)| *key != "patch_size");
        }
        Ok(self)
    }

    pub(super) fn replace_values(
        &mut self,
        name: &str,
        change: impl FnOnce(Vec<f32>, &[usize]) -> (Vec<f32>, Vec<usize>),
    ) -> Result<(), ModelError> {
        let Some(stored) = self.tensors.get(name) else { return Ok(()) };
        let data = self.values(stored, &stored.shape)?;
        let values = data.as_slice::<f32>().expect("values are f32").to_vec();
        let (values, shape) = change(values, &stored.shape);
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let whole = 0..bytes.len();
        let stored = Stored::bytes(&stored.name, Dtype::F32, &shape, &Arc::new(bytes), whole);
        self.tensors.insert(name.into(), stored);
        Ok(())
    }
}
