//! Built-in images of many shapes, with the class of every pixel.

use super::crowd::Crowd;
use super::outline::Outline;
use super::{EPOCH, Shapes};
use crate::{AnyImage, DataError, Encoded, Image, ImageSource, LabelMap, SampleRng, sample_rng};

/// Separates the random streams of these images from those of [`Shapes`] with the same seed.
const STREAM: u64 = EPOCH - 4;

/// Images of 3 to 8 shapes each, with label maps: one class per kind of shape, and 0 for the background.
///
/// Shapes and background are drawn as in [`Shapes`], in tiles that are independent of the class. Shapes lie anywhere
/// within the image and may overlap. A label map is exact: a pixel belongs to the foremost shape that covers at least
/// half of it. An image and its map are a pure function of (seed, index, size), to the last bit on every machine.
///
/// # Shapes
/// `[H, W, 3]` and `[H, W]` for every image.
///
/// ```
/// use mae_data::{ImageSource, SegmentedShapes, load_with_map};
///
/// # fn main() -> Result<(), mae_data::DataError> {
/// let train = SegmentedShapes::new(0, 1000, (64, 96))?;
/// let (image, map) = load_with_map(&train, 17)?;
/// assert_eq!((image.height(), image.width()), map.size());
/// assert_eq!(train.map_classes()[0], "background");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SegmentedShapes {
    seed: u64,
    len: usize,
    size: (usize, usize),
    classes: Vec<String>,
}

impl SegmentedShapes {
    /// `len` images of `size` (height, width) pixels.
    ///
    /// # Errors
    /// Those of [`Shapes::new`].
    pub fn new(seed: u64, len: usize, size: (usize, usize)) -> Result<Self, DataError> {
        Shapes::new(seed, len, size)?;
        let names = Outline::ALL.iter().map(|outline| outline.name().to_owned());
        Ok(Self { seed, len, size, classes: std::iter::once("background".to_owned()).chain(names).collect() })
    }

    /// The shapes of an image, and the random stream for its tiles.
    fn crowd(&self, index: usize) -> Result<(Crowd, SampleRng), DataError> {
        if index >= self.len {
            return Err(DataError::Index { index, len: self.len });
        }
        let mut rng = sample_rng(self.seed, STREAM, index);
        let crowd = Crowd::draw(&mut rng, self.size);
        Ok((crowd, rng))
    }
}

impl ImageSource for SegmentedShapes {
    fn len(&self) -> usize {
        self.len
    }

    fn load(&self, index: usize) -> Result<AnyImage, DataError> {
        let (crowd, mut rng) = self.crowd(index)?;
        let (height, width) = self.size;
        Ok(Image::new(height, width, 3, crowd.render(&mut rng, self.size))?.into())
    }

    fn name(&self, index: usize) -> String {
        format!("segmented-shapes/{index:05}")
    }

    fn label(&self, _: usize) -> Option<u32> {
        None
    }

    fn class_names(&self) -> &[String] {
        &[]
    }

    fn label_map(&self, index: usize, _: &Encoded) -> Result<Option<LabelMap>, DataError> {
        let (crowd, _) = self.crowd(index)?;
        LabelMap::new(self.size.0, self.size.1, crowd.labels(self.size)).map(Some)
    }

    fn map_classes(&self) -> &[String] {
        &self.classes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load_with_map;

    /// The checksum of the first 32 images of seed 0 and their maps.
    const CHECKSUM: u64 = 0x8707_b206_4a25_cf14;

    #[test]
    fn the_bytes_are_the_same_on_every_machine() {
        let shapes = SegmentedShapes::new(0, 32, (40, 56)).unwrap();
        let both = (0..32).map(|index| load_with_map(&shapes, index).unwrap());
        let bytes = both.flat_map(|(image, map)| {
            let labels = map.into_labels().into_iter().map(|label| label as u8);
            image.into_u8().unwrap().into_data().into_iter().chain(labels)
        });
        // FNV-1a, 64 bits.
        let hash = bytes.fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
        });
        assert_eq!(hash, CHECKSUM, "{hash:#x}");
    }

    #[test]
    fn a_label_is_what_the_pixel_shows() {
        let shapes = SegmentedShapes::new(5, 60, (64, 96)).unwrap();
        let mut counts = vec![0; 9];
        for index in 0..60 {
            let (image, map) = load_with_map(&shapes, index).unwrap();
            let (image, labels) = (image.into_u8().unwrap(), map.labels());
            let warmth = |wanted: bool| {
                let pixels = image.data().as_chunks::<3>().0.iter().zip(labels);
                let of = pixels.filter(|(_, label)| (**label > 0) == wanted);
                let warm: Vec<_> = of.map(|(rgb, _)| i32::from(rgb[0]) - i32::from(rgb[2])).collect();
                warm.iter().sum::<i32>() / warm.len() as i32
            };
            assert!(warmth(true) > 20 && warmth(false) < 0, "image {index}");
            // No shape is cut off, so most of the border is background.
            let border = labels[..96].iter().chain(&labels[63 * 96..]).filter(|label| **label > 0).count();
            assert!(border < 20, "image {index}: {border}");
            map.counts(9).into_iter().zip(&mut counts).for_each(|(pixels, count)| *count += pixels);
        }
        let all: u64 = counts.iter().sum();
        assert_eq!(all, 60 * 64 * 96);
        // Every shape has some pixels, and the background has the most.
        assert!(counts[1..].iter().all(|count| *count > all / 200) && counts[0] > all / 2, "{counts:?}");
    }

    #[test]
    fn images_past_the_end_are_refused() {
        let shapes = SegmentedShapes::new(0, 3, (8, 8)).unwrap();
        assert!(matches!(load_with_map(&shapes, 3), Err(DataError::Index { index: 3, len: 3 })));
        assert_eq!((shapes.map_classes().len(), shapes.label(0)), (9, None));
        assert!(SegmentedShapes::new(0, 0, (8, 8)).is_err());
    }
}
