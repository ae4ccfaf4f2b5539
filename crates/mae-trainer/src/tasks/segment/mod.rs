//! Semantic segmentation: a class for each pixel.

#[cfg(test)]
mod golden;
mod held_out;
mod inference;
mod loss;
mod measure;
mod recipe;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use burn::optim::ModuleOptimizer;
use burn::tensor::{DType, Device, Tensor, TensorData};
use mae_data::{
    Batch, ClassMap, Image, ImageSource, LabelMapOptions, LabelMaps, PhotometricDistortion, SegmentTransform,
    Segmented, Transform, sample_rng, uniform,
};
use mae_model::{
    BatchStatistics, HeadDropout, ParamInfo, SegmentationHead, Segmenter, SegmenterConfig, UperNetConfig,
};
use mae_report::{Metric, Outcome, overlay_labels};
use mae_vit::dense::resize_bilinear;
use mae_vit::{Compute, DropPath, Geometry, VitConfig};

use crate::context::Context;
use crate::recipe::within;
use crate::tasks::layers::{decays, layer_wise};
use crate::{At, Backward, Data, Measured, Recipe, SettingsOf, Shown, Task, TrainerError};
use held_out::HeldOut;
use loss::{Truth, channels_last};

pub use inference::{SegmentationPass, SegmentationSettings};
pub use measure::SegmenterScores;
pub use recipe::{
    HeadKind, MapsRecipe, MapsSettings, PredictMode, PredictRecipe, PredictSettings, SegmentRecipe,
    SegmentSettings, SegmentingRecipe, SegmentingSettings,
};

/// Semantic segmentation. The loss is the cross entropy of pixels, to which that of an auxiliary head and the Dice loss
/// may be added.
pub struct Segment {
    config: SegmenterConfig,
    settings: SettingsOf<Self>,
    /// The last measurements on held-out images.
    measured: Mutex<Option<Arc<HeldOut>>>,
}

/// Replaces the epoch in the random draws of drop path and dropout. No training reaches this epoch.
const DROP_EPOCH: u64 = u64::MAX - 3;

const MIOU: Metric = Metric::accuracy("miou", "mIoU", SHARES);
const SHARES: &str = "Held-out pixels";

impl Task for Segment {
    type Recipe = SegmentRecipe;
    type Model = Segmenter;

    fn fill(recipe: &mut Recipe<SegmentRecipe>) -> Result<Geometry, TrainerError> {
        recipe.task.fill(&mut recipe.data)
    }

    fn join(recipe: &Recipe<SegmentRecipe>, mut data: Data) -> Result<Data, TrainerError> {
        let maps = &recipe.task.maps;
        let options = LabelMapOptions { template: maps.template.clone(), ..LabelMapOptions::default() };
        let classes = maps.classes.as_ref().map(ClassMap::open).transpose()?;
        let train = LabelMaps::open(&maps.path, classes, options.clone())?;
        let val = match (&data.val, &maps.val) {
            (None, None) => None,
            (Some(_), Some(path)) => Some(LabelMaps::open(path, Some(train.class_map().clone()), options)?),
            // If a share of the training images is held out, its label maps are among theirs.
            (Some(_), None) if recipe.data.val.is_none() => Some(train.clone()),
            (Some(_), None) => {
                let bound = "the folder of the held-out images' label maps";
                return Err(TrainerError::argument("maps.val", "not given", bound));
            }
            (None, Some(path)) => {
                let bound = "left out if there are no held-out images";
                return Err(TrainerError::argument("maps.val", path.display(), bound));
            }
        };
        let drawn = data.val.is_some() && recipe.data.val.is_none();
        if let (true, Some(list)) = (drawn, maps.list.as_ref().or(maps.val_list.as_ref())) {
            let bound = "left out if val_share draws the held-out images";
            return Err(TrainerError::argument("maps.list", list.display(), bound));
        }
        if let (None, Some(list)) = (&data.val, &maps.val_list) {
            let bound = "left out if there are no held-out images";
            return Err(TrainerError::argument("maps.val_list", list.display(), bound));
        }
        let notes = &mut data.notes;
        let mut join = |images: Arc<dyn ImageSource>, maps, list: &Option<PathBuf>| {
            let all = images.len();
            let mut segmented = Segmented::new(images, maps)?;
            match (list, segmented.without_map()) {
                (Some(list), _) => {
                    segmented = segmented.listed(list)?;
                    notes.push(("list", format!("{}: {} of {all} images", list.display(), segmented.len())));
                }
                (None, 0) => {}
                (None, left_out) => {
                    let root = segmented.maps().root().display();
                    notes.push((
                        "left out",
                        format!("{left_out} of {all} images without a label map in {root}"),
                    ));
                }
            }
            Ok::<Arc<dyn ImageSource>, TrainerError>(Arc::new(segmented))
        };
        data.train = join(data.train, train, &maps.list)?;
        data.val = data.val.zip(val).map(|(images, val)| join(images, val, &maps.val_list)).transpose()?;
        Ok(data)
    }

