//! The sections of a recipe that only pre-training has.

use std::path::PathBuf;

use mae_masking::Strategy;
use mae_model::{MaeConfig, Preset};
use mae_vit::{Geometry, Pooling, StackConfig};

use crate::recipe::within;
use crate::{TaskRecipe, TrainerError};
use mae_eval::KNN_TEMPERATURE;

crate::sections! {
    /// The sections of a pre-training recipe.
    pub PretrainRecipe => PretrainSettings {
        /// The model to train.
        model: ModelRecipe,
        /// How its patches are masked.
        masking: MaskingRecipe,
        /// How its features are evaluated.
        knn: KnnRecipe,
    }
}

crate::section! {
    /// The model section of a [`PretrainRecipe`].
    pub ModelRecipe => ModelSettings {
        /// Widths and depths.
        Fixed preset: Preset = Preset::Nano;
        /// (height, width) in pixels; the preset's by default.
        Fixed image_size: (usize, usize);
        /// Side of a patch in pixels; the preset's by default.
        Fixed patch_size: usize;
        /// The encoder's blocks; the preset's by default.
        Fixed encoder: StackConfig;
        /// The decoder's blocks; the preset's by default.
        Fixed decoder: StackConfig;
        /// Whether each target patch is normalised on its own.
        Fixed norm_pix_loss: bool = true;
        /// A weight file or a run's folder to start from, instead of random weights.
        Fixed init_from: Option<PathBuf> = None;
    }
}

crate::section! {
    /// The masking section of a [`PretrainRecipe`].
    pub MaskingRecipe => MaskingSettings {
        /// How the masked patches are chosen.
        Free strategy: Strategy = Strategy::Random;
        /// Share of the patches that is masked.
        Free mask_ratio: f64 = 0.75;
    }
}

crate::section! {
    /// The section of a [`PretrainRecipe`] about the evaluation of features by their nearest neighbours.
    pub KnnRecipe => KnnSettings {
        /// Neighbours that vote.
        Free k: usize = 20;
        /// Temperature of their votes.
        Free temperature: f64 = KNN_TEMPERATURE;
        /// The tokens that are pooled into an image's feature vector.
        Free pooling: Pooling = Pooling::MeanPatch;
    }
}

impl TaskRecipe for PretrainRecipe {
    const TASK: &'static str = "pretrain";

    const NAMED: &'static [(&'static str, &'static str)] = crate::named!(
        "pretrain",
        [
            "shapes",
            "digits",
            "small",
            "lightly",
            "base-800",
            "base-1600",
            "large-800",
            "large-1600",
            "huge-800",
            "huge-1600"
        ]
    );
}

impl PretrainRecipe {
    /// Fills in what follows from the preset and checks every value.
    pub(super) fn fill(&mut self, in_chans: usize) -> Result<Geometry, TrainerError> {
        let Self { model, masking, knn } = self;
        let preset = model.preset;
        model.image_size.get_or_insert(preset.image_size());
        model.patch_size.get_or_insert(preset.patch_size());
        model.encoder.get_or_insert(preset.stacks().0);
        model.decoder.get_or_insert(preset.stacks().1);
        let config = model.clone().config(in_chans)?;
        config.validate()?;
        let patches = config.geometry.num_patches();
        let keep = mae_masking::num_keep(patches, masking.mask_ratio)?;
        let bound = format!("large enough to mask one of {patches} patches");
        within("mask_ratio", keep < patches, masking.mask_ratio, &bound)?;
        within("knn.k", knn.k >= 1, knn.k, "at least 1")?;
        let warm = knn.temperature > 0.0 && knn.temperature.is_finite();
        within("knn.temperature", warm, knn.temperature, "positive and finite")?;
        Ok(config.geometry)
    }
}

impl ModelRecipe {
    fn config(self, in_chans: usize) -> Result<MaeConfig, TrainerError> {
        crate::Section::settle(self).config(in_chans)
    }
}

impl ModelSettings {
    /// The model's configuration, for images of `in_chans` channels.
    ///
    /// # Errors
    /// If the patches do not tile the image.
    pub fn config(&self, in_chans: usize) -> Result<MaeConfig, TrainerError> {
        let geometry = Geometry::new(self.image_size, self.patch_size, in_chans)?;
        let Self { encoder, decoder, norm_pix_loss, .. } = *self;
        Ok(MaeConfig { encoder, decoder, norm_pix_loss, ..self.preset.config(geometry) })
    }
}
