//! Training steps of a segmenter: UPerNet of 128 channels on ViT-Ti/16 at 128 px, 21 classes.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData};
use mae_model::{
    AuxiliaryConfig, NORM_EPS, Preset, SegmentationHead, Segmenter, SegmenterConfig, UperNetConfig,
};
use mae_trainer::AdamW;
use mae_vit::dense::resize_bilinear;
use mae_vit::{Compute, Geometry, InitRng, Normalize, VitConfig, ops};
use safetensors::tensor::{Dtype, TensorView};

use crate::Report;

const CLASSES: usize = 21;
/// The weight of the auxiliary head's loss.
const AUXILIARY: f64 = 0.4;

pub fn config() -> Result<SegmenterConfig> {
    let (stack, _) = Preset::Tiny.stacks();
    let vit = VitConfig { geometry: Geometry::new((128, 128), 16, 3)?, stack, norm_eps: NORM_EPS };
    let head = UperNetConfig {
        channels: 128,
        auxiliary: Some(AuxiliaryConfig { channels: 128 }),
        dropout: 0.0,
        ..UperNetConfig::for_encoder(&stack)
    };
    let classes = (0..CLASSES).map(|class| class.to_string()).collect();
    Ok(SegmenterConfig { vit, head: SegmentationHead::UperNet(head), classes })
}

/// Images of noise, and classes in squares of 8 px.
pub struct Batch {
    images: Vec<u8>,
    labels: Vec<u8>,
    shape: [usize; 4],
}

impl Batch {
    pub fn new(config: &SegmenterConfig, batch: usize) -> Self {
        let (height, width) = config.vit.geometry.image_size();
        let shape = [batch, config.vit.geometry.in_chans(), height, width];
        let noise = InitRng::new(1).uniform(shape.iter().product(), 128.0);
        let images = noise.into_iter().map(|value| (value + 128.0) as u8).collect();
        let label = |i: usize| {
            let (image, row, column) = (i / (height * width), i / width % height / 8, i % width / 8);
            ((7 * image + 5 * row + 3 * column) % CLASSES) as u8
        };
        Self { images, labels: (0..batch * height * width).map(label).collect(), shape }
    }

    /// Writes the weights, the batch and the model's configuration, for the other program of the comparison.
    pub fn export(&self, model: &Segmenter, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        mae_model::save(model, &Normalize::imagenet(), &BTreeMap::new(), folder.join("initial.safetensors"))?;
        let [batch, _, height, width] = self.shape;
        let tensors = [
            ("images", TensorView::new(Dtype::U8, self.shape.to_vec(), &self.images)?),
            ("labels", TensorView::new(Dtype::U8, vec![batch, height, width], &self.labels)?),
        ];
        let path = folder.join("batch.safetensors");
        safetensors::serialize_to_file(tensors, None, &path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        let path = folder.join("model.json");
        std::fs::write(&path, serde_json::to_string(model.config())?)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Trains for `steps` steps and times each.
pub fn train(
    config: &SegmenterConfig,
    batch: &Batch,
    steps: usize,
    compute: Compute,
    device: &Device,
) -> Result<Report> {
    let mut model = config.init(0, device)?.with_compute(compute).train();
    let mut optimizer = AdamW::default().init(&model);
    let mut report = Report { seconds: Vec::new(), losses: Vec::new(), peak_mib: 0.0 };
    for _ in 0..steps {
        let began = Instant::now();
        let images = Normalize::imagenet().images(batch.images.clone(), batch.shape, device);
        let [count, _, height, width] = batch.shape;
        let labels: Vec<i32> = batch.labels.iter().map(|label| i32::from(*label)).collect();
        let labels: Tensor<3, Int> =
            ops::upload_ints(TensorData::new(labels, [count, height, width]), device);
        let out = model.train_forward(images, None, None);
        let mut loss = cross_entropy(out.scores, labels.clone());
        if let Some(scores) = out.auxiliary {
            loss = loss + cross_entropy(scores, labels).mul_scalar(AUXILIARY);
        }
        let gradients = GradientsParams::from_grads(loss.clone().backward(), &model);
        model = ops::together(|| optimizer.step(1.5e-4, model, gradients)).take_in(&out.statistics);
        report.losses.push(f64::from(loss.into_scalar::<f32>()));
        report.seconds.push(began.elapsed().as_secs_f64());
    }
    Ok(report)
}

/// The cross entropy of the scores, resized to the labels' resolution.
fn cross_entropy(scores: Tensor<4>, labels: Tensor<3, Int>) -> Tensor<1> {
    let [_, height, width] = labels.dims();
    let resized = resize_bilinear(scores.permute([0, 2, 3, 1]), (height, width)); // [B, H, W, K]
    let weights = Tensor::ones([labels.shape().num_elements()], &resized.device());
    ops::cross_entropy(resized.flatten(0, 2), labels.flatten(0, 2), weights)
}
