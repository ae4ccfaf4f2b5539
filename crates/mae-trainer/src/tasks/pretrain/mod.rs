//! Pre-training of a masked autoencoder.

mod draw;
mod features;
mod recipe;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use mae_data::Batch;
use mae_masking::{MaskBatch, MaskKey, Masker};
use mae_model::{Mae, MaeConfig};
use mae_vit::{Compute, Geometry, Normalize};

use crate::{At, Data, Measured, Recipe, Run, SettingsOf, Task, TrainerError};
use mae_report::{Bars, Metric, Outcome};

pub use draw::{draw_pictures, draw_sheet, reconstruct};
pub use features::{Accuracies, FeatureReport, feature_report};
pub use recipe::{
    KnnRecipe, KnnSettings, MaskingRecipe, MaskingSettings, ModelRecipe, ModelSettings, PretrainRecipe,
    PretrainSettings,
};

/// Pre-training: the loss is the error of the masked patches' pixels.
pub struct Pretrain {
    /// The model.
    pub config: MaeConfig,
    /// Visible patches.
    pub num_keep: usize,
    settings: SettingsOf<Self>,
    masker: Masker,
}

/// Features of a run of pre-training, as they are shown.
const FEATURES: &str = "Accuracy of frozen features";

impl Task for Pretrain {
    type Recipe = PretrainRecipe;
    type Model = Mae;

    fn fill(recipe: &mut Recipe<PretrainRecipe>) -> Result<Geometry, TrainerError> {
        // Features of all images are taken at each of them.
        recipe.eval.every_epochs.get_or_insert((recipe.train.epochs / 10).max(5));
        recipe.data.normalize.get_or_insert_with(Normalize::imagenet);
        recipe.task.fill()
    }

    fn new(settings: &SettingsOf<Self>, _: &Data) -> Result<Self, TrainerError> {
        let (config, masking) = (settings.task.model.config()?, &settings.task.masking);
        let masker = Masker::new(masking.strategy, config.geometry.grid(), masking.mask_ratio)?;
        let num_keep = mae_masking::num_keep(config.geometry.num_patches(), masking.mask_ratio)?;
        Ok(Self { config, num_keep, settings: settings.clone(), masker })
    }

    fn init(&self, seed: u64, device: &Device) -> Result<Mae, TrainerError> {
        Ok(self.config.init(seed, device)?.with_compute(self.settings.compute()))
    }

    fn start(&self, seed: u64, device: &Device) -> Result<Option<Mae>, TrainerError> {
        let Some(path) = &self.settings.task.model.init_from else { return Ok(None) };
        let model = mae_model::load_into(self.init(seed, device)?, path)?;
        Ok(Some(model))
    }

    fn loss(&self, model: &mut Mae, mut batch: Batch, at: &At<'_>) -> Result<Tensor<1>, TrainerError> {
        let masks = self.masks(&batch)?;
        Ok(model.forward(at.images(&mut batch), &masks))
    }

    const METRICS: &'static [Metric] = &[
        Metric::accuracy("knn", "kNN accuracy", FEATURES),
        Metric::accuracy("probe", "linear probe", FEATURES),
    ];

    const LOSS: &'static str = "reconstruction loss on masked patches";

    fn evaluate(run: &Run<Self>, model: &Mae, _: u64, device: &Device) -> Result<Measured, TrainerError> {
        features::evaluate(run, model, device)
    }

    fn draw(run: &Run<Self>, model: &Mae, step: u64, device: &Device) -> Result<(), TrainerError> {
        draw_pictures(run, model, step, device).map(drop)
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        let MaeConfig { geometry, encoder, decoder, norm_pix_loss, .. } = &self.config;
        let ((height, width), patch) = (geometry.image_size(), geometry.patch_size());
        let target = if *norm_pix_loss { "pixels normalised by patch" } else { "pixels" };
        vec![
            (
                "model",
                format!(
                    "{}: encoder {} wide, {} blocks, {} heads; decoder {}, {}, {}",
                    self.settings.task.model.preset,
                    encoder.embed_dim,
                    encoder.depth,
                    encoder.num_heads,
                    decoder.embed_dim,
                    decoder.depth,
                    decoder.num_heads
                ),
            ),
            ("images", format!("{height}x{width} px, patch {patch}, predicting {target}")),
            (
                "masking",
                format!(
                    "{}, {} of {} patches visible",
                    self.settings.task.masking.strategy,
                    self.num_keep,
                    geometry.num_patches()
                ),
            ),
        ]
    }

    fn title(&self) -> String {
        self.settings.task.model.preset.to_string()
    }

    fn flops_per_image(&self) -> Option<f64> {
        // Forward, and twice that backward.
        Some(3.0 * self.config.flops(self.num_keep))
    }

    fn activations_per_image(&self, compute: Compute, device: &Device) -> Option<usize> {
        Some(self.config.activation_bytes(self.num_keep, compute, device))
    }

    fn finish(run: &Run<Self>, model: &Mae, step: u64, device: &Device) -> Result<Outcome, TrainerError> {
        let features = feature_report(run, model, device)?;
        if !run.ranks().is_main() {
            return Ok(Outcome::default());
        }
        let mut outcome = Outcome {
            baseline: Some(("predicting zero", zero_loss(run, model, device)?)),
            ..Outcome::default()
        };
        match &features {
            Some(features) => features.tell(&mut outcome),
            None => outcome.line("kNN accuracy", "not measured: the images have no labels"),
        }
        let pictures = draw_pictures(run, model, step, device)?;
        outcome.line("pictures", pictures.display());
        if run.task.config.norm_pix_loss {
            outcome.line("", draw::BORROWED);
        }
        Ok(outcome)
    }
}

