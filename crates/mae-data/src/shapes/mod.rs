//! The built-in data set: warm-coloured shapes on cool-coloured backgrounds, drawn on demand.

mod crowd;
mod mosaic;
mod outline;
mod scene;
mod segmented;
mod turn;

use crate::{AnyImage, DataError, Image, ImageSource, sample_rng};
use outline::Outline;
use scene::Scene;
pub use segmented::SegmentedShapes;

/// The epoch in the key of an image's random numbers. No training reaches it, so an image's content is independent of
/// its crops.
const EPOCH: u64 = u64::MAX;

/// Labelled images of one shape each. The shape is the class; position, size, angle and tiles are independent of it.
///
/// Shape and background are mosaics whose tiles differ at random from their neighbours. The tiles dominate the pixel
/// values, so comparing pixels separates the classes badly. Tiles cannot be predicted from other tiles, so a model that
/// learns to predict learns the outline instead.
///
/// For a given size, an image is a pure function of (seed, index), to the last bit on every machine. It is drawn with
/// additions, multiplications, divisions and square roots only, whose rounding IEEE 754 defines. Sets with different
/// seeds share nothing, so held-out images use their own seed. The classes take turns, so the numbers of images per
/// class differ by at most one.
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

    fn load(&self, index: usize) -> Result<AnyImage, DataError> {
        if index >= self.len {
            return Err(DataError::Index { index, len: self.len });
        }
        let outline = Outline::ALL[index % Outline::ALL.len()];
        let (height, width) = self.size;
        let rng = &mut sample_rng(self.seed, EPOCH, index);
        let scene = Scene::draw(rng, outline);
        Ok(Image::new(height, width, 3, scene.render(rng, height, width))?.into())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The checksum of the first 256 images of seed 0.
    const CHECKSUM: u64 = 0xb104_5ae8_e9cc_a287;

    #[test]
    fn images_differ_by_seed_and_index_and_by_nothing_else() {
        let shapes = Shapes::new(3, 64, (32, 48)).unwrap();
        let images: Vec<AnyImage> = (0..64).map(|index| shapes.load(index).unwrap()).collect();
        for (index, image) in images.iter().enumerate() {
            assert_eq!((image.height(), image.width(), image.channels()), (32, 48, 3));
            assert!(!images[..index].contains(image), "image {index} is drawn twice");
        }
        // A longer set begins with the same images.
        let longer = Shapes::new(3, 1000, (32, 48)).unwrap();
        let other = Shapes::new(4, 64, (32, 48)).unwrap();
        for index in [63, 0, 17] {
            assert_eq!(longer.load(index).unwrap(), images[index]);
            assert_ne!(other.load(index).unwrap(), images[index]);
        }
    }

    #[test]
    fn the_bytes_are_the_same_on_every_machine() {
        let shapes = Shapes::new(0, 256, (32, 32)).unwrap();
        let bytes = (0..256).flat_map(|index| shapes.load(index).unwrap().into_u8().unwrap().into_data());
        // FNV-1a, 64 bits.
        let hash = bytes.fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
        });
        assert_eq!(hash, CHECKSUM, "{hash:#x}");
    }

    #[test]
    fn classes_take_turns() {
        let shapes = Shapes::new(0, 27, (8, 8)).unwrap();
        let classes = shapes.class_names().len();
        for index in 0..27 {
            assert_eq!(shapes.label(index), Some((index % classes) as u32));
        }
        assert_eq!((shapes.len(), shapes.label(27)), (27, None));
        assert_eq!(shapes.name(5), "shapes/00005");
        assert_eq!(shapes.load(27).unwrap_err().to_string(), "there is no image 27: the data set has 27");
    }

    #[test]
    fn nothing_to_draw_is_refused() {
        for (len, size) in [(0, (32, 32)), (1, (0, 32)), (1, (32, 0))] {
            let error = Shapes::new(0, len, size).unwrap_err().to_string();
            assert!(error.ends_with("is 0, but must be at least 1"), "{error}");
        }
        assert!(Shapes::new(0, 1, (1, 1)).unwrap().load(0).is_ok());
    }
}
