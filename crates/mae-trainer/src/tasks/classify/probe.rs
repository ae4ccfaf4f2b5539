//! Linear probes: trains a linear layer on the features of the frozen encoder by LARS.

use std::sync::Mutex;

use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::tensor::{Device, Tensor};
use mae_data::Batch;
use mae_model::{Classifier, Head, ParamInfo};
use mae_vit::{Compute, Geometry, Pooling};

use super::lars::LARS_MOMENTS;
use super::{Classes, ClassifierScores, Lars, METRICS, Mix, Mixing};
use crate::context::{Aside, Context, ImageSet, Rows};
use crate::recipe::within;
use crate::tasks::encoder::EncoderRecipe;
use crate::{At, Backward, Data, DataRecipe, Measured, Recipe, SettingsOf, Task, TaskRecipe, TrainerError};
use mae_report::{Metric, Outcome};

crate::sections! {
    /// The sections of a probe's recipe.
    pub ProbeRecipe => ProbeSettings {
        /// The encoder to probe.
        model: EncoderRecipe,
        /// How the probe is trained.
        probe: LinearRecipe,
    }
}

crate::section! {
    /// The section of a [`ProbeRecipe`] about how the probe is trained.
    pub LinearRecipe => LinearSettings {
        /// Whether features are computed once, from the image's centre, rather than from a new crop each time.
        Free cached: bool = false;
        /// Share of each target that is spread evenly over all classes.
        Free label_smoothing: f64 = 0.0;
        /// The share of the previous step that LARS keeps.
        Free momentum: f64 = Lars::default().momentum;
        /// The length of a step of LARS relative to the weights' norm, at a learning rate of 1.
        Free trust: f64 = Lars::default().trust;
    }
}

impl TaskRecipe for ProbeRecipe {
    const TASK: &'static str = "probe";

    const NAMED: &'static [(&'static str, &'static str)] =
        crate::named!("probe", ["probe-digits", "probe-base", "probe-large"]);

    fn defaults(recipe: &mut Recipe<Self>) {
        // The epochs are those of MAE table 10. Its base learning rate of 0.1 is for a million images: LARS moves
        // weights by thousandths of their norm times the learning rate. The few updates of a small data set would
        // hardly change them.
        (recipe.train.epochs, recipe.optim.base_lr) = (90, 10.0);
        recipe.data.crop_scale = (0.08, 1.0);
        recipe.eval.keep_checkpoints = 1;
    }
}

/// A linear probe. The loss is the cross entropy of an update's images, over which their features are standardised.
pub struct Probe {
    classes: Classes,
    settings: SettingsOf<Self>,
    /// The features of the training and the held-out images, if they are computed once.
    cache: Mutex<Option<std::sync::Arc<Cache>>>,
}

struct Cache {
    train: Rows,
    /// The labels of the training images.
    labels: Vec<Vec<u32>>,
    val: Rows,
}

impl Task for Probe {
    type Recipe = ProbeRecipe;
    type Model = Classifier;

    fn fill(recipe: &mut Recipe<ProbeRecipe>) -> Result<Geometry, TrainerError> {
        let probe = &recipe.task.probe;
        let smoothing = probe.label_smoothing;
        within("label_smoothing", (0.0..1.0).contains(&smoothing), smoothing, "in [0, 1)")?;
        within("momentum", (0.0..=1.0).contains(&probe.momentum), probe.momentum, "from 0 to 1")?;
        within("trust", probe.trust > 0.0 && probe.trust.is_finite(), probe.trust, "positive and finite")?;
        let DataRecipe { repeats, crops_per_image: crops, .. } = recipe.data;
        for (name, number) in [("repeats", repeats), ("crops_per_image", crops)] {
            within(name, !probe.cached || number == 1, number, "1 if features are cached")?;
        }
        recipe.task.model.pooling.get_or_insert(Pooling::ClassToken);
        recipe.task.model.fill(&mut recipe.data)
    }

    fn new(settings: &SettingsOf<Self>, data: &Data) -> Result<Self, TrainerError> {
        let classes = Classes::new(&settings.task.model, Head::Probe, &settings.data, data)?;
        classes.check_smoothing(settings.task.probe.label_smoothing)?;
        let effective = settings.effective_batch();
        let bound = "at least 2 for a probe, whose features are standardised over an update";
        within("batch_size times accum_iter", effective > 1, effective, bound)?;
        Ok(Self { classes, settings: settings.clone(), cache: Mutex::default() })
    }

    fn init(&self, seed: u64, device: &Device) -> Result<Classifier, TrainerError> {
        Ok(self.frozen(self.classes.config.init(seed, device)?))
    }

    fn start(&self, seed: u64, device: &Device) -> Result<Option<Classifier>, TrainerError> {
        Ok(Some(self.frozen(self.classes.start(seed, device)?)))
    }

    fn optimizer(&self, settings: &SettingsOf<Self>, _: &Classifier) -> ModuleOptimizer {
        let LinearSettings { momentum, trust, .. } = settings.task.probe;
        ModuleOptimizer::from(Lars { momentum, trust })
    }

    fn decays(&self, _: &ParamInfo) -> bool {
        false
    }

    const MOMENTS: usize = LARS_MOMENTS;

    fn needs_pixels(&self) -> bool {
        !self.settings.task.probe.cached
    }

