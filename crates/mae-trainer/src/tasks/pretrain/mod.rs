//! Pre-training of a masked autoencoder.

mod draw;
mod features;
mod masked;
mod recipe;

use burn::tensor::{Device, Tensor};
use mae_data::Batch;
use mae_model::{Mae, MaeConfig};
use mae_vit::{Compute, Geometry};

use crate::context::Context;
use crate::{At, Data, Measured, Recipe, SettingsOf, Task, TrainerError};
use mae_report::{Bars, Metric, Outcome};

pub use draw::{draw_pictures, draw_sheet, reconstruct};
pub use features::{Accuracies, FeatureReport, feature_report};
pub use masked::Pretrain;
pub use recipe::{
    KnnRecipe, KnnSettings, MaskingRecipe, MaskingSettings, ModelRecipe, ModelSettings, PretrainRecipe,
    PretrainSettings,
};

/// The name of the chart of a run's feature accuracies.
const FEATURES: &str = "Accuracy of frozen features";

impl Task for Pretrain {
    type Recipe = PretrainRecipe;
    type Model = Mae;

    fn fill(recipe: &mut Recipe<PretrainRecipe>) -> Result<Geometry, TrainerError> {
        // Each evaluation encodes all images.
        recipe.eval.every_epochs.get_or_insert((recipe.train.epochs / 10).max(5));
        recipe.task.fill(recipe.data.pixels.unwrap_or_default().channels())
    }

    fn new(settings: &SettingsOf<Self>, _: &Data) -> Result<Self, TrainerError> {
        Self::of(settings)
    }

    fn init(&self, seed: u64, device: &Device) -> Result<Mae, TrainerError> {
        Ok(self.config.init(seed, device)?.with_compute(self.settings.compute()))
    }

    fn start(&self, seed: u64, device: &Device) -> Result<Option<Mae>, TrainerError> {
        let Some(path) = &self.settings.task.model.init_from else { return Ok(None) };
        let model = mae_model::load_into(self.init(seed, device)?, path)?;
        Ok(Some(model))
    }

    fn loss(&self, model: &mut Mae, batch: Batch, at: &At<'_>) -> Result<Tensor<1>, TrainerError> {
        let (inputs, masks) = self.inputs(batch, at.device)?;
        Ok(model.forward_present(inputs.images, inputs.present, &masks))
    }

    const METRICS: &'static [Metric] = &[
        Metric::accuracy("knn", "kNN accuracy", FEATURES),
        Metric::accuracy("probe", "linear probe", FEATURES),
    ];

    const LOSS: &'static str = "reconstruction loss on masked patches";

    fn evaluate(
        &self,
        context: &Context,
        model: &Mae,
        _: u64,
        device: &Device,
    ) -> Result<Measured, TrainerError> {
        features::evaluate(self, context, model, device)
    }

    fn draw(&self, context: &Context, model: &Mae, step: u64, device: &Device) -> Result<(), TrainerError> {
        draw_pictures(self, context, model, step, device).map(drop)
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
        // The backward pass takes twice the operations of the forward pass.
        Some(3.0 * self.config.flops(self.num_keep))
    }

    fn activations_per_image(&self, compute: Compute, device: &Device) -> Option<usize> {
        Some(self.config.activation_bytes(self.num_keep, compute, device))
    }

    fn finish(
        &self,
        context: &Context,
        model: &Mae,
        step: u64,
        device: &Device,
    ) -> Result<Outcome, TrainerError> {
        let features = feature_report(self, context, model, device)?;
        if !context.ranks().is_main() {
            return Ok(Outcome::default());
        }
        let mut outcome = Outcome {
            baseline: Some(("predicting zero", self.zero_loss(context, model, device)?)),
            ..Outcome::default()
        };
        match &features {
            Some(features) => features.tell(&mut outcome),
            None => {
                let sets = [Some(&context.data.train), context.data.val.as_ref()];
                let several = sets.into_iter().flatten().any(|set| set.is_multi_label());
                let labels = if several { "several labels each" } else { "no labels" };
                outcome.line("kNN accuracy", format!("not measured: the images have {labels}"));
            }
        }
        let pictures = draw_pictures(self, context, model, step, device)?;
        outcome.line("pictures", pictures.display());
        if self.config.norm_pix_loss {
            outcome.line("", draw::BORROWED);
        }
        Ok(outcome)
    }
}

impl FeatureReport {
    /// Adds these accuracies to the outcome of a run.
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
            let note = format!("fitted on {bank} images, tested on {queries} {which}");
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
