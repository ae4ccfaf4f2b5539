//! Images that verbs take: a file, a folder, packed shards.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use mae_data::{
    BadFilePolicy, DataError, DecodeLimits, EvalTransform, FolderOptions, Image, ImageSource, Loader,
    LoaderConfig, decode_file, open_images, path_name,
};
use mae_model::WeightFile;
use mae_trainer::eval_transform;
use mae_vit::{Compute, Geometry, Normalize, Precision};

/// Options of verbs that encode images.
#[derive(clap::Args)]
pub struct ImageArgs {
    /// Where to compute: flex, tch, tch:cuda:0, vulkan, wgpu, …; other than flex each needs its feature.
    #[arg(long, default_value = "flex")]
    pub device: mae_trainer::DeviceName,
    /// Type of matrix products, f32 or bf16; bf16 is faster on devices with bf16 instructions.
    #[arg(long, default_value_t = Precision::F32)]
    precision: Precision,
    /// Images of one pass.
    #[arg(long, default_value_t = 32)]
    pub batch_size: usize,
    /// Resize images to cover the model's size enlarged to PX pixels on its shorter side, then cut out the centre [default:
    /// as the files beside the weights say, else the model's own size, as runs are evaluated]. For a size of 224 the paper
    /// takes 256, timm 248.
    #[arg(long, value_name = "PX")]
    resize: Option<usize>,
    /// The channels' means by which images are normalised, such as 0.5,0.5,0.5: the file's otherwise, or ImageNet's.
    #[arg(long, value_name = "X,…", value_delimiter = ',', requires = "std")]
    mean: Vec<f32>,
    /// The channels' deviations.
    #[arg(long, value_name = "X,…", value_delimiter = ',', requires = "mean")]
    std: Vec<f32>,
    /// Threads that decode images: one a core otherwise.
    #[arg(long)]
    workers: Option<usize>,
}

/// How images are shown to a model.
pub struct Preparation {
    pub transform: EvalTransform,
    pub normalize: Normalize,
    channels: usize,
}

impl ImageArgs {
    /// What the numbers depend on besides the preparation.
    pub fn seen(&self) -> String {
        match self.precision {
            Precision::F32 => format!("on {}", self.device),
            precision => format!("on {} in {precision}", self.device),
        }
    }

    /// How a model computes on the opened device.
    pub fn compute(&self, device: &Device) -> Result<Compute> {
        ensure!(
            self.precision.is_supported_by(device),
            "--precision is {}, but {} computes in f32 alone",
            self.precision,
            self.device
        );
        Ok(Compute { precision: self.precision, ..Compute::default() })
    }

    /// How images are shown to the weights in a file: as the options say, else as the file or what lies beside it does,
    /// else as runs are evaluated.
    pub fn preparation(&self, file: &WeightFile, geometry: &Geometry) -> Result<Preparation> {
        let (size, channels) = (geometry.image_size(), geometry.in_chans());
        let normalize = match self.mean.is_empty() {
            true => file.normalize()?,
            false => Normalize::new(self.mean.clone(), self.std.clone())?,
        };
        normalize.validate(channels)?;
        let path = file.path().display();
        let said = match self.resize {
            Some(_) => None,
            None => file.said_resizing(size).with_context(|| {
                format!("{path}: cannot prepare images as it says, which --resize PX overrides")
            })?,
        };
        let Some(said) = said else {
            let transform = EvalTransform::new(size, self.resize)?;
            return Ok(Preparation { transform, normalize, channels });
        };
        let transform = eval_transform(&said.value, size).with_context(|| {
            format!("{path}: cannot prepare images as {} says, which --resize PX overrides", said.source)
        })?;
        Ok(Preparation { transform, normalize, channels })
    }

    /// A loader that shows images so, all of them in their order.
    pub fn loader(
        &self,
        source: &Arc<dyn ImageSource>,
        preparation: &Preparation,
        bad_files: BadFilePolicy,
    ) -> Result<Loader> {
        let mut config = LoaderConfig {
            batch_size: self.batch_size,
            drop_last: false,
            channels: preparation.channels,
            bad_files,
            ..LoaderConfig::default()
        };
        config.workers = self.workers.unwrap_or(config.workers);
        Ok(Loader::new(source.clone(), Arc::new(preparation.transform.clone()), config)?)
    }
}

/// A file as a data set of one image, a folder as one of all that are in it.
pub fn open(path: &Path) -> Result<Arc<dyn ImageSource>> {
    match path.is_file() {
        true => Ok(Arc::new(OneFile(path.into()))),
        false => Ok(open_images(path, FolderOptions::default())?),
    }
}

struct OneFile(PathBuf);

impl ImageSource for OneFile {
    fn len(&self) -> usize {
        1
    }

    fn load(&self, index: usize) -> Result<Image, DataError> {
        match index {
            0 => decode_file(&self.0, &DecodeLimits::default()),
            _ => Err(DataError::Index { index, len: 1 }),
        }
    }

    fn name(&self, _: usize) -> String {
        path_name(&self.0)
    }

    fn label(&self, _: usize) -> Option<u32> {
        None
    }

    fn class_names(&self) -> &[String] {
        &[]
    }
}
