//! The built-in data set: textured shapes on textured grounds, drawn when asked for.

mod draw;
mod outline;
mod scene;
mod texture;

use crate::{DataError, Image, ImageSource, sample_rng};
use outline::Outline;
use scene::{Knobs, Scene};

/// Labelled images of one shape each, a pure function of (seed, index).
#[derive(Clone, Debug)]
pub struct Shapes {
    seed: u64,
    len: usize,
    size: (usize, usize),
    class_names: Vec<String>,
}

impl Shapes {
    /// `len` images of `(height, width)` pixels.
    ///
    /// # Errors
    /// [`DataError::Argument`] if a number is 0.
    pub fn new(seed: u64, len: usize, size: (usize, usize)) -> Result<Self, DataError> {
        for (name, value) in [("the number of shapes", len), ("height", size.0), ("width", size.1)] {
            if value == 0 {
                return Err(DataError::Argument { name, value: "0".into(), bound: "at least 1".into() });
            }
        }
        let class_names = Outline::ALL.iter().map(|(_, name)| (*name).to_owned()).collect();
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
        let mut rng = sample_rng(self.seed, 0, index as u64);
        let outline = Outline::ALL[index % Outline::ALL.len()].0;
        let knobs = Knobs { radius: (0.32, 0.42), jitter: 0.6, turn: 0.35, strength: 0.15, contrast: 0.25, polarity: 0.5, sat: 4.0 };
        let (height, width) = self.size;
        let data = Scene::draw(&mut rng, outline, &knobs).render(height, width);
        Image::new(height, width, 3, data)
    }

    fn name(&self, index: usize) -> String {
        format!("shapes/{index:06}")
    }

    fn label(&self, index: usize) -> Option<u32> {
        (index < self.len).then(|| (index % Outline::ALL.len()) as u32)
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }
}