impl Pretrain {
    /// The masks of a batch: each a function of (seed, pass, index), as the images are.
    ///
    /// # Errors
    /// If the batch is empty.
    pub fn masks(&self, batch: &Batch) -> Result<MaskBatch, TrainerError> {
        let seed = self.settings.train.seed;
        let keys = batch.passes.iter().zip(&batch.indices);
        let keys = keys.map(|(pass, index)| MaskKey { seed, epoch: *pass, sample: *index as u64 });
        Ok(MaskBatch::new(&keys.map(|key| self.masker.draw(key)).collect::<Vec<_>>())?)
    }

    /// A batch's images, normalised on the device, and its masks.
    ///
    /// # Errors
    /// If the batch is empty.
    pub fn inputs(&self, batch: Batch, device: &Device) -> Result<(Tensor<4>, MaskBatch), TrainerError> {
        let masks = self.masks(&batch)?;
        Ok((self.settings.data.normalize.images(batch.images, batch.shape, device), masks))
    }
}

/// The loss of predicting zero, on the run's first batch.
fn zero_loss(run: &Run<Pretrain>, model: &Mae, device: &Device) -> Result<f64, TrainerError> {
    let batch = run.batches(0)?.next().ok_or(TrainerError::EpochTooShort { step: 0 })??;
    let (images, masks) = run.task.inputs(batch, device)?;
    Ok(f64::from(model.valid().zero_loss(images, &masks).into_scalar::<f32>()))
}

impl FeatureReport {
    /// Adds what people see of it.
    fn tell(&self, outcome: &mut Outcome) {
        let Self { knn, probe, images, k, held_out } = self;
        let which = if *held_out { "held-out images" } else { "others of the training set" };
        let about = format!("{} labelled images, {} {which}", images.0, images.1);
        outcome.line("kNN accuracy", format!("{} (k = {k}; {about})", knn.text()));
        probe.iter().for_each(|probe| outcome.line("linear probe", probe.text()));
        let levels = [("kNN on raw pixels", knn.pixels), ("kNN before training", Some(knn.untrained))];
        outcome.levels.extend(levels.into_iter().filter_map(|(name, y)| Some((FEATURES, name, y?))));
        let (bank, queries) = images;
        let note = format!("k = {k}, {bank} images vote on {queries} {which}");
        outcome.bars.push(knn.bars("kNN accuracy of frozen features", note));
        if let Some(probe) = probe {
            let note = format!("fitted to {bank} images, tried on {queries} {which}");
            outcome.bars.push(probe.bars("Linear probe of frozen features", note));
        }
    }
}

impl Accuracies {
    fn text(&self) -> String {
        let Self { trained, untrained, pixels } = self;
        let pixels = pixels.map_or(String::new(), |pixels| format!(", {:.1}% raw pixels", 100.0 * pixels));
        format!("{:.1}% trained, {:.1}% before training{pixels}", 100.0 * trained, 100.0 * untrained)
    }

    fn bars(&self, title: &'static str, note: String) -> Bars {
        let Self { trained, untrained, pixels } = *self;
        let rows = [("trained", Some(trained)), ("raw pixels", pixels), ("before training", Some(untrained))];
        Bars {
            title,
            rows: rows.into_iter().filter_map(|(name, share)| Some((name, share?))).collect(),
            note,
        }
    }
}