    fn new(settings: &SettingsOf<Self>, data: &Data) -> Result<Self, TrainerError> {
        data.all_held_out()?;
        let (maps, segment) = (&settings.task.maps, &settings.task.segment);
        let classes = data.train.map_classes().to_vec();
        within("the number of classes", classes.len() > 1, classes.len(), "at least 2")?;
        let weights = segment.class_weights.len();
        let bound = format!("{} numbers, one for each class in {}", classes.len(), maps.path.display());
        within(
            "class_weights",
            weights == 0 || weights == classes.len(),
            format!("{weights} numbers"),
            &bound,
        )?;
        let positive = segment.class_weights.iter().all(|weight| *weight >= 0.0 && weight.is_finite());
        within("class_weights", positive, format!("{:?}", segment.class_weights), "at least 0 each")?;
        let head = match segment.head {
            HeadKind::Linear => SegmentationHead::Linear,
            HeadKind::UperNet => {
                let usual = UperNetConfig::for_encoder(&settings.task.model.encoder.stack);
                SegmentationHead::UperNet(UperNetConfig {
                    channels: segment.channels,
                    blocks: segment.levels,
                    auxiliary: usual.auxiliary.filter(|_| segment.auxiliary > 0.0),
                    dropout: segment.dropout,
                    ..usual
                })
            }
        };
        let file = settings.task.model.encoder;
        let (patch, channels) = (file.geometry.patch_size(), file.geometry.in_chans());
        let vit = VitConfig { geometry: Geometry::new(segment.crop_size, patch, channels)?, ..file };
        let config = SegmenterConfig { vit, head, classes };
        config.check()?;
        let (batch, least) = (settings.train.batch_size, config.min_batch());
        within("batch_size", batch >= least, batch, &format!("at least {least} for the head's batch norms"))?;
        Ok(Self { config, settings: settings.clone(), measured: Mutex::default() })
    }

    fn transform(
        &self,
        settings: &SettingsOf<Self>,
        geometry: &Geometry,
    ) -> Result<Arc<dyn Transform>, TrainerError> {
        let segment = &settings.task.segment;
        let normalize = &settings.data.normalize;
        // For 8-bit images, white is 1 in the recipe's means.
        let white = if normalize.dtype() == DType::U8 { 255.0 } else { 1.0 };
        let transform = SegmentTransform::new(geometry.image_size())?
            .with_scale(segment.scale)?
            .with_short_side(Some(segment.short_side).filter(|side| *side > 0))?
            .with_largest_share(segment.max_share)?
            .with_flip(settings.data.flip)
            .with_vertical_flip(settings.data.flip_vertical)
            .with_quarter_turns(settings.data.quarter_turns)
            .with_photometric(segment.distortion.then(PhotometricDistortion::default))
            .with_fill(normalize.mean().iter().map(|mean| white * f64::from(*mean)).collect());
        Ok(match settings.data.window {
            Some(side) => Arc::new(transform.with_window(side)?),
            None => Arc::new(transform),
        })
    }

