//! What an encoder's frozen features are worth: kNN accuracy beside raw pixels.

use burn::module::Module;
use burn::tensor::Device;
use mae_model::Mae;
use mae_vit::VisionTransformer;

use crate::data::ImageSet;
use crate::knn::{Features, knn_accuracy};
use crate::{Run, TrainerError};

/// Accuracies of frozen features, 0 to 1.
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
    /// Whether the images voted on are held out; otherwise they are every fifth image of the training set.
    pub held_out: bool,
}

/// A row of numbers and a label of every image.
type Labelled = (Features, Vec<u32>);

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
    let accuracy = |extract: &dyn Fn(&ImageSet) -> Result<Labelled, TrainerError>| {
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
        held_out: run.data.val.is_some(),
    }))
}

/// Pooled tokens of whole images.
fn encoder_features(
    run: &Run,
    set: &ImageSet,
    model: &Mae,
    device: &Device,
) -> Result<Labelled, TrainerError> {
    features(run, set, |bytes, shape| {
        let images = run.recipe.data.normalize.images(bytes, shape, device);
        let pooled = VisionTransformer::pool(model.encode(images), run.recipe.eval.pooling); // [B, D]
        let data = pooled.into_data().convert::<f32>();
        data.as_slice::<f32>().expect("converted to f32 above").to_vec()
    })
}

/// Pixels, normalised as the model sees them.
fn pixel_features(run: &Run, set: &ImageSet) -> Result<Labelled, TrainerError> {
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
) -> Result<Labelled, TrainerError> {
    let loader = set.loader(&run.recipe, BATCH)?;
    let (mut rows, mut labels) = (Vec::new(), Vec::new());
    let (mut wanted, mut dim) = (set.indices.iter(), 1);
    for batch in loader.epoch(run.recipe.seed, 0, set.indices.clone(), 0)? {
        let batch = batch?;
        let features = extract(batch.images, batch.shape);
        dim = features.len() / batch.indices.len();
        for ((row, index), wanted) in features.chunks(dim).zip(batch.indices).zip(&mut wanted) {
            // What stands in for an unreadable image is left out: it may be one of the other set.
            if let Some(label) = set.source.label(index).filter(|_| index == *wanted as usize) {
                rows.extend_from_slice(row);
                labels.push(label);
            }
        }
    }
    Ok((Features::new(rows, dim)?, labels))
}
