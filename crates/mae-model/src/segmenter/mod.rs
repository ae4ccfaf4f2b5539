//! An encoder with a head that scores every pixel: semantic segmentation.

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

/// A vision transformer that tells the class of every pixel.
///
/// # Source
/// MAE section A.4, UPerNet on a plain vision transformer; DINOv2 (arXiv 2304.07193) section 7.4 for the linear head.
#[derive(Module, Debug)]
pub struct Segmenter {
    /// Makes tokens of images. A UPerNet does not use its norm.
    pub encoder: VisionTransformer,
    /// The head, if it is [`SegmentationHead::Linear`].
    pub linear: Option<LinearHead>,
    /// The head, if it is [`SegmentationHead::UperNet`].
    pub uper: Option<UperNet>,
    #[module(skip)]
    config: SegmenterConfig,
}

/// What a training batch makes.
#[derive(Debug)]
pub struct TrainForward {
    /// `[B, K, h, w]`
    pub scores: Tensor<4>,
    /// Of the auxiliary head, if there is one, at the stride of patches: `[B, K, h, w]`.
    pub auxiliary: Option<Tensor<4>>,
    /// For [`Segmenter::take_in`].
    pub statistics: BatchStatistics,
}

impl SegmenterConfig {
    /// A segmenter with random weights.
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
    /// A new head on an encoder.
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
        // Positions are fixed in pre-training alone.
        encoder.pos_embed = encoder.pos_embed.set_require_grad(true);
        let (linear, uper) = match &config.head {
            SegmentationHead::Linear => (Some(LinearHead::new(width, classes, rng, device)), None),
            SegmentationHead::UperNet(head) => {
                // What is not computed is not trained.
                encoder.norm = encoder.norm.no_grad();
                for block in encoder.blocks.iter_mut().skip(head.blocks[3]) {
                    *block = block.clone().no_grad();
                }
                (None, Some(UperNet::new(width, classes, head, rng, device)))
            }
        };
        with_path_ids(Self { encoder, linear, uper, config })
    }

    /// Its description.
    pub fn config(&self) -> &SegmenterConfig {
        &self.config
    }

    /// The same segmenter, computed otherwise.
    #[must_use]
    pub fn with_compute(self, compute: Compute) -> Self {
        Self {
            encoder: self.encoder.with_compute(compute),
            linear: self.linear.map(|head| head.with_precision(compute.precision)),
            uper: self.uper.map(|head| head.with_precision(compute.precision)),
            ..self
        }
    }

    /// The same with only the last `blocks` blocks of the encoder, the norm behind them and the head left to be trained; with all of
    /// them, everything is.
    ///
    /// # Source
    /// Partial fine-tuning, MAE §4.3 (figure 9).
    #[must_use]
    pub fn with_trained_blocks(self, blocks: usize) -> Self {
        Self { encoder: self.encoder.with_trained_blocks(blocks), ..self }
    }

    /// The same with the head alone left to be trained.
    #[must_use]
    pub fn with_frozen_encoder(self) -> Self {
        Self { encoder: self.encoder.no_grad(), ..self }
    }

    /// The same segmenter for images of another size, its positions resampled.
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

    /// Scores of classes, at the head's own resolution: 4 h x 4 w of h x w patches for a UPerNet, h x w for a linear head.
    ///
    /// # Shapes
    /// normalised images `[B, C, H, W]` → `[B, K, h, w]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        channels_first(self.scores(images, None, None, &mut Pass::Evaluate).0)
    }

    /// The same in training: with stochastic depth, dropout before the scores, batch norms by the batch's numbers, which are returned,
    /// and the auxiliary head's scores.
    ///
    /// The batch has [`SegmenterConfig::min_batch`] images at least.
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

    /// The same segmenter, the running numbers of its batch norms moved towards a batch's.
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

    /// Scores `[B, h, w, K]`, and those of the auxiliary head.
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

    /// Tokens of patches where these lie: `[B, 1 + L, D]` → `[B, h, w, D]`.
    fn map_of(&self, tokens: Tensor<3>) -> Tensor<4> {
        let [batch, len, dim] = tokens.dims();
        let (rows, columns) = self.config.vit.geometry.grid();
        tokens.slice([0..batch, 1..len, 0..dim]).reshape([batch, rows, columns, dim])
    }

    /// What a parameter is called in an official file.
    pub(crate) fn official_name(path: &str) -> String {
        names::official_name(path)
    }
}

/// `[B, H, W, C]` → `[B, C, H, W]`
fn channels_first(x: Tensor<4>) -> Tensor<4> {
    x.permute([0, 3, 1, 2])
}