    fn init(&self, seed: u64, device: &Device) -> Result<Segmenter, TrainerError> {
        Ok(self.trained(self.config.init(seed, device)?))
    }

    fn start(&self, seed: u64, device: &Device) -> Result<Option<Segmenter>, TrainerError> {
        let model = match self.settings.task.segment.from_scratch {
            true => self.config.init(seed, device)?,
            false => self.settings.task.model.segmenter(self.config.clone(), seed, device)?,
        };
        Ok(Some(self.trained(model)))
    }

    fn optimizer(&self, settings: &SettingsOf<Self>, model: &Segmenter) -> ModuleOptimizer {
        layer_wise(model, settings.optim.adamw(), settings.task.segment.layer_decay)
    }

    fn decays(&self, param: &ParamInfo) -> bool {
        decays(param)
    }

    fn loss(&self, model: &mut Segmenter, batch: Batch, at: &At<'_>) -> Result<Tensor<1>, TrainerError> {
        Ok(self.batch_loss(model, batch, at).0)
    }

    /// Batch norms normalise by the statistics of a batch. Their running statistics are updated by the mean over the
    /// update's batches, on all ranks.
    fn gradients(
        &self,
        model: &mut Segmenter,
        batches: Vec<Batch>,
        at: &At<'_>,
        backward: &mut Backward<'_, Segmenter>,
    ) -> Result<(), TrainerError> {
        let (count, mut all) = (batches.len(), Vec::new());
        for (i, batch) in batches.into_iter().enumerate() {
            let (loss, statistics) = self.batch_loss(model, batch, &at.batch(i));
            backward.add(model, loss, (i, count))?;
            all.push(statistics);
        }
        let Some(mut mean) = BatchStatistics::mean(all) else { return Ok(()) };
        if at.ranks.averages() {
            let flat = mean.to_flat();
            let flat = Tensor::from_data(TensorData::new(flat.clone(), [flat.len()]), at.device);
            let flat = Tensor::cat(at.ranks.mean(vec![flat])?()?, 0).into_data().convert::<f32>();
            mean = mean.with_flat(&flat.try_to_vec::<f32>().expect("converted to f32"));
        }
        *model = model.clone().take_in(&mean);
        Ok(())
    }

    const METRICS: &'static [Metric] = &[
        MIOU,
        Metric::accuracy("pixel_accuracy", "pixel accuracy", SHARES),
        Metric::accuracy("mean_accuracy", "mean accuracy of classes", SHARES),
        Metric::accuracy("dice", "mean Dice", SHARES),
    ];

    const LOSS: &'static str = "loss of training crops";

    fn best(&self) -> Metric {
        MIOU
    }

    fn evaluate(
        &self,
        context: &Context,
        model: &Segmenter,
        step: u64,
        device: &Device,
    ) -> Result<Measured, TrainerError> {
        self.measure(context, model, step, device)
    }

    fn draw(
        &self,
        context: &Context,
        model: &Segmenter,
        step: u64,
        device: &Device,
    ) -> Result<(), TrainerError> {
        self.draw_step(context, model, step, device)
    }

    fn examples(&self, batch: Batch, _: &At<'_>, shown: &Shown) -> Result<Vec<Image>, TrainerError> {
        let [_, _, height, width] = batch.shape;
        let images = shown.images(&batch.images, batch.shape)?;
        let maps = batch.maps.unwrap_or_default();
        let labels = |labels: &[u16]| Image::new(height, width, 1, labels.to_vec());
        let each = images.iter().zip(maps.chunks(height * width));
        each.map(|(image, map)| Ok(overlay_labels(image, &labels(map)?, 0.5)?)).collect()
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        let segment = &self.settings.task.segment;
        let (stack, geometry) = (self.config.vit.stack, self.config.vit.geometry);
        let ((height, width), weights) = (geometry.image_size(), self.settings.task.model.weights.display());
        vec![
            (
                "weights",
                if segment.from_scratch {
                    format!("random, of the shape in {weights}")
                } else {
                    weights.to_string()
                },
            ),
            ("model", format!("{} wide, {} blocks, {} heads", stack.embed_dim, stack.depth, stack.num_heads)),
            ("head", self.config.head.to_string()),
            ("label maps", self.settings.task.maps.path.display().to_string()),
            ("images", format!("{height}x{width} px, patch {}", geometry.patch_size())),
            ("classes", format!("{}: {}", self.config.classes.len(), first_names(&self.config.classes))),
        ]
    }

    fn title(&self) -> String {
        format!("segmentation into {} classes", self.config.classes.len())
    }

    fn flops_per_image(&self) -> Option<f64> {
        // The backward pass, if there is one, takes twice the operations of the forward pass.
        let backward = if self.settings.task.segment.blocks == 0 { 0.0 } else { 2.0 };
        let encoder = self.config.vit.stack.flops(1 + self.config.vit.geometry.num_patches());
        Some((1.0 + backward) * encoder + 3.0 * (self.config.flops() - encoder))
    }

    fn activations_per_image(&self, compute: Compute, device: &Device) -> Option<usize> {
        Some(self.config.activation_bytes(compute, device))
    }

    fn finish(
        &self,
        context: &Context,
        model: &Segmenter,
        step: u64,
        device: &Device,
    ) -> Result<Outcome, TrainerError> {
        self.report(context, model, step, device)
    }
}

