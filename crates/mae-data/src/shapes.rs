//! The built-in data set: textured shapes on textured grounds, drawn when asked for.

mod outline;
mod scene;
mod texture;
mod turn;

use crate::{DataError, Image, ImageSource, sample_rng};
use outline::Outline;
use scene::Scene;

/// Stands where an epoch does in the key of an image's random numbers: one that no training reaches, so that
/// what an image shows and how it is cropped have nothing in common.
const EPOCH: u64 = u64::MAX;

/// Labelled images of one shape each: which shape is its class; position, size, angle, colours, textures and
/// light say nothing about it.
///
/// An image is a pure function of (seed, index), to the last bit on every machine: it is drawn with additions,
/// multiplications, divisions and square roots alone, which IEEE 754 rounds in one way. A set of another seed
/// shares nothing with it: held-out images have a seed of their own. Every class has its turn, so classes are
/// balanced to one image.
///
/// # Shapes
/// `[H, W, 3]` for every image.
///
/// ```
/// use mae_data::{ImageSource, Shapes};
///
/// # fn main() -> Result<(), mae_data::DataError> {
/// let (train, held_out) = (Shapes::new(0, 1000, (32, 32))?, Shapes::new(1, 100, (32, 32))?);
/// assert_eq!(train.class_names(), held_out.class_names());
/// assert_ne!(train.load(0)?, held_out.load(0)?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Shapes {
    seed: u64,
    len: usize,
    size: (usize, usize),
    class_names: Vec<String>,
}

impl Shapes {
    /// `len` images of `size` (height, width) pixels.
    ///
    /// # Errors
    /// [`DataError::Argument`] unless there is at least one image, of at least one pixel.
    pub fn new(seed: u64, len: usize, size: (usize, usize)) -> Result<Self, DataError> {
        for (name, value) in [("the number of shapes", len), ("the height", size.0), ("the width", size.1)] {
            if value == 0 {
                return Err(DataError::Argument { name, value: "0".into(), bound: "at least 1".into() });
            }
        }
        let class_names = Outline::ALL.map(|outline| outline.name().to_owned()).to_vec();
        Ok(Self { seed, len, size, class_names })
    }
}

impl ImageSource for Shapes {
    fn len(&self) -> usize {
        self.len
    }

    fn load(&self, index: usize) -> Result<Image, DataError> {
        if index >= self.len {
            return Err(DataError::Index { index, len: self.len });
        }
        let outline = Outline::ALL[index % Outline::ALL.len()];
        let (height, width) = self.size;
        let scene = Scene::draw(&mut sample_rng(self.seed, EPOCH, index as u64), outline);
        Image::new(height, width, 3, scene.render(height, width))
    }

    fn name(&self, index: usize) -> String {
        format!("shapes/{index:05}")
    }

    fn label(&self, index: usize) -> Option<u32> {
        (index < self.len).then_some((index % Outline::ALL.len()) as u32)
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }
}
