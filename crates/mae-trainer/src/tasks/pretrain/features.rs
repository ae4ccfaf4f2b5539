//! Evaluates an encoder's frozen features, and the loss on held-out images.

use burn::module::Module;
use burn::tensor::Device;
use mae_model::Mae;

use super::masked::Pretrain;
use crate::context::{Aside, Context, ImageSet, Rows};
use crate::{Measured, TrainerError};
use mae_eval::{EvalError, Features, knn_accuracy, probe_accuracy};

/// Accuracies of a classifier on frozen features, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Accuracies {
    /// On the trained encoder's features.
    pub trained: f64,
    /// On the features of the same encoder before training.
    pub untrained: f64,
    /// On normalised pixels; `None` if an image has too many for the classifier.
    pub pixels: Option<f64>,
}

/// The accuracies of a finished run's features.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FeatureReport {
    /// By weighted votes of the nearest neighbours.
    pub knn: Accuracies,
    /// By a linear classifier; `None` if the bank has one class.
    pub probe: Option<Accuracies>,
    /// The number of images whose labels the classifiers are given, and of images that they classify.
    pub images: (usize, usize),
    /// Neighbours that vote.
    pub k: usize,
    /// Whether the images that they classify are held out. Otherwise they are every fifth image of the training set.
    pub held_out: bool,
}

/// A row of features and a label for every image.
type Labelled = (Features, Vec<u32>);

/// Replaces the epoch in the random draws of the masks of pictures and of the held-out loss. It is always the same, and
/// no training reaches it.
pub(crate) const FIXED_MASKS: u64 = u64::MAX;

/// The most pixels that a linear probe is fitted to. This limit is our own, to save time.
const MAX_PIXELS: usize = 1024;

/// Measures the held-out loss, if there are held-out images, and the accuracies of the frozen features, if there are
/// labels.
///
/// Ranks share the images. Only the main rank classifies features and has the accuracies.
///
/// # Errors
/// If images cannot be read.
pub(super) fn evaluate(
    task: &Pretrain,
    context: &Context,
    model: &Mae,
    device: &Device,
) -> Result<Measured, TrainerError> {
    let model = model.valid();
    let measured =
        Measured { val_loss: held_out_loss(task, context, &model, device)?, ..Measured::default() };
    let Some((bank, queries)) = context.data.knn_sets(context.common.eval.max_images) else {
        return Ok(measured);
    };
    let bank = encoder_features(task, context, &bank, &model, device)?;
    let queries = encoder_features(task, context, &queries, &model, device)?;
    if !context.ranks().is_main() {
        return Ok(measured);
    }
    match accuracies(task, &bank, &queries) {
        Ok((knn, probe)) => Ok(measured.with("knn", Some(knn)).with("probe", probe)),
        // The training loop decides about a model that computes NaNs, by `on_nan`.
        Err(TrainerError::Eval(EvalError::NotFinite { .. })) => Ok(measured),
        Err(error) => Err(error),
    }
}

/// Measures the accuracies of a trained model's features, of its initial weights' and of pixels. All ranks share the
/// work, but only the main one has the result. Returns `None` without labels.
///
/// # Errors
/// If images cannot be read.
pub fn feature_report(
    task: &Pretrain,
    context: &Context,
    model: &Mae,
    device: &Device,
) -> Result<Option<FeatureReport>, TrainerError> {
    let Some((bank, queries)) = context.data.knn_sets(context.common.eval.max_images) else {
        return Ok(None);
    };
    let measure = |extract: &dyn Fn(&ImageSet) -> Result<Labelled, TrainerError>| {
        let (bank, queries) = (extract(&bank)?, extract(&queries)?);
        if !context.ranks().is_main() {
            return Ok((0.0, None));
        }
        let small = bank.0.dim() <= MAX_PIXELS;
        let probe = if small { probe(&bank, &queries)? } else { None };
        Ok::<_, TrainerError>((knn(task, &bank, &queries)?, probe))
    };
    let trained = model.valid();
    let trained = measure(&|set| encoder_features(task, context, set, &trained, device))?;
    let untrained = task.config.init(context.common.train.seed, device)?;
    let untrained = measure(&|set| encoder_features(task, context, set, &untrained, device))?;
    let pixels = measure(&|set| pixel_features(context, set))?;
    if !context.ranks().is_main() {
        return Ok(None);
    }
    let probe = trained.1.zip(untrained.1);
    Ok(Some(FeatureReport {
        knn: Accuracies { trained: trained.0, untrained: untrained.0, pixels: Some(pixels.0) },
        probe: probe.map(|(trained, untrained)| Accuracies { trained, untrained, pixels: pixels.1 }),
        images: (bank.indices.len(), queries.indices.len()),
        k: neighbours(task, bank.indices.len()),
        held_out: context.data.val.is_some(),
    }))
}

