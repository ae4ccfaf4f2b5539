//! The images that verbs read: a file, a folder or packed shards.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use mae_data::{
    AnyImage, BadFilePolicy, DataError, DecodeLimits, Encoded, EvalTransform, FolderOptions, ImageSource,
    Loader, LoaderConfig, PixelFormat, PixelType, is_table, open_images, path_name,
};
use mae_model::WeightFile;
use mae_trainer::{dtype, eval_transform, pixel_format};
use mae_vit::{Compute, Geometry, Normalize, Precision};

/// Options of verbs that encode images.
#[derive(clap::Args)]
pub struct ImageArgs {
    /// Device to compute on: flex, tch, tch:cuda:0, vulkan, wgpu, …; all but flex need a Cargo feature at build time.
    #[arg(long, default_value = "flex")]
    pub device: mae_trainer::DeviceName,
    /// Precision of matrix products, f32 or bf16; bf16 is faster on devices with bf16 instructions.
    #[arg(long, default_value_t = Precision::F32)]
    precision: Precision,
    /// Images per forward pass.
    #[arg(long, default_value_t = 32)]
    pub batch_size: usize,
    /// Resize images to cover the model's size enlarged to PX pixels on its shorter side, then crop the centre
    /// [default: as the weight file or a file beside it says, else the model's own size, as runs are evaluated]. For a
    /// size of 224, the paper takes 256, timm 248.
    #[arg(long, value_name = "PX")]
    resize: Option<usize>,
    /// Use only the central square window of PX pixels a side, as runs with --window are evaluated.
    #[arg(long, value_name = "PX")]
    window: Option<usize>,
    /// Pixel format to decode images to: rgb8, or the stored type and number of channels, such as u16x1 or f32x13
    /// [default: the weight file's].
    #[arg(long, value_name = "FORMAT")]
    pixels: Option<PixelFormat>,
    /// Mean of each channel for normalisation, such as 0.5,0.5,0.5 [default: the weight file's, else ImageNet's].
    #[arg(long, value_name = "X,…", value_delimiter = ',', requires = "std")]
    mean: Vec<f32>,
    /// Standard deviation of each channel.
    #[arg(long, value_name = "X,…", value_delimiter = ',', requires = "mean")]
    std: Vec<f32>,
    /// Threads that decode images [default: one per core].
    #[arg(long)]
    workers: Option<usize>,
}

/// How images are prepared for a model.
pub struct Preparation {
    pub transform: EvalTransform,
    pub normalize: Normalize,
    /// The pixel format that images are decoded to.
    pub pixels: PixelFormat,
}

impl ImageArgs {
    /// Names the device and the precision, which results depend on besides the preparation.
    pub fn seen(&self) -> String {
        match self.precision {
            Precision::F32 => format!("on {}", self.device),
            precision => format!("on {} in {precision}", self.device),
        }
    }

    /// The compute settings of a model on the opened device. Fails if the device does not support the requested
    /// precision.
    pub fn compute(&self, device: &Device) -> Result<Compute> {
        ensure!(
            self.precision.is_supported_by(device),
            "--precision is {}, but {} computes in f32 alone",
            self.precision,
            self.device
        );
        Ok(Compute { precision: self.precision, ..Compute::default() })
    }

    /// Determines how images are prepared for the weights in a file. Options come first, then the file or the files
    /// beside it, then the way that runs are evaluated.
    pub fn preparation(&self, file: &WeightFile, geometry: &Geometry) -> Result<Preparation> {
        let (size, channels) = (geometry.image_size(), geometry.in_chans());
        let path = file.path().display();
        let normalize = match self.mean.is_empty() {
            true => file.normalize()?,
            false => {
                let said = || file.normalize().map(|normalize| normalize.dtype());
                let of = self.pixels.map_or_else(said, |pixels| Ok(dtype(pixels.pixel_type())));
                Normalize::of(of.unwrap_or(dtype(PixelType::U8)), self.mean.clone(), self.std.clone())?
            }
        };
        normalize.validate(channels)?;
        let pixels = self.pixels.unwrap_or_else(|| pixel_format(&normalize, channels));
        ensure!(
            pixels.channels() == channels && dtype(pixels.pixel_type()) == normalize.dtype(),
            "--pixels is {pixels}, but the model in {path} takes {channels} channels, and its images are normalised by {normalize}"
        );
        let said = match self.resize {
            Some(_) => None,
            None => file.said_resizing(size).with_context(|| {
                format!("{path}: cannot prepare images as it says; --resize PX overrides it")
            })?,
        };
        let Some(said) = said else {
            let transform = self.windowed(EvalTransform::new(size, self.resize)?)?;
            return Ok(Preparation { transform, normalize, pixels });
        };
        let transform = eval_transform(&said.value, size).with_context(|| {
            format!("{path}: cannot prepare images as {} says; --resize PX overrides it", said.source)
        })?;
        Ok(Preparation { transform: self.windowed(transform)?, normalize, pixels })
    }

    fn windowed(&self, transform: EvalTransform) -> Result<EvalTransform> {
        Ok(match self.window {
            Some(side) => transform.with_window(side)?,
            None => transform,
        })
    }

    /// Returns a loader that prepares all images in this way and keeps their order.
    pub fn loader(
        &self,
        source: &Arc<dyn ImageSource>,
        preparation: &Preparation,
        bad_files: BadFilePolicy,
    ) -> Result<Loader> {
        let mut config = LoaderConfig {
            batch_size: self.batch_size,
            drop_last: false,
            bad_files,
            ..LoaderConfig::default()
        };
        config.workers = self.workers.unwrap_or(config.workers);
        Ok(Loader::new(source.clone(), Arc::new(preparation.transform.clone()), config)?)
    }
}

/// Opens images as a data set decoded to `pixels`: a single image file, or all images of a folder or a table.
pub fn open(path: &Path, pixels: PixelFormat) -> Result<Arc<dyn ImageSource>> {
    match path.is_file() && !is_table(path) {
        true => Ok(Arc::new(OneFile { path: path.into(), pixels })),
        false => Ok(open_images(path, FolderOptions { pixels: Some(pixels), ..FolderOptions::default() })?),
    }
}

struct OneFile {
    path: PathBuf,
    pixels: PixelFormat,
}

impl ImageSource for OneFile {
    fn len(&self) -> usize {
        1
    }

    fn pixels(&self) -> PixelFormat {
        self.pixels
    }

    fn load(&self, index: usize) -> Result<AnyImage, DataError> {
        match index {
            0 => Ok(Encoded::read(&self.path, self.pixels, &DecodeLimits::default())?.decode()?),
            _ => Err(DataError::Index { index, len: 1 }),
        }
    }

    fn name(&self, _: usize) -> String {
        path_name(&self.path)
    }

    fn label(&self, _: usize) -> Option<u32> {
        None
    }

    fn class_names(&self) -> &[String] {
        &[]
    }
}