    fn prepare(
        &self,
        context: &Context,
        model: &Classifier,
        device: &Device,
        aside: &Aside<'_>,
    ) -> Result<bool, TrainerError> {
        if self.needs_pixels() {
            return Ok(true);
        }
        let model = model.valid();
        let rows = |set: &ImageSet| context.rows(set, device, aside, |images| model.features(images, None));
        let Some(train) = rows(&ImageSet::all(&context.data.train))? else { return Ok(false) };
        let Some(val) = rows(&context.data.all_held_out()?)? else { return Ok(false) };
        let labels = self.classes.labels(&train.indices);
        *self.cache.lock().expect("nothing panics with it") = Some(Cache { train, labels, val }.into());
        Ok(true)
    }

    /// The loss of one batch, treated as a whole update.
    fn loss(&self, model: &mut Classifier, batch: Batch, at: &At<'_>) -> Result<Tensor<1>, TrainerError> {
        self.update_loss(model, vec![batch], at)
    }

    /// Passes all batches of an update to the head as one.
    fn gradients(
        &self,
        model: &mut Classifier,
        batches: Vec<Batch>,
        at: &At<'_>,
        backward: &mut Backward<'_, Classifier>,
    ) -> Result<(), TrainerError> {
        let loss = self.update_loss(model, batches, at)?;
        backward.add(model, loss, (0, 1))
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
        let classes = &self.classes;
        let Some(cache) = self.cache() else { return classes.evaluate(context, model, step, device) };
        let scores = model.valid().classify(cache.val.tensor(device)).into_data().convert::<f32>();
        let values = scores.try_to_vec::<f32>().expect("converted to f32");
        let dim = classes.config.classes.len();
        classes.score(context, Rows { values, dim, indices: cache.val.indices.clone() }, step)
    }

    fn draw(&self, context: &Context, _: &Classifier, _: u64, _: &Device) -> Result<(), TrainerError> {
        self.classes.draw(context)
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        self.classes.describe(self.settings.task.model.weights.display().to_string())
    }

    fn title(&self) -> String {
        format!("linear probe of {}", self.classes.classes_text())
    }

    fn flops_per_image(&self) -> Option<f64> {
        self.needs_pixels().then(|| self.classes.flops())
    }

    fn activations_per_image(&self, _: Compute, _: &Device) -> Option<usize> {
        let geometry = self.classes.config.vit.geometry;
        Some(4 * 2 * geometry.num_patches() * geometry.patch_dim())
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

impl Probe {
    /// The last scores measured on held-out images, on the main rank.
    pub fn scores(&self) -> Option<ClassifierScores> {
        self.classes.scores()
    }

    fn frozen(&self, model: Classifier) -> Classifier {
        model.with_compute(self.settings.compute()).with_frozen_encoder()
    }

    fn cache(&self) -> Option<std::sync::Arc<Cache>> {
        self.cache.lock().expect("nothing panics with it").clone()
    }

    /// The loss of the batches of an update.
    fn update_loss(
        &self,
        model: &mut Classifier,
        batches: Vec<Batch>,
        at: &At<'_>,
    ) -> Result<Tensor<1>, TrainerError> {
        let (features, labels) = match self.cache() {
            Some(cache) => {
                // The cache contains only the images that could be read.
                let Rows { values, dim, indices } = &cache.train;
                let rows: Vec<_> =
                    batches.iter().flat_map(|b| &b.indices).map(|i| i % indices.len()).collect();
                let values =
                    rows.iter().flat_map(|row| &values[row * dim..(row + 1) * dim]).copied().collect();
                let labels = rows.iter().map(|row| cache.labels[*row].clone()).collect();
                (Rows { values, dim: *dim, indices: rows }.tensor(at.device), labels)
            }
            None => {
                let labels = self.classes.labels(batches.iter().flat_map(|batch| &batch.indices));
                let frozen = model.valid();
                let features = |mut batch: Batch| frozen.features(at.images(&mut batch), None);
                (Tensor::cat(batches.into_iter().map(features).collect(), 0), labels) // [B, D]
            }
        };
        self.head_loss(model, features, &labels, at)
    }

    /// The loss of a linear layer on standardised features, which also update the running mean and variance.
    ///
    /// # Shapes
    /// features `[B, D]`, B labels
    fn head_loss(
        &self,
        model: &mut Classifier,
        features: Tensor<2>,
        labels: &[Vec<u32>],
        at: &At<'_>,
    ) -> Result<Tensor<1>, TrainerError> {
        let mix = Mix { label_smoothing: self.settings.task.probe.label_smoothing, ..Mix::default() };
        let targets = self.classes.targets(&mix, &Mixing::None, labels, at.device);
        let features = standardise(model, features, at)?;
        Ok(self.classes.loss(model.head.forward(features), targets))
    }
}

/// Standardises features by their mean and variance over an update on all ranks, and updates the running ones.
pub(super) fn standardise(
    model: &mut Classifier,
    features: Tensor<2>,
    at: &At<'_>,
) -> Result<Tensor<2>, TrainerError> {
    let norm = model.head_norm.take().expect("a probe has a norm").valid();
    let (features, norm) = match at.ranks.averages() {
        false => norm.train_forward(features),
        true => {
            let [batch, _] = features.dims();
            let mean = |of: Tensor<2>| -> Result<Tensor<2>, TrainerError> {
                let mean = at.ranks.mean(vec![of.mean_dim(0).squeeze_dim(0)])?()?;
                Ok(Tensor::stack(mean, 0)) // [1, D]
            };
            let of_all = mean(features.clone())?;
            let variance = mean((features.clone() - of_all.clone()).square())?;
            norm.train_forward_by(features, of_all, variance, batch * at.ranks.size())
        }
    };
    model.head_norm = Some(norm.train());
    Ok(features)
}
