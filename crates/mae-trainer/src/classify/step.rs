//! One update of a classifier.

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData, activation};
use mae_data::{Batch, sample_rng, uniform};
use mae_model::Classifier;
use mae_vit::{DropPath, ops};

use super::inputs::Input;
use super::{ClassifyRun, Method, Mix, Mixing};
use crate::Job;
use crate::checkpoint::{TrainState, last_step};
use crate::gradients::{clip, global_norm};
use crate::run_folder::CHECKPOINTS;
use crate::{StepReport, TrainerError};

/// Stands for an epoch in the draws of mixtures and dropped branches: one that no training reaches.
const MIX_EPOCH: u64 = u64::MAX - 2;

impl ClassifyRun {
    /// Changes the state by what it learns from the input of its next update.
    ///
    /// # Errors
    /// [`TrainerError::Diverged`] for a loss or a gradient that is not finite; the state is then as it was.
    pub(super) fn step(
        &self,
        state: &mut TrainState<Classifier>,
        input: Input,
        device: &Device,
    ) -> Result<StepReport, TrainerError> {
        let (mut model, smoothing) = (state.model.clone(), self.recipe.mix.label_smoothing);
        let (gradients, loss) = match (self.recipe.method, input) {
            (Method::Finetune, Input::Images(batches)) => self.finetune(&model, state.step, batches, device),
            (_, Input::Images(batches)) => {
                let labels = batches.iter().flat_map(labels).collect::<Vec<_>>();
                let frozen = model.valid();
                let features = |batch: Batch| {
                    frozen.features(self.normalize.images(batch.images, batch.shape, device), None)
                };
                let features = Tensor::cat(batches.into_iter().map(features).collect(), 0); // [B, D]
                probe(&mut model, features, &labels, smoothing, device)
            }
            (_, Input::Features(rows)) => {
                probe(&mut model, rows.tensor(device), &rows.labels, smoothing, device)
            }
        };
        let grad_norm = global_norm(&model, &gradients, device);
        let report = StepReport { loss, grad_norm };
        if !report.is_finite() {
            let checkpoint = last_step(&self.path(CHECKPOINTS))?;
            return Err(TrainerError::Diverged { step: state.step + 1, loss, grad_norm, checkpoint });
        }
        let gradients = match self.recipe.optim.clip_grad {
            Some(max_norm) => clip(&model, gradients, grad_norm, max_norm),
            None => gradients,
        };
        let lr = self.pace.schedule.lr(state.step);
        state.model = ops::together(|| state.optimizer.step(lr, model, gradients));
        state.step += 1;
        Ok(report)
    }

    /// Gradients of the mean loss over batches.
    fn finetune(
        &self,
        model: &Classifier,
        step: u64,
        batches: Vec<Batch>,
        device: &Device,
    ) -> (GradientsParams, f64) {
        let (accum_iter, depth) = (batches.len(), self.config.vit.stack.depth);
        let (mut gradients, mut losses) = (GradientsAccumulator::new(), Vec::new());
        for (i, batch) in batches.into_iter().enumerate() {
            let (images, targets, mut draw) = self.mixed(batch, step * accum_iter as u64 + i as u64, device);
            let [images_in_batch, ..] = images.dims();
            let rate = self.recipe.model.drop_path;
            let drop = (rate > 0.0).then(|| DropPath::draw(rate, depth, images_in_batch, &mut draw));
            let scores = model.classify(model.features(images, drop.as_ref()));
            let loss = cross_entropy(scores, targets);
            // Burn sums accumulated gradients; dividing each loss makes the sum a mean.
            let grads = loss.clone().div_scalar(accum_iter as f64).backward();
            gradients.accumulate(model, GradientsParams::from_grads(grads, model));
            losses.push(loss.inner());
        }
        let sum: f64 = losses.into_iter().map(|loss| f64::from(loss.into_scalar::<f32>())).sum();
        (gradients.grads(), sum / accum_iter as f64)
    }

    /// A batch's images, mixed, what the model shall say of them, and what else is drawn for the batch.
    pub(super) fn mixed(
        &self,
        batch: Batch,
        number: u64,
        device: &Device,
    ) -> (Tensor<4>, Tensor<2>, impl FnMut() -> f64 + use<>) {
        let mut rng = sample_rng(self.recipe.seed, MIX_EPOCH, number);
        let mut draw = move || uniform(&mut rng);
        let [count, _, height, width] = batch.shape;
        let (mix, classes) = (&self.recipe.mix, self.config.classes.len());
        let mixing = mix.draw((height, width), &mut draw);
        let targets = mix.targets(&mixing, &labels(&batch), classes);
        let targets = Tensor::from_data(TensorData::new(targets, [count, classes]), device); // [B, classes]
        let images = mixing.apply(self.normalize.images(batch.images, batch.shape, device));
        (images, targets, draw)
    }
}

/// Gradients of a linear layer on standardised features, whose running mean and variance take these in; and the loss.
///
/// # Shapes
/// features `[B, D]`, B labels
pub(super) fn probe(
    model: &mut Classifier,
    features: Tensor<2>,
    labels: &[u32],
    label_smoothing: f64,
    device: &Device,
) -> (GradientsParams, f64) {
    let norm = model.head_norm.take().expect("a probe has a norm").valid();
    let (features, norm) = norm.train_forward(features);
    model.head_norm = Some(norm.train());
    let classes = model.config().classes.len();
    let mix = Mix { label_smoothing, ..Mix::default() };
    let targets = mix.targets(&Mixing::None, labels, classes);
    let targets = Tensor::from_data(TensorData::new(targets, [labels.len(), classes]), device);
    let loss = cross_entropy(model.head.forward(features), targets);
    let gradients = GradientsParams::from_grads(loss.backward(), model);
    (gradients, f64::from(loss.inner().into_scalar::<f32>()))
}

/// All images of a classifier's sets have a class.
fn labels(batch: &Batch) -> Vec<u32> {
    batch.labels.clone().expect("both sets were found to have a class for each image")
}

/// The mean cross entropy of scores with shares of classes.
///
/// # Shapes
/// `[B, classes]` twice → `[1]`
pub(super) fn cross_entropy(scores: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    let [batch, _] = scores.dims();
    (activation::log_softmax(scores, 1) * targets).sum().neg().div_scalar(batch as f64)
}
