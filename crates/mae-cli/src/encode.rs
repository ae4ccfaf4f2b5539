//! Computes the features of images.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, anyhow, ensure};
use burn::tensor::Tensor;
use clap::ValueEnum;
use mae_data::{ImageSource, PixelFormat};
use mae_model::{FeatureExtractor, ModelError};
use mae_vit::{Pooling, VisionTransformer, VitConfig};
use serde_json::{Value, json};

use crate::pass::{Pass, PassArgs};
use crate::progress::say;

/// The tokens that make an image's features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Tokens {
    /// The class token.
    Class,
    /// The mean of the patch tokens.
    Mean,
    /// All tokens, the class token first.
    All,
}

/// Options of verbs that make features of images.
#[derive(clap::Args)]
pub struct EncodeArgs {
    /// Take the tokens after block N, counted from 1, without the final norm [default: after the last block and the
    /// norm].
    #[arg(long, value_name = "N")]
    block: Option<usize>,
    #[command(flatten)]
    pass: PassArgs,
}

/// An encoder and the preparation of its images.
pub struct Encoder<'a> {
    args: &'a EncodeArgs,
    tokens: Tokens,
    features: FeatureExtractor,
    pass: Pass<'a>,
}

impl EncodeArgs {
    /// Loads the encoder from a weight file.
    pub fn open(&self, weights: &Path, tokens: Tokens) -> Result<Encoder<'_>> {
        let PassArgs { images_as, described, .. } = &self.pass;
        let device = images_as.device.open()?;
        let file = described.open(weights)?;
        let pooling = match tokens {
            _ if self.block.is_some() => None,
            Tokens::Class => Some(Pooling::ClassToken),
            Tokens::Mean => Some(Pooling::MeanPatch),
            Tokens::All => None,
        };
        let depth = file.vit_config(&described.hints())?.stack.depth;
        let refusal = || {
            anyhow!(
                "{} was fine-tuned on means and has no norm for single tokens: use --tokens mean, or --block {depth} for tokens \
                 without a norm",
                file.path().display()
            )
        };
        let features = file.features(pooling, &described.hints(), &device);
        let (features, used) = features.map_err(|error| match error {
            ModelError::NoTokenNorm { .. } => refusal(),
            error => error.into(),
        })?;
        let features = features.with_compute(images_as.compute(&device)?);
        if tokens == Tokens::All && self.block.is_none() && !features.norms_tokens() {
            return Err(refusal());
        }
        if let Some(block) = self.block {
            ensure!(
                (1..=depth).contains(&block),
                "--block is {block}, but the encoder has blocks 1 to {depth}"
            );
        }
        let preparation = images_as.preparation(&file, &features.config().geometry)?;
        let all = used.used.len() + used.unused.len();
        say(format_args!(
            "the encoder is {} of the {all} tensors in {}",
            used.used.len(),
            file.path().display()
        ));
        Ok(Encoder { args: self, tokens, features, pass: self.pass.prepared(&file, preparation, device) })
    }
}

impl Encoder<'_> {
    pub fn config(&self) -> &VitConfig {
        self.features.config()
    }

    /// The pixel format that images are decoded to.
    pub fn pixels(&self) -> PixelFormat {
        self.pass.preparation().pixels
    }

    /// The shape of the features of one image.
    pub fn row(&self) -> Vec<usize> {
        let (tokens, dim) = (1 + self.config().geometry.num_patches(), self.config().stack.embed_dim);
        if self.tokens == Tokens::All { vec![tokens, dim] } else { vec![dim] }
    }

    /// Everything that the features depend on, except the images.
    pub fn about(&self) -> Result<Value> {
        let mut about = self.pass.about()?;
        about["tokens"] = json!(format!("{:?}", self.tokens));
        about["block"] = json!(self.args.block);
        Ok(about)
    }

    /// Passes the features of the images from index `first` on to `each`, as [`Pass::run`] does.
    pub fn encode(
        &self,
        source: &Arc<dyn ImageSource>,
        first: usize,
        each: impl FnMut(&[f32]) -> Result<()>,
    ) -> Result<bool> {
        self.pass.run(source, first, "encoding", |images| self.rows(images), each)
    }

    fn rows(&self, images: Tensor<4>) -> Vec<f32> {
        let features = &self.features;
        let pool = |tokens, pooling| VisionTransformer::pool(tokens, pooling).into_data();
        let data = match (self.args.block, self.tokens) {
            (Some(block), Tokens::Class) => pool(features.tokens_behind(images, block), Pooling::ClassToken),
            (Some(block), Tokens::Mean) => pool(features.tokens_behind(images, block), Pooling::MeanPatch),
            (Some(block), Tokens::All) => features.tokens_behind(images, block).into_data(),
            (None, Tokens::All) => features.tokens(images).expect("refused without a norm").into_data(),
            (None, Tokens::Class | Tokens::Mean) => features.forward(images).into_data(),
        };
        data.convert::<f32>().try_to_vec::<f32>().expect("converted to f32")
    }
}
