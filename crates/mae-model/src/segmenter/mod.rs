//! Semantic segmentation: an encoder with a head that classifies every pixel.

mod config;
mod cost;
mod dropout;
mod layers;
mod names;
mod statistics;
mod uper;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor};
use mae_vit::dense::BatchNorm;
use mae_vit::{Compute, DropPath, InitRng, VisionTransformer};

pub use config::{AuxiliaryConfig, SegmentationHead, SegmenterConfig, UperNetConfig};
pub use dropout::HeadDropout;
pub use layers::{ConvNorm, LinearHead};
pub(crate) use names::is_segmentation_head;
pub use statistics::BatchStatistics;
pub use uper::{AuxiliaryHead, Pyramid, UperHead, UperNet};

use crate::ModelError;
use crate::params::with_path_ids;
use layers::Pass;

/// A vision transformer that classifies every pixel.
///
/// # Source
/// MAE section A.4, UPerNet on a plain vision transformer; DINOv2 (arXiv 2304.07193) section 7.4 for the linear head.
#[derive(Module, Debug)]
pub struct Segmenter {
    /// Encodes images into tokens. A UPerNet does not use its norm.
    pub encoder: VisionTransformer,
    /// The head, if it is [`SegmentationHead::Linear`].
    pub linear: Option<LinearHead>,
    /// The head, if it is [`SegmentationHead::UperNet`].
    pub uper: Option<UperNet>,
    #[module(skip)]
    config: SegmenterConfig,
}

/// The result of a forward pass in training.
#[derive(Debug)]
pub struct TrainForward {
    /// Class logits, `[B, K, h, w]`.
    pub scores: Tensor<4>,
    /// Logits of the auxiliary head, if there is one, at the stride of patches: `[B, K, h, w]`.
    pub auxiliary: Option<Tensor<4>>,
    /// Batch-norm statistics for [`Segmenter::take_in`].
    pub statistics: BatchStatistics,
}

impl SegmenterConfig {
    /// Builds a segmenter with random weights.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn init(&self, seed: u64, device: &Device) -> Result<Segmenter, ModelError> {
        self.check()?;
        let mut rng = InitRng::new(seed);
        let encoder = self
            .vit
            .init(&mut rng, device)
            .map_err(|source| ModelError::Config { part: "encoder", source })?;
        Ok(Segmenter::assemble(encoder, self.clone(), &mut rng, device))
    }
}

impl Segmenter {
    /// Puts a new head on an encoder.
    ///
    /// # Errors
    /// As [`SegmenterConfig::check`]; [`ModelError::Encoder`] if the configuration's encoder is not this one.
    pub fn new(
        encoder: VisionTransformer,
        config: SegmenterConfig,
        seed: u64,
        device: &Device,
    ) -> Result<Self, ModelError> {
        config.check()?;
        if *encoder.config() != config.vit {
            let (found, expected) = (Box::new(*encoder.config()), Box::new(config.vit));
            return Err(ModelError::Encoder { found, expected });
        }
        Ok(Self::assemble(encoder, config, &mut InitRng::new(seed), device))
    }

    pub(crate) fn assemble(
        mut encoder: VisionTransformer,
        config: SegmenterConfig,
        rng: &mut InitRng,
        device: &Device,
    ) -> Self {
        let (width, classes) = (config.vit.stack.embed_dim, config.classes.len());
        // Positions are fixed only in pre-training.
        encoder.pos_embed = encoder.pos_embed.set_require_grad(true);
        let (linear, uper) = match &config.head {
            SegmentationHead::Linear => (Some(LinearHead::new(width, classes, rng, device)), None),
            SegmentationHead::UperNet(head) => {
                // Do not train what the head does not use.
                encoder.norm = encoder.norm.no_grad();
                for block in encoder.blocks.iter_mut().skip(head.blocks[3]) {
                    *block = block.clone().no_grad();
                }
                (None, Some(UperNet::new(width, classes, head, rng, device)))
            }
        };
        with_path_ids(Self { encoder, linear, uper, config })
    }

    /// The segmenter's configuration.
    pub fn config(&self) -> &SegmenterConfig {
        &self.config
    }

    /// Returns the segmenter with other compute settings.
    #[must_use]
    pub fn with_compute(self, compute: Compute) -> Self {
        Self {
            encoder: self.encoder.with_compute(compute),
            linear: self.linear.map(|head| head.with_precision(compute.precision)),
            uper: self.uper.map(|head| head.with_precision(compute.precision)),
            ..self
        }
    }

