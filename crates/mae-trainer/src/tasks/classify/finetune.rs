//! Fine-tuning: trains a head and the encoder, or its last blocks, by AdamW.

use burn::optim::ModuleOptimizer;
use burn::tensor::{Device, Tensor};
use mae_data::{Batch, Image, sample_rng, uniform};
use mae_model::{Classifier, Head, ParamInfo};
use mae_vit::{Compute, DropPath, Geometry};

use super::{Classes, ClassifierScores, METRICS, Mix, MixRecipe};
use crate::context::Context;
use crate::recipe::within;
use crate::tasks::encoder::EncoderRecipe;
use crate::tasks::layers::{decays, layer_wise};
use crate::{At, Data, Measured, Recipe, SettingsOf, Shown, Task, TaskRecipe, TrainerError};
use mae_report::{Metric, Outcome};

crate::sections! {
    /// The sections of a fine-tuning recipe.
    pub FinetuneRecipe => FinetuneSettings {
        /// The encoder to start from.
        model: EncoderRecipe,
        /// Which layers are trained, and how.
        finetune: TuningRecipe,
        /// How images are mixed.
        mix: MixRecipe,
    }
}

crate::section! {
    /// The section of a [`FinetuneRecipe`] about which layers are trained, and how.
    pub TuningRecipe => TuningSettings {
        /// Whether to start from random weights of the same shape instead of the file's, as a baseline for
        /// pre-training.
        Fixed from_scratch: bool = false;
        /// The number of last blocks to fine-tune. By default all, and the layers before them.
        Fixed blocks: usize;
        /// The factor on a layer's learning rate for each layer above it.
        Free layer_decay: f64 = 0.75;
        /// Share of the samples for which a branch of the last block is dropped. It decreases linearly towards the
        /// first block.
        Free drop_path: f64 = 0.0;
    }
}

impl TaskRecipe for FinetuneRecipe {
    const TASK: &'static str = "finetune";

    const NAMED: &'static [(&'static str, &'static str)] =
        crate::named!("finetune", ["finetune-digits", "finetune-base", "finetune-large", "finetune-huge"]);

    fn defaults(recipe: &mut Recipe<Self>) {
        recipe.train.epochs = 50;
        // MAE §A.1: torchvision's default of RandomResizedCrop.
        recipe.data.crop_scale = (0.08, 1.0);
        recipe.optim.min_lr = 1e-6;
        // MAE table 9.
        recipe.optim.betas = (0.9, 0.999);
        recipe.eval.keep_checkpoints = 1;
    }
}

/// Fine-tuning of a classifier. The loss is the cross entropy of a batch of mixed images, or the binary cross entropy
/// of each class if images may have several.
pub struct Finetune {
    classes: Classes,
    settings: SettingsOf<Self>,
}

/// Replaces the epoch in the random draws of mixtures and drop path. No training reaches this epoch.
const MIX_EPOCH: u64 = u64::MAX - 2;

impl Task for Finetune {
    type Recipe = FinetuneRecipe;
    type Model = Classifier;

    fn fill(recipe: &mut Recipe<FinetuneRecipe>) -> Result<Geometry, TrainerError> {
        let (tuning, mix) = (&recipe.task.finetune, &recipe.task.mix);
        within("drop_path", (0.0..1.0).contains(&tuning.drop_path), tuning.drop_path, "in [0, 1)")?;
        let decay = tuning.layer_decay;
        within("layer_decay", decay > 0.0 && decay <= 1.0, decay, "in (0, 1]")?;
        mix.check()?;
        let geometry = recipe.task.model.fill(&mut recipe.data)?;
        let depth = recipe.task.model.encoder.map_or(0, |encoder| encoder.stack.depth);
        let blocks = *recipe.task.finetune.blocks.get_or_insert(depth);
        within("blocks", blocks <= depth, blocks, &format!("at most the encoder's {depth} blocks"))?;
        Ok(geometry)
    }

    fn new(settings: &SettingsOf<Self>, data: &Data) -> Result<Self, TrainerError> {
        let classes = Classes::new(&settings.task.model, Head::FineTuned, &settings.data, data)?;
        classes.check_smoothing(settings.task.mix.label_smoothing)?;
        Ok(Self { classes, settings: settings.clone() })
    }

    fn init(&self, seed: u64, device: &Device) -> Result<Classifier, TrainerError> {
        Ok(self.trained(self.classes.config.init(seed, device)?))
    }