/// The recipe's number of neighbours, or all if there are fewer.
fn neighbours(task: &Pretrain, bank: usize) -> usize {
    task.settings.task.knn.k.min(bank)
}

fn accuracies(
    task: &Pretrain,
    bank: &Labelled,
    queries: &Labelled,
) -> Result<(f64, Option<f64>), TrainerError> {
    Ok((knn(task, bank, queries)?, probe(bank, queries)?))
}

fn knn(task: &Pretrain, bank: &Labelled, queries: &Labelled) -> Result<f64, TrainerError> {
    let k = neighbours(task, bank.1.len());
    let temperature = task.settings.task.knn.temperature;
    Ok(knn_accuracy(&bank.0, &bank.1, &queries.0, &queries.1, k, temperature)?)
}

/// Returns `None` if all images have the same class.
fn probe(bank: &Labelled, queries: &Labelled) -> Result<Option<f64>, TrainerError> {
    if bank.1.iter().all(|label| *label == bank.1[0]) {
        return Ok(None);
    }
    Ok(Some(probe_accuracy(&bank.0, &bank.1, &queries.0, &queries.1)?))
}

/// The mean loss over held-out images, prepared as for every evaluation, under masks that are always the same.
fn held_out_loss(
    task: &Pretrain,
    context: &Context,
    model: &Mae,
    device: &Device,
) -> Result<Option<f64>, TrainerError> {
    let Some(set) = context.data.held_out(context.common.eval.max_images) else { return Ok(None) };
    let (mut sum, mut count) = (0.0, 0.0);
    let (loader, batches) = context.share_of(&set, FIXED_MASKS)?.unzip();
    for batch in batches.into_iter().flatten() {
        let batch = batch?;
        let images = batch.indices.len() as f64;
        let (inputs, masks) = task.inputs(batch, device)?;
        let loss = model.forward_present(inputs.images, inputs.present, &masks);
        sum += images * f64::from(loss.into_scalar::<f32>());
        count += images;
    }
    context.log_bad_files(loader.map_or_else(Vec::new, |loader| loader.bad_files()))?;
    let of_ranks = context.ranks().gather_numbers(&[sum, count])?;
    let total = |i: usize| of_ranks.iter().filter_map(|numbers| numbers.get(i)).sum::<f64>();
    Ok(Some(total(0) / total(1)))
}

/// The pooled tokens of unmasked images.
fn encoder_features(
    task: &Pretrain,
    context: &Context,
    set: &ImageSet,
    model: &Mae,
    device: &Device,
) -> Result<Labelled, TrainerError> {
    let features = model.features(task.settings.task.knn.pooling);
    let rows = context.rows(set, device, &Aside::QUIETLY, |images| features.forward(images));
    labelled(set, rows?)
}

/// The pixels, normalised as for the model.
fn pixel_features(context: &Context, set: &ImageSet) -> Result<Labelled, TrainerError> {
    let normalize = &context.common.data.normalize;
    let rows = context.rows_of_bytes(set, &Aside::QUIETLY, |bytes, [_, channels, height, width]| {
        let plane = |i: usize| i / (height * width) % channels;
        let pixels = normalize.pixels(&bytes).into_iter().enumerate();
        pixels.map(|(i, pixel)| normalize.value(pixel, plane(i))).collect()
    });
    labelled(set, rows?)
}

fn labelled(set: &ImageSet, rows: Option<Rows>) -> Result<Labelled, TrainerError> {
    let rows = rows.expect("it was not asked to stop");
    let labels = rows.labels(set.source.as_ref())?;
    Ok((rows.features()?, labels))
}