    /// Returns the segmenter with only the last `blocks` blocks of the encoder, the norm after them (which a UPerNet
    /// does not use) and the head trained. If `blocks` covers all of them, nothing is frozen.
    ///
    /// # Source
    /// Partial fine-tuning, MAE §4.3 (figure 9).
    #[must_use]
    pub fn with_trained_blocks(self, blocks: usize) -> Self {
        Self { encoder: self.encoder.with_trained_blocks(blocks), ..self }
    }

    /// Returns the segmenter with only the head trained.
    #[must_use]
    pub fn with_frozen_encoder(self) -> Self {
        Self { encoder: self.encoder.no_grad(), ..self }
    }

    /// Returns the segmenter for images of another size, with resampled positions.
    ///
    /// # Errors
    /// If the patch size does not divide the new size; as [`SegmenterConfig::check`].
    pub fn with_image_size(mut self, image_size: (usize, usize)) -> Result<Self, ModelError> {
        self.encoder = self
            .encoder
            .with_image_size(image_size)
            .map_err(|source| ModelError::Config { part: "encoder", source })?;
        self.config.vit = *self.encoder.config();
        self.config.check()?;
        Ok(self)
    }

    /// Computes class logits at the head's own resolution: for h x w patches, 4 h x 4 w for a UPerNet and h x w for a
    /// linear head.
    ///
    /// # Shapes
    /// normalised images `[B, C, H, W]` → `[B, K, h, w]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        channels_first(self.scores(images, None, None, &mut Pass::Evaluate).0)
    }

    /// Like [`forward`](Self::forward), in training: with stochastic depth, dropout before the classifier, and batch
    /// norms by the batch's statistics. Also returns these statistics and the auxiliary head's logits.
    ///
    /// The batch needs at least [`SegmenterConfig::min_batch`] images.
    ///
    /// # Shapes
    /// normalised images `[B, C, H, W]` → `[B, K, h, w]`
    pub fn train_forward(
        &self,
        images: Tensor<4>,
        drop: Option<&DropPath>,
        dropout: Option<&HeadDropout>,
    ) -> TrainForward {
        let mut statistics = BatchStatistics::default();
        let (scores, auxiliary) = self.scores(images, drop, dropout, &mut Pass::Train(&mut statistics));
        let (scores, auxiliary) = (channels_first(scores), auxiliary.map(channels_first));
        TrainForward { scores, auxiliary, statistics }
    }

    /// Returns the segmenter with the running statistics of its batch norms moved towards a batch's.
    #[must_use]
    pub fn take_in(self, statistics: &BatchStatistics) -> Self {
        struct TakeIn<'a>(&'a BatchStatistics);
        impl ModuleMapper for TakeIn<'_> {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                let Some(batch) = self.0.of(param.id) else { return param };
                let batch = batch.mul_scalar(BatchNorm::MOMENTUM).reshape(param.dims());
                param.map(|old| old.mul_scalar(1.0 - BatchNorm::MOMENTUM) + batch)
            }
        }
        self.map(&mut TakeIn(statistics))
    }

    /// Logits `[B, h, w, K]`, and those of the auxiliary head.
    fn scores(
        &self,
        images: Tensor<4>,
        drop: Option<&DropPath>,
        dropout: Option<&HeadDropout>,
        pass: &mut Pass<'_>,
    ) -> (Tensor<4>, Option<Tensor<4>>) {
        let depth = [self.encoder.blocks.len()];
        let blocks: &[usize] = match &self.config.head {
            SegmentationHead::Linear => &depth,
            SegmentationHead::UperNet(head) => &head.blocks,
        };
        let mut tokens = self.encoder.forward_through(images, blocks, drop).into_iter();
        let mut next = || tokens.next().expect("as many tokens as blocks were asked for");
        match (&self.linear, &self.uper) {
            (Some(head), _) => (head.forward(self.map_of(self.encoder.norm.forward(next())), pass), None),
            (None, Some(head)) => head.forward([(); 4].map(|()| self.map_of(next())), pass, dropout),
            (None, None) => unreachable!("a segmenter has a head"),
        }
    }

    /// Arranges the patch tokens in their grid: `[B, 1 + L, D]` → `[B, h, w, D]`.
    fn map_of(&self, tokens: Tensor<3>) -> Tensor<4> {
        let [batch, len, dim] = tokens.dims();
        let (rows, columns) = self.config.vit.geometry.grid();
        tokens.slice([0..batch, 1..len, 0..dim]).reshape([batch, rows, columns, dim])
    }

    /// The official name of a parameter.
    pub(crate) fn official_name(path: &str) -> String {
        names::official_name(path)
    }
}

/// `[B, H, W, C]` → `[B, C, H, W]`
fn channels_first(x: Tensor<4>) -> Tensor<4> {
    x.permute([0, 3, 1, 2])
}
