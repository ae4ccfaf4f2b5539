//! What an encoder's frozen features are worth: kNN accuracy beside raw pixels.

use burn::module::Module;
use burn::tensor::Device;
use mae_model::Mae;
use mae_vit::VisionTransformer;

use crate::data::ImageSet;
use crate::knn::{Features, knn_accuracy};
use crate::{Run, TrainerError};

/// Accuracies on held-out images, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KnnReport {
    /// The trained encoder's features.
    pub trained: f64,
    /// The same encoder's before training.
    pub untrained: f64,
    /// Normalised pixels.
    pub pixels: f64,
    /// Images that vote and images that are voted on.
    pub images: (usize, usize),
    /// Neighbours that vote.
    pub k: usize,
}

/// Images of one forward pass in evaluation.
const BATCH: usize = 64;

/// kNN accuracies of a trained model, of its initial weights and of pixels, if there are labels.
///
/// # Errors
/// If images cannot be read.
pub fn knn_report(run: &Run, model: &Mae, device: &Device) -> Result<Option<KnnReport>, TrainerError> {
    let eval = &run.recipe.eval;
    let Some((bank, queries)) = run.data.knn_sets(eval.max_images) else { return Ok(None) };
    let k = eval.knn_k.min(bank.indices.len());
    let accuracy = |extract: &dyn Fn(&ImageSet) -> Result<(Features, Vec<u32>), TrainerError>| {
        let ((bank, bank_labels), (queries, labels)) = (extract(&bank)?, extract(&queries)?);
        knn_accuracy(&bank, &bank_labels, &queries, &labels, k, eval.knn_temperature)
    };
    let trained = model.valid();
    let untrained = run.plan.config.init(run.recipe.seed, device)?;
    Ok(Some(KnnReport {
        trained: accuracy(&|set| encoder_features(run, set, &trained, device))?,
        untrained: accuracy(&|set| encoder_features(run, set, &untrained, device))?,
        pixels: accuracy(&|set| pixel_features(run, set))?,
        images: (bank.indices.len(), queries.indices.len()),
        k,
    }))
}

/// Pooled tokens of whole images.
fn encoder_features(
    run: &Run,
    set: &ImageSet,
    model: &Mae,
    device: &Device,
) -> Result<(Features, Vec<u32>), TrainerError> {
    features(run, set, |bytes, shape| {
        let images = run.recipe.data.normalize.images(bytes, shape, device);
        let pooled = VisionTransformer::pool(model.encode(images), run.recipe.eval.pooling); // [B, D]
        let data = pooled.into_data().convert::<f32>();
        data.as_slice::<f32>().expect("converted to f32 above").to_vec()
    })
}

/// Pixels, normalised as the model sees them.
fn pixel_features(run: &Run, set: &ImageSet) -> Result<(Features, Vec<u32>), TrainerError> {
    let normalize = &run.recipe.data.normalize;
    features(run, set, |bytes, [_, channels, height, width]| {
        let plane = |i: usize| i / (height * width) % channels;
        bytes.into_iter().enumerate().map(|(i, byte)| normalize.value(byte, plane(i))).collect()
    })
}

/// Loads a set as evaluation sees it and makes a row of numbers of every image.
fn features(
    run: &Run,
    set: &ImageSet,
    mut extract: impl FnMut(Vec<u8>, [usize; 4]) -> Vec<f32>,
) -> Result<(Features, Vec<u32>), TrainerError> {
    let loader = set.loader(&run.recipe, BATCH)?;
    let (mut rows, mut labels) = (Vec::new(), Vec::new());
    for batch in loader.epoch(run.recipe.seed, 0, set.indices.clone(), 0)? {
        let batch = batch?;
        labels.extend(batch.labels.unwrap_or_default());
        rows.extend(extract(batch.images, batch.shape));
    }
    let dim = rows.len() / labels.len().max(1);
    Ok((Features::new(rows, dim)?, labels))
}
