//! Images that verbs take: a file, a folder, packed shards.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use mae_data::{
    BadFilePolicy, Batch, DataError, DecodeLimits, EvalTransform, FolderOptions, Image, ImageSource, Loader,
    LoaderConfig, decode_file, open_images, path_name,
};
use mae_model::WeightFile;
use mae_trainer::save_png;
use mae_vit::{Geometry, Normalize};

/// Options of verbs that encode images.
#[derive(clap::Args)]
pub struct ImageArgs {
    /// Where to compute: flex, tch, tch:cuda:0, vulkan, wgpu, …; other than flex each needs its feature.
    #[arg(long, default_value = "flex")]
    pub device: mae_trainer::DeviceName,
    /// Images of one pass.
    #[arg(long, default_value_t = 32)]
    pub batch_size: usize,
    /// Resize images to cover the model's size enlarged to PX pixels on its shorter side, then cut out the centre [default:
    /// the model's own size, as runs are evaluated]. For a size of 224 the paper takes 256, timm 248.
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

impl ImageArgs {
    /// What the numbers depend on.
    pub fn seen(&self) -> String {
        format!("on {}, resized to {:?}", self.device, self.resize)
    }

    /// How images are normalised for the weights in a file.
    pub fn normalize(&self, file: &WeightFile, channels: usize) -> Result<Normalize> {
        if self.mean.is_empty() {
            return Ok(file.normalize()?);
        }
        let normalize = Normalize::new(self.mean.clone(), self.std.clone())?;
        normalize.validate(channels)?;
        Ok(normalize)
    }

    /// A loader that shows images as evaluation does, all of them in their order.
    pub fn loader(
        &self,
        source: &Arc<dyn ImageSource>,
        geometry: &Geometry,
        bad_files: BadFilePolicy,
    ) -> Result<Loader> {
        let transform = EvalTransform::new(geometry.image_size(), self.resize)?;
        let mut config = LoaderConfig {
            batch_size: self.batch_size,
            drop_last: false,
            channels: geometry.in_chans(),
            bad_files,
            ..LoaderConfig::default()
        };
        config.workers = self.workers.unwrap_or(config.workers);
        Ok(Loader::new(source.clone(), Arc::new(transform), config)?)
    }
}

impl ImageArgs {
    /// Writes a picture of each image, named after it, into a folder.
    pub fn pictures(
        &self,
        images: &Path,
        geometry: &Geometry,
        out: &Path,
        draw: impl Fn(Batch) -> Result<Vec<Image>>,
    ) -> Result<()> {
        let source = open(images)?;
        let loader = self.loader(&source, geometry, BadFilePolicy::Strict)?;
        fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
        let mut written = 0;
        for batch in loader.epoch(0, 0, (0..source.len() as u32).collect(), 0)? {
            let batch = batch?;
            let indices = batch.indices.clone();
            for (index, picture) in indices.into_iter().zip(draw(batch)?) {
                let name = source.name(index);
                let stem = Path::new(&name).file_stem().unwrap_or_default().to_string_lossy().into_owned();
                // Images of several folders may have one name.
                let name =
                    if source.len() == 1 { format!("{stem}.png") } else { format!("{index:06}-{stem}.png") };
                save_png(&picture, &out.join(name))?;
                written += 1;
            }
        }
        let pictures = if written == 1 { "picture" } else { "pictures" };
        println!("written         {written} {pictures} in {}", out.display());
        Ok(())
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
