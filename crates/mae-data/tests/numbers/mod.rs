//! A data set of small numbered images for the loader's tests, with a hook that runs when an image is loaded.

use std::sync::Arc;

use mae_data::{
    AnyImage, Batch, DataError, Image, ImageSource, Loader, LoaderConfig, PixelFormat, SampleRng, Transform,
    below, uniform,
};

pub const SIZE: (usize, usize) = (2, 3);

type Hook = Box<dyn Fn(usize) -> Result<(), DataError> + Send + Sync>;

pub struct Numbers {
    pub len: usize,
    /// The actual number of channels.
    pub channels: usize,
    /// The pixel format that the source reports.
    pub pixels: PixelFormat,
    pub labelled: fn(usize) -> bool,
    /// Runs before an image is made.
    pub hook: Hook,
}

impl Numbers {
    pub fn new(len: usize, hook: impl Fn(usize) -> Result<(), DataError> + Send + Sync + 'static) -> Self {
        Self { len, channels: 3, pixels: PixelFormat::Rgb8, labelled: |_| true, hook: Box::new(hook) }
    }

    pub fn fine(len: usize) -> Self {
        Self::new(len, |_| Ok(()))
    }
}

pub fn name(index: usize) -> String {
    format!("numbers/{index:03}")
}

impl ImageSource for Numbers {
    fn len(&self) -> usize {
        self.len
    }

    fn pixels(&self) -> PixelFormat {
        self.pixels
    }

    fn load(&self, index: usize) -> Result<AnyImage, DataError> {
        (self.hook)(index)?;
        let bytes = SIZE.0 * SIZE.1 * self.channels;
        let bytes: Vec<u8> = (0..bytes).map(|at| (index * 31 + at) as u8).collect();
        Ok(Image::new(SIZE.0, SIZE.1, self.channels, bytes)?.into())
    }

    fn name(&self, index: usize) -> String {
        name(index)
    }

    fn label(&self, index: usize) -> Option<u32> {
        (self.labelled)(index).then_some(index as u32 % 10)
    }

    fn class_names(&self) -> &[String] {
        &[]
    }
}

/// Adds noise. The number of values that it draws is random too.
pub struct Noise;

impl Transform for Noise {
    fn apply(&self, image: AnyImage, rng: &mut SampleRng) -> AnyImage {
        let (height, width, channels) = (image.height(), image.width(), image.channels());
        let mut data = image.into_u8().unwrap().into_data();
        for byte in &mut data {
            while uniform(rng) < 0.3 {}
            *byte = byte.wrapping_add(below(rng, 256) as u8);
        }
        Image::new(height, width, channels, data).unwrap().into()
    }

    fn output_size(&self) -> (usize, usize) {
        SIZE
    }
}

/// Batches of 4, made by 2 workers.
pub fn config() -> LoaderConfig {
    LoaderConfig { seed: 9, batch_size: 4, workers: 2, ..LoaderConfig::default() }
}

pub fn loader(source: Numbers, config: LoaderConfig) -> Loader {
    Loader::new(Arc::new(source), Arc::new(Noise), config).unwrap()
}

/// All batches of epoch 5.
pub fn all(loader: &Loader, indices: Vec<usize>, start_batch: usize) -> Vec<Batch> {
    loader.batches(5, indices, start_batch).unwrap().collect::<Result<_, _>>().unwrap()
}

pub fn upto(len: usize) -> Vec<usize> {
    (0..len).collect()
}
