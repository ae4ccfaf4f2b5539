//! Classifiers on an encoder: linear probes, fine-tuning, and fine-tuning of the last blocks alone.

mod finetune;
#[cfg(test)]
mod golden;
mod measure;
mod mix;
mod optimizer;
mod probe;
mod recipe;

use burn::tensor::{Device, Tensor, TensorData, activation};
use mae_data::Batch;
use mae_model::{Classifier, ClassifierConfig, Head};

use mae_eval::Scores;
use mae_report::Metric;

use crate::{Data, DataSettings, TrainerError};

pub use finetune::{Finetune, FinetuneRecipe, FinetuneSettings, TuningRecipe, TuningSettings};
pub use mix::{Mix, MixRecipe, Mixing};
pub use optimizer::{Lars, layer_scales};
pub use probe::{LinearRecipe, LinearSettings, Probe, ProbeRecipe, ProbeSettings};
pub use recipe::{EncoderRecipe, EncoderSettings};

/// What classifiers are measured by.
const METRICS: &[Metric] = &[TOP1, Metric::accuracy("top5", "top-5", ACCURACY)];
const TOP1: Metric = Metric::accuracy("top1", "top-1", ACCURACY);
const ACCURACY: &str = "Accuracy on held-out images";
const LOSS: &str = "cross entropy of training images";

/// A classifier, its classes, and where its encoder comes from: what both tasks have.
struct Classes {
    config: ClassifierConfig,
    encoder: EncoderSettings,
    /// The last scores that were measured, and after how many updates.
    measured: std::sync::Mutex<Option<(u64, Scores)>>,
}

impl Classes {
    /// The training and the held-out images have the same classes, and every image one of them.
    fn new(
        encoder: &EncoderSettings,
        head: Head,
        settings: &DataSettings,
        data: &Data,
    ) -> Result<Self, TrainerError> {
        let shapes = std::path::Path::new("built-in shapes");
        let (train, val) = (data.train.as_ref(), data.all_held_out()?.source);
        let val_path = settings.val.as_ref().or(settings.path.as_ref());
        for (source, path) in [(train, settings.path.as_ref()), (val.as_ref(), val_path)] {
            let unlabelled = (0..source.len()).filter(|i| source.label(*i).is_none()).count();
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
        if classes.len() < 2 {
            return Err(TrainerError::argument("the number of classes", classes.len(), "at least 2"));
        }
        let mut counts = vec![0_usize; classes.len()];
        for label in (0..train.len()).filter_map(|i| train.label(i)) {
            counts[label as usize] += 1;
        }
        if let Some(empty) = counts.iter().position(|count| *count == 0) {
            let path = settings.path.as_deref().unwrap_or(shapes).into();
            return Err(TrainerError::EmptyClass { path, class: classes[empty].clone() });
        }
        let config = ClassifierConfig { vit: encoder.encoder, pooling: encoder.pooling, head, classes };
        Ok(Self { config, encoder: encoder.clone(), measured: Default::default() })
    }

    /// A new head on the encoder of the file.
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
            ("classes", format!("{} classes", self.config.classes.len())),
        ]
    }

    /// The shares of classes that a batch is to be told as.
    ///
    /// # Shapes
    /// `[B, classes]`
    fn targets(&self, mix: &Mix, mixing: &Mixing, labels: &[u32], device: &Device) -> Tensor<2> {
        let classes = self.config.classes.len();
        let targets = mix.targets(mixing, labels, classes);
        Tensor::from_data(TensorData::new(targets, [labels.len(), classes]), device)
    }
}

/// All images of a classifier's sets have a class.
fn labels(batch: &Batch) -> Vec<u32> {
    batch.labels.clone().expect("both sets were found to have a class for each image")
}

/// The mean cross entropy of scores with shares of classes.
///
/// # Shapes
/// `[B, classes]` twice → `[1]`
fn cross_entropy(scores: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    let [batch, _] = scores.dims();
    (activation::log_softmax(scores, 1) * targets).sum().neg().div_scalar(batch as f64)
}
