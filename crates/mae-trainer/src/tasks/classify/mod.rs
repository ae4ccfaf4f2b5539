//! Classifiers on an encoder: linear probes, fine-tuning, and fine-tuning of the last blocks alone.

mod finetune;
#[cfg(test)]
mod golden;
mod lars;
mod measure;
mod mix;
mod probe;

use std::path::Path;
use std::sync::{Arc, Mutex};

use burn::tensor::{Device, Tensor, TensorData, activation};
use mae_data::ImageSource;
use mae_model::{Classifier, ClassifierConfig, Head};
use mae_report::Metric;

use crate::recipe::within;
use crate::tasks::encoder::EncoderSettings;
use crate::{Data, DataSettings, TrainerError};

pub use finetune::{Finetune, FinetuneRecipe, FinetuneSettings, TuningRecipe, TuningSettings};
pub use lars::Lars;
pub use measure::ClassifierScores;
pub use mix::{Mix, MixRecipe, Mixing};
pub use probe::{LinearRecipe, LinearSettings, Probe, ProbeRecipe, ProbeSettings};

/// The metrics of classifiers.
const METRICS: &[Metric] = &[TOP1, Metric::accuracy("top5", "top-5", ACCURACY), MAP];
const TOP1: Metric = Metric::accuracy("top1", "top-1", ACCURACY);
/// Measured in place of accuracies on multi-label images.
const MAP: Metric = Metric::accuracy("map", "mAP", "Mean average precision on held-out images");
const ACCURACY: &str = "Accuracy on held-out images";
const LOSS: &str = "cross entropy of training images";

/// What both tasks share: a classifier's configuration, its classes and the source of its encoder.
struct Classes {
    config: ClassifierConfig,
    encoder: EncoderSettings,
    /// The training images.
    samples: Arc<dyn ImageSource>,
    /// The last measured scores, and the number of updates before them.
    measured: Mutex<Option<(u64, ClassifierScores)>>,
}

impl Classes {
    /// Checks that both sets have the same classes and label type, that every image is labelled, and that every class
    /// has training images.
    fn new(
        encoder: &EncoderSettings,
        head: Head,
        settings: &DataSettings,
        data: &Data,
    ) -> Result<Self, TrainerError> {
        let shapes = Path::new("built-in shapes");
        let (train, val) = (data.train.as_ref(), data.all_held_out()?.source);
        let val_path = settings.val.as_ref().or(settings.path.as_ref());
        for (source, path) in [(train, settings.path.as_ref()), (val.as_ref(), val_path)] {
            let unlabelled = (0..source.len()).filter(|i| source.labels(*i).is_none()).count();
            if unlabelled > 0 {
                let path = path.map_or(shapes, |path| path).into();
                return Err(TrainerError::Unlabelled { path, unlabelled, images: source.len() });
            }
        }
        let classes = train.class_names().to_vec();
        if val.class_names() != classes {
            return Err(TrainerError::Classes {
                train: classes.join(", "),
                val: val.class_names().join(", "),
            });
        }
        let multi_label = train.is_multi_label();
        if multi_label != val.is_multi_label() {
            let (name, other) = match multi_label {
                true => ("the label type of the held-out images", "training"),
                false => ("the label type of the training images", "held-out"),
            };
            let bound = format!(
                "multi-label, like that of the {other} images: give both sets the same kind of table"
            );
            return Err(TrainerError::argument(name, "single-label", bound));
        }
        let (least, bound) = if multi_label { (1, "at least 1") } else { (2, "at least 2") };
        if classes.len() < least {
            return Err(TrainerError::argument("the number of classes", classes.len(), bound));
        }
        let mut counts = vec![0_usize; classes.len()];
        for label in (0..train.len()).filter_map(|i| train.labels(i)).flatten() {
            counts[label as usize] += 1;
        }
        if let Some(empty) = counts.iter().position(|count| *count == 0) {
            let path = settings.path.as_deref().unwrap_or(shapes).into();
            return Err(TrainerError::EmptyClass { path, class: classes[empty].clone() });
        }
        let (vit, pooling) = (encoder.encoder, encoder.pooling);
        let config = ClassifierConfig { vit, pooling, head, classes, multi_label };
        let samples = data.samples(settings.crops_per_image);
        Ok(Self { config, encoder: encoder.clone(), samples, measured: Mutex::default() })
    }

    /// Returns a classifier with a new head on the file's encoder.
    fn start(&self, seed: u64, device: &Device) -> Result<Classifier, TrainerError> {
        self.encoder.classifier(self.config.clone(), seed, device)
    }

    fn describe(&self, weights: String) -> Vec<(&'static str, String)> {
        let (stack, geometry) = (self.config.vit.stack, self.config.vit.geometry);
        let (height, width) = geometry.image_size();
        vec![
            ("weights", weights),
            ("model", format!("{} wide, {} blocks, {} heads", stack.embed_dim, stack.depth, stack.num_heads)),
            ("images", format!("{height}x{width} px, patch {}", geometry.patch_size())),
            ("classes", self.classes_text()),
        ]
    }

    fn classes_text(&self) -> String {
        let several = if self.config.multi_label { ", any number per image" } else { "" };
        format!("{} classes{several}", self.config.classes.len())
    }

    /// The metric that selects the best evaluation.
    fn best(&self) -> Metric {
        if self.config.multi_label { MAP } else { TOP1 }
    }

    /// Checks that labels are smoothed only if images have one class each.
    fn check_smoothing(&self, smoothing: f64) -> Result<(), TrainerError> {
        let bound = "0 for multi-label images, whose classes are predicted independently";
        within("label_smoothing", !self.config.multi_label || smoothing == 0.0, smoothing, bound)
    }

    /// The classes of training images. [`Self::new`] has checked that all of them are labelled.
    fn labels<'a>(&self, indices: impl IntoIterator<Item = &'a usize>) -> Vec<Vec<u32>> {
        let labels =
            |index: &usize| self.samples.labels(*index).expect("both sets were found to be labelled");
        indices.into_iter().map(labels).collect()
    }

    /// The mean loss of logits.
    ///
    /// # Shapes
    /// `[B, classes]` twice → `[1]`
    fn loss(&self, scores: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
        match self.config.multi_label {
            true => binary_cross_entropy(scores, targets),
            false => cross_entropy(scores, targets),
        }
    }

    /// The target distribution of a batch.
    ///
    /// # Shapes
    /// `[B, classes]`
    fn targets(&self, mix: &Mix, mixing: &Mixing, labels: &[Vec<u32>], device: &Device) -> Tensor<2> {
        let classes = self.config.classes.len();
        let targets = mix.targets(mixing, labels, classes);
        Tensor::from_data(TensorData::new(targets, [labels.len(), classes]), device)
    }
}

/// The mean cross entropy between logits and target distributions.
///
/// # Shapes
/// `[B, classes]` twice → `[1]`
fn cross_entropy(scores: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    let [batch, _] = scores.dims();
    (activation::log_softmax(scores, 1) * targets).sum().neg().div_scalar(batch as f64)
}

/// The binary cross entropy of the classes' logits, averaged over images and classes.
///
/// # Shapes
/// `[B, classes]` twice → `[1]`
///
/// # Source
/// PyTorch's `BCEWithLogitsLoss`: −log σ(−x) − t·x.
fn binary_cross_entropy(scores: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    (activation::log_sigmoid(scores.clone().neg()) + targets * scores).mean().neg()
}
