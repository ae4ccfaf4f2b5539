//! Images through an encoder, in their order.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use burn::tensor::Device;
use clap::ValueEnum;
use mae_data::{BadFilePolicy, ImageSource};
use mae_model::{FeatureExtractor, ModelError};
use mae_report::duration;
use mae_trainer::StopFlag;
use mae_trainer::cli::output;
use mae_vit::{Pooling, VisionTransformer, VitConfig};

use crate::images::{ImageArgs, Preparation};
use crate::weights::Described;

/// What becomes of an image's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Tokens {
    /// The class token.
    Class,
    /// The mean of the patches' tokens.
    Mean,
    /// All of them, the class token first.
    All,
}

/// Options of verbs that make features of images.
#[derive(clap::Args)]
pub struct EncodeArgs {
    /// The tokens behind this block, counted from 1, without the final norm; otherwise behind all and the norm.
    #[arg(long, value_name = "N")]
    block: Option<usize>,
    /// Print no progress lines.
    #[arg(long, short)]
    pub quiet: bool,
    #[command(flatten)]
    images_as: ImageArgs,
    #[command(flatten)]
    described: Described,
}

/// An encoder and how images are shown to it.
pub struct Encoder<'a> {
    args: &'a EncodeArgs,
    tokens: Tokens,
    features: FeatureExtractor,
    preparation: Preparation,
    device: Device,
    weights: PathBuf,
    /// All files that the weights are in.
    files: Vec<PathBuf>,
}

impl EncodeArgs {
    /// The encoder of a file of weights.
    pub fn open(&self, weights: &Path, tokens: Tokens) -> Result<Encoder<'_>> {
        let device = self.images_as.device.open()?;
        let file = self.described.open(weights)?;
        let pooling = match tokens {
            _ if self.block.is_some() => None,
            Tokens::Class => Some(Pooling::ClassToken),
            Tokens::Mean => Some(Pooling::MeanPatch),
            Tokens::All => None,
        };
        let depth = file.vit_config(&self.described.hints())?.stack.depth;
        let refusal = || {
            anyhow!(
                "{} was fine-tuned on means and has no norm for single tokens: take --tokens mean, or --block {depth} for tokens \
                 without a norm",
                file.path().display()
            )
        };
        let features = file.features(pooling, &self.described.hints(), &device);
        let (features, used) = features.map_err(|error| match error {
            ModelError::NoTokenNorm { .. } => refusal(),
            error => error.into(),
        })?;
        if tokens == Tokens::All && self.block.is_none() && !features.norms_tokens() {
            return Err(refusal());
        }
        if let Some(block) = self.block {
            ensure!(
                (1..=depth).contains(&block),
                "--block is {block}, but the encoder has blocks 1 to {depth}"
            );
        }
        let preparation = self.images_as.preparation(&file, &features.config().geometry)?;
        let all = used.used.len() + used.unused.len();
        let encoder = Encoder {
            args: self,
            tokens,
            features,
            preparation,
            device,
            weights: file.path().into(),
            files: file.files().to_vec(),
        };
        encoder.say(&format!(
            "the encoder is {} of the {all} tensors in {}",
            used.used.len(),
            file.path().display()
        ));
        Ok(encoder)
    }
}

impl Encoder<'_> {
    pub fn config(&self) -> &VitConfig {
        self.features.config()
    }

    /// The shape of what is made of an image.
    pub fn row(&self) -> Vec<usize> {
        let (tokens, dim) = (1 + self.config().geometry.num_patches(), self.config().stack.embed_dim);
        if self.tokens == Tokens::All { vec![tokens, dim] } else { vec![dim] }
    }

    /// All that the numbers depend on but the images.
    pub fn about(&self) -> Result<serde_json::Value> {
        Ok(serde_json::json!({
            "weights": self.weights.display().to_string(),
            "checksum": checksum(&self.files)?,
            "tokens": format!("{:?}", self.tokens),
            "block": self.args.block,
            "normalize": self.preparation.normalize,
            "resized": format!("{:?}", self.preparation.transform),
            "options": format!("{} {:?}", self.args.images_as.seen(), self.args.described.hints()),
        }))
    }

    pub fn say(&self, text: &str) {
        if !self.args.quiet {
            output::warn(format_args!("{text}\n"));
        }
    }

    /// Hands on the rows of the images from `first` on, a batch at a time, with those that cannot be read as NaN; whether
    /// it was asked to stop.
    pub fn encode(
        &self,
        source: &Arc<dyn ImageSource>,
        first: usize,
        mut each: impl FnMut(&[f32]) -> Result<()>,
    ) -> Result<bool> {
        let len = source.len();
        if first == len {
            return Ok(false);
        }
        let stop = StopFlag::listen()?;
        let skip = BadFilePolicy::Skip { max_share: 1.0 };
        let loader = self.args.images_as.loader(source, &self.preparation, skip)?;
        let (began, mut told) = (Instant::now(), Instant::now());
        let mut batches = loader.batches(0, (first..len).collect(), 0)?;
        let (mut next, mut encoding) = (first, Duration::ZERO);
        while let Some(batch) = batches.next() {
            let batch = batch?;
            let at_work = Instant::now();
            let mut rows = self.rows(batch.images, batch.shape);
            encoding += at_work.elapsed();
            let size = rows.len() / batch.indices.len();
            for (row, index) in rows.chunks_mut(size).zip(&batch.indices) {
                // Something else stands in for what cannot be read.
                if *index != next {
                    row.fill(f32::NAN);
                }
                next += 1;
            }
            each(&rows)?;
            if stop.raised() && next < len {
                return Ok(true);
            }
            if told.elapsed() > Duration::from_secs(5) {
                told = Instant::now();
                let elapsed = began.elapsed().as_secs_f64();
                let rate = (next - first) as f64 / elapsed;
                let left = duration((len - next) as f64 / rate);
                let waiting = 100.0 * batches.waiting().as_secs_f64() / elapsed;
                self.say(&format!(
                    "{next} of {len} images, {rate:.1} images/s, {left} left, waiting {waiting:.0}%"
                ));
            }
        }
        for file in loader.bad_files() {
            output::warn(format_args!("not read: {}\n", file.reason));
        }
        let elapsed = began.elapsed().as_secs_f64();
        let (took, rate) = (duration(elapsed), (next - first) as f64 / elapsed);
        let share = |part: Duration| 100.0 * part.as_secs_f64() / elapsed;
        let (encoding, waiting) = (share(encoding), share(batches.waiting()));
        self.say(&format!(
            "{} images in {took}, {rate:.1} images/s, encoding {encoding:.1}%, waiting for images {waiting:.1}%",
            next - first
        ));
        Ok(false)
    }

    fn rows(&self, bytes: Vec<u8>, shape: [usize; 4]) -> Vec<f32> {
        let images = self.preparation.normalize.images(bytes, shape, &self.device);
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

/// Of all bytes of files: others may have come in their place.
fn checksum(paths: &[PathBuf]) -> Result<u32> {
    let (mut crc, mut buffer) = (crc32fast::Hasher::new(), vec![0; 1 << 20]);
    for path in paths {
        let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        loop {
            match file.read(&mut buffer).with_context(|| format!("cannot read {}", path.display()))? {
                0 => break,
                count => crc.update(&buffer[..count]),
            }
        }
    }
    Ok(crc.finalize())
}