    fn start(&self, seed: u64, device: &Device) -> Result<Option<Classifier>, TrainerError> {
        let model = match self.settings.task.finetune.from_scratch {
            true => self.classes.config.init(seed, device)?,
            false => self.classes.start(seed, device)?,
        };
        Ok(Some(self.trained(model)))
    }

    fn optimizer(&self, settings: &SettingsOf<Self>, model: &Classifier) -> ModuleOptimizer {
        layer_wise(model, settings.optim.adamw(), settings.task.finetune.layer_decay)
    }

    fn decays(&self, param: &ParamInfo) -> bool {
        decays(param)
    }

    fn loss(&self, model: &mut Classifier, batch: Batch, at: &At<'_>) -> Result<Tensor<1>, TrainerError> {
        let (images, targets, mut draw) = self.mixed(batch, at);
        let [count, ..] = images.dims();
        let rate = self.settings.task.finetune.drop_path;
        let depth = self.classes.config.vit.stack.depth;
        let drop = (rate > 0.0).then(|| DropPath::draw(rate, depth, count, &mut draw));
        Ok(self.classes.loss(model.classify(model.features(images, drop.as_ref())), targets))
    }

    const NEEDS_LABELS: bool = true;

    const METRICS: &'static [Metric] = METRICS;
    const LOSS: &'static str = super::LOSS;

    fn best(&self) -> Metric {
        self.classes.best()
    }

    fn evaluate(
        &self,
        context: &Context,
        model: &Classifier,
        step: u64,
        device: &Device,
    ) -> Result<Measured, TrainerError> {
        self.classes.evaluate(context, model, step, device)
    }

    fn draw(&self, context: &Context, _: &Classifier, _: u64, _: &Device) -> Result<(), TrainerError> {
        self.classes.draw(context)
    }

    fn examples(&self, batch: Batch, at: &At<'_>, shown: &Shown) -> Result<Vec<Image>, TrainerError> {
        let bytes = batch.images.clone();
        let (mixed, ..) = self.mixed(batch, at);
        shown.made_of(&bytes, mixed)
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        let weights = self.settings.task.model.weights.display();
        self.classes.describe(match self.settings.task.finetune.from_scratch {
            true => format!("random, of the shape in {weights}"),
            false => weights.to_string(),
        })
    }

    fn title(&self) -> String {
        format!("fine-tuning to {}", self.classes.classes_text())
    }

    fn flops_per_image(&self) -> Option<f64> {
        Some(3.0 * self.classes.flops())
    }

    fn activations_per_image(&self, compute: Compute, device: &Device) -> Option<usize> {
        let config = &self.classes.config.vit;
        let mut stack = config.stack;
        stack.depth = self.settings.task.finetune.blocks;
        let images = 4 * 2 * config.geometry.num_patches() * config.geometry.patch_dim();
        Some(stack.activation_bytes(1 + config.geometry.num_patches(), compute, device) + images)
    }

    fn finish(
        &self,
        context: &Context,
        model: &Classifier,
        step: u64,
        device: &Device,
    ) -> Result<Outcome, TrainerError> {
        self.classes.finish(context, model, step, device)
    }
}

impl Finetune {
    /// The last scores measured on held-out images, on the main rank.
    pub fn scores(&self) -> Option<ClassifierScores> {
        self.classes.scores()
    }

    /// Sets a model's compute settings and freezes the layers that are not trained.
    fn trained(&self, model: Classifier) -> Classifier {
        model.with_compute(self.settings.compute()).with_trained_blocks(self.settings.task.finetune.blocks)
    }

    /// Returns a batch's mixed images, their target distributions, and the generator of the batch's other random
    /// numbers.
    fn mixed(&self, mut batch: Batch, at: &At<'_>) -> (Tensor<4>, Tensor<2>, impl FnMut() -> f64 + use<>) {
        let mut rng = sample_rng(self.settings.train.seed, MIX_EPOCH, at.number as usize);
        let mut draw = move || uniform(&mut rng);
        let [.., height, width] = batch.shape;
        let mix: &Mix = &self.settings.task.mix;
        let mixing = mix.draw((height, width), &mut draw);
        let targets = self.classes.targets(mix, &mixing, &self.classes.labels(&batch.indices), at.device); // [B, classes]
        (mixing.apply(at.images(&mut batch)), targets, draw)
    }
}