impl Segment {
    /// Sets a model's compute settings and freezes the layers that are not trained.
    fn trained(&self, model: Segmenter) -> Segmenter {
        let model = model.with_compute(self.settings.compute());
        match (&self.config.head, self.settings.task.segment.blocks) {
            // Only the linear head is trained, which measures the encoder's features as they are.
            (SegmentationHead::Linear, 0) => model.with_frozen_encoder(),
            (_, blocks) => model.with_trained_blocks(blocks),
        }
    }

    /// The loss of a batch, and the statistics of its batch norms.
    fn batch_loss(&self, model: &Segmenter, mut batch: Batch, at: &At<'_>) -> (Tensor<1>, BatchStatistics) {
        let segment = &self.settings.task.segment;
        let [count, _, height, width] = batch.shape;
        let maps = batch.maps.take().expect("the transform takes label maps");
        let truth = Truth::new(&maps, [count, height, width], at.device);
        let mut rng = sample_rng(self.settings.train.seed, DROP_EPOCH, at.number as usize);
        let mut draw = move || uniform(&mut rng);
        let (rate, depth) = (segment.drop_path, self.config.vit.stack.depth);
        let drop = (rate > 0.0).then(|| DropPath::draw(rate, depth, count, &mut draw));
        let dropout = match &self.config.head {
            SegmentationHead::UperNet(head) if head.dropout > 0.0 => {
                Some(HeadDropout::draw(head, count, &mut draw))
            }
            _ => None,
        };
        let forward = model.train_forward(at.images(&mut batch), drop.as_ref(), dropout.as_ref());
        let whole = |scores| resize_bilinear(channels_last(scores), (height, width));
        let scores = whole(forward.scores);
        let mut loss = truth.cross_entropy(scores.clone(), &segment.class_weights);
        if segment.dice > 0.0 {
            loss = loss + truth.dice(scores).mul_scalar(segment.dice);
        }
        if let Some(auxiliary) = forward.auxiliary {
            let auxiliary = truth.cross_entropy(whole(auxiliary), &segment.class_weights);
            loss = loss + auxiliary.mul_scalar(segment.auxiliary);
        }
        (loss, forward.statistics)
    }
}

/// The number of class names that fit in a line of the plan.
const NAMED: usize = 8;

fn first_names(classes: &[String]) -> String {
    let more = if classes.len() > NAMED { ", …" } else { "" };
    classes[..classes.len().min(NAMED)].join(", ") + more
}
