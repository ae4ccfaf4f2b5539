//! What an encoder's frozen features are worth, and the loss on held-out images.

use burn::module::Module;
use burn::tensor::Device;
use mae_data::{Batches, Loader};
use mae_model::Mae;
use mae_vit::VisionTransformer;

use crate::data::ImageSet;
use crate::knn::{Features, knn_accuracy};
use crate::probe::probe_accuracy;
use crate::progress::log_bad_files;
use crate::records::Evaluation;
use crate::{Run, TrainerError};

/// Accuracies of a classifier on frozen features, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Accuracies {
    /// On the trained encoder's features.
    pub trained: f64,
    /// On the same encoder's before training.
    pub untrained: f64,
    /// On normalised pixels; none where an image has too many for the classifier.
    pub pixels: Option<f64>,
}

/// What a finished run's features are worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FeatureReport {
    /// Weighted votes of the nearest neighbours.
    pub knn: Accuracies,
    /// A linear classifier; none where the bank has one class.
    pub probe: Option<Accuracies>,
    /// Images that the classifiers know the labels of, and images that they label.
    pub images: (usize, usize),
    /// Neighbours that vote.
    pub k: usize,
    /// Whether the images that are labelled are held out; otherwise they are every fifth image of the training set.
    pub held_out: bool,
}

/// A row of numbers and a label of every image.
type Labelled = (Features, Vec<u32>);

/// Images of one forward pass in evaluation.
const BATCH: usize = 64;

/// The epoch that the masks of pictures and of the held-out loss are drawn from: none that trains, and always the same.
pub(crate) const FIXED_MASKS: u64 = u64::MAX;

/// Pixels beyond which no linear probe is fitted to them: ours, for time.
const MAX_PIXELS: usize = 1024;

/// The held-out loss, where there are held-out images, and accuracies of the frozen features, where there are labels.
///
/// Ranks share the images; the main one alone classifies features, and has the accuracies.
///
/// # Errors
/// If images cannot be read.
pub fn evaluate(run: &Run, model: &Mae, step: u64, device: &Device) -> Result<Evaluation, TrainerError> {
    let model = model.valid();
    let mut evaluation = Evaluation {
        step,
        epoch: step as f64 / run.plan.pace.steps_per_epoch as f64,
        val_loss: held_out_loss(run, &model, device)?,
        ..Evaluation::default()
    };
    if let Some((bank, queries)) = run.data.knn_sets(run.recipe.eval.max_images) {
        let bank = encoder_features(run, &bank, &model, device)?;
        let queries = encoder_features(run, &queries, &model, device)?;
        if !run.ranks().is_main() {
            return Ok(evaluation);
        }
        evaluation.knn = Some(knn(run, &bank, &queries)?);
        evaluation.probe = probe(&bank, &queries)?;
    }
    Ok(evaluation)
}

/// Accuracies of a trained model's features, of its initial weights' and of pixels, if there are labels; on the main
/// rank, which the others help.
///
/// # Errors
/// If images cannot be read.
pub fn feature_report(
    run: &Run,
    model: &Mae,
    device: &Device,
) -> Result<Option<FeatureReport>, TrainerError> {
    let Some((bank, queries)) = run.data.knn_sets(run.recipe.eval.max_images) else { return Ok(None) };
    let measure = |extract: &dyn Fn(&ImageSet) -> Result<Labelled, TrainerError>| {
        let (bank, queries) = (extract(&bank)?, extract(&queries)?);
        if !run.ranks().is_main() {
            return Ok((0.0, None));
        }
        let small = bank.0.dim() <= MAX_PIXELS;
        let probe = if small { probe(&bank, &queries)? } else { None };
        Ok::<_, TrainerError>((knn(run, &bank, &queries)?, probe))
    };
    let trained = model.valid();
    let trained = measure(&|set| encoder_features(run, set, &trained, device))?;
    let untrained = run.plan.config.init(run.recipe.seed, device)?;
    let untrained = measure(&|set| encoder_features(run, set, &untrained, device))?;
    let pixels = measure(&|set| pixel_features(run, set))?;
    if !run.ranks().is_main() {
        return Ok(None);
    }
    let probe = trained.1.zip(untrained.1);
    Ok(Some(FeatureReport {
        knn: Accuracies { trained: trained.0, untrained: untrained.0, pixels: Some(pixels.0) },
        probe: probe.map(|(trained, untrained)| Accuracies { trained, untrained, pixels: pixels.1 }),
        images: (bank.indices.len(), queries.indices.len()),
        k: neighbours(run, bank.indices.len()),
        held_out: run.data.val.is_some(),
    }))
}

/// As many neighbours as the recipe says, or all there are.
fn neighbours(run: &Run, bank: usize) -> usize {
    run.recipe.eval.knn_k.min(bank)
}

fn knn(run: &Run, bank: &Labelled, queries: &Labelled) -> Result<f64, TrainerError> {
    let k = neighbours(run, bank.1.len());
    knn_accuracy(&bank.0, &bank.1, &queries.0, &queries.1, k, run.recipe.eval.knn_temperature)
}

/// None where there is nothing to tell apart.
fn probe(bank: &Labelled, queries: &Labelled) -> Result<Option<f64>, TrainerError> {
    if bank.1.iter().all(|label| *label == bank.1[0]) {
        return Ok(None);
    }
    probe_accuracy(&bank.0, &bank.1, &queries.0, &queries.1).map(Some)
}

/// The mean loss over held-out images as evaluation sees them, under masks that are always the same.
fn held_out_loss(run: &Run, model: &Mae, device: &Device) -> Result<Option<f64>, TrainerError> {
    let Some(set) = run.data.held_out(run.recipe.eval.max_images) else { return Ok(None) };
    let (mut sum, mut count) = (0.0, 0.0);
    let (loader, batches) = run.share_of(&set, FIXED_MASKS)?.unzip();
    for batch in batches.into_iter().flatten() {
        let batch = batch?;
        let images = batch.indices.len() as f64;
        let (pixels, masks) = run.inputs(batch, device)?;
        sum += images * f64::from(model.forward(pixels, &masks).into_scalar::<f32>());
        count += images;
    }
    log_bad_files(run, loader.map_or_else(Vec::new, |loader| loader.bad_files()))?;
    let of_ranks = run.ranks().gather_numbers(&[sum, count])?;
    let total = |i: usize| of_ranks.iter().filter_map(|numbers| numbers.get(i)).sum::<f64>();
    Ok(Some(total(0) / total(1)))
}

impl Run {
    /// This rank's share of a set, every `size`-th image, in batches as evaluation sees them, with their loader. None where
    /// there are fewer images than ranks.
    fn share_of(&self, set: &ImageSet, epoch: u64) -> Result<Option<(Loader, Batches)>, TrainerError> {
        let (rank, size) = (self.ranks().rank(), self.ranks().size());
        let indices: Vec<u32> = set.indices.iter().copied().skip(rank).step_by(size).collect();
        if indices.is_empty() {
            return Ok(None);
        }
        let loader = set.loader(&self.recipe, BATCH.min(indices.len()))?;
        let batches = loader.epoch(self.recipe.seed, epoch, indices, 0)?;
        Ok(Some((loader, batches)))
    }
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

/// Loads a set as evaluation sees it and makes a row of numbers of every image, on every rank those of all.
fn features(
    run: &Run,
    set: &ImageSet,
    mut extract: impl FnMut(Vec<u8>, [usize; 4]) -> Vec<f32>,
) -> Result<Labelled, TrainerError> {
    let ranks = run.ranks();
    // Of the images that can be used: their places in the set, and their rows.
    let (mut places, mut rows) = (Vec::new(), Vec::new());
    let mut wanted = set.indices.iter().enumerate().skip(ranks.rank()).step_by(ranks.size());
    let (loader, batches) = run.share_of(set, 0)?.unzip();
    for batch in batches.into_iter().flatten() {
        let batch = batch?;
        let features = extract(batch.images, batch.shape);
        let dim = features.len() / batch.indices.len();
        for ((row, index), (place, wanted)) in features.chunks(dim).zip(batch.indices).zip(&mut wanted) {
            // What stands in for an unreadable image is left out: it may be one of the other set.
            if index == *wanted as usize && set.source.label(index).is_some() {
                rows.extend(row.iter().flat_map(|x| x.to_le_bytes()));
                places.extend((place as u32).to_le_bytes());
            }
        }
    }
    log_bad_files(run, loader.map_or_else(Vec::new, |loader| loader.bad_files()))?;
    let (places, rows) = (ranks.gather(&places)?, ranks.gather(&rows)?);
    let mut all = Vec::new();
    for (places, rows) in places.iter().zip(&rows).filter(|(places, _)| !places.is_empty()) {
        let places = places.as_chunks().0.iter().map(|place| u32::from_le_bytes(*place) as usize);
        all.extend(places.clone().zip(rows.chunks(rows.len() / places.len())));
    }
    all.sort_unstable_by_key(|(place, _)| *place);
    let labels = all.iter().filter_map(|(place, _)| set.source.label(set.indices[*place] as usize));
    let dim = all.first().map_or(1, |(_, row)| row.len() / size_of::<f32>());
    let numbers = |row: &[u8]| row.as_chunks().0.iter().map(|x| f32::from_le_bytes(*x)).collect::<Vec<_>>();
    let rows = all.iter().flat_map(|(_, row)| numbers(row)).collect();
    Ok((Features::new(rows, dim)?, labels.collect()))
}
