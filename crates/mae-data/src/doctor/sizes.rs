//! Warnings about a data set that need no decoding: skipped files, and sizes that do not suit a model.

use super::{classes, converted};
use crate::{DataWarning, ImageSource};

/// The number of images whose sizes are read before training: enough for a median, and quick to read.
const LOOKED_AT: usize = 16;

/// The largest factor by which a side may be enlarged without a warning. Ours: an image enlarged twofold has a quarter
/// of the information that its pixels could hold.
const ENLARGED: f64 = 2.0;

/// The largest factor by which a model with swapped height and width may show more of an image without a warning. Ours:
/// for 4:3 photographs at an aspect ratio of 2:3 it is 1.8.
const TURNED: f64 = 1.5;

/// Returns what to check about `source` before training a model with images of `image_size`, `(height, width)` in
/// pixels: skipped files, class names, lossy conversions, and the sizes of some evenly spread images. Unreadable images
/// are left out.
#[must_use]
pub fn data_warnings(source: &dyn ImageSource, image_size: (usize, usize)) -> Vec<DataWarning> {
    let count = source.len().min(LOOKED_AT);
    let indices = (0..count).map(|i| i * source.len() / count);
    let sizes = indices.filter_map(|index| source.open(index).ok()).map(|image| image.size());
    let sizes = warnings(sizes.collect(), image_size);
    let warnings = source.passed_over().warning().into_iter().chain(classes::warnings(source));
    warnings.chain(converted::warning(source)).chain(sizes).collect()
}

/// Returns warnings about images of these `(height, width)`.
pub(crate) fn warnings(sizes: Vec<(usize, usize)>, image_size: (usize, usize)) -> Vec<DataWarning> {
    let mut warnings = Vec::new();
    let ratio = |long: usize, short: usize| long as f64 / short as f64;
    let (height, width) = image_size;
    let median = |number: &dyn Fn((usize, usize)) -> f64| {
        let mut numbers: Vec<f64> = sizes.iter().map(|size| number(*size)).collect();
        numbers.sort_unstable_by(f64::total_cmp);
        numbers.get(numbers.len().wrapping_sub(1) / 2).copied()
    };
    let times = median(&|(rows, columns)| ratio(height, rows).max(ratio(width, columns)));
    if let Some(times) = times.filter(|times| *times > ENLARGED) {
        warnings.push(DataWarning::Enlarged { image_size, times });
    }
    // The share of an image's area that remains when it covers a size of another aspect ratio.
    let shown = |(rows, columns), size: (usize, usize)| {
        let ratio = ratio(rows, columns) / ratio(size.0, size.1);
        ratio.min(1.0 / ratio)
    };
    let [as_is, turned] = [(height, width), (width, height)].map(|size| median(&|image| shown(image, size)));
    if let (Some(shown), Some(turned)) = (as_is, turned)
        && turned > TURNED * shown
    {
        warnings.push(DataWarning::Orientation { image_size, shown, turned });
    }
    warnings
}

/// The shorter side, in pixels, from which an image counts as a scene. Ours: more than models see at a time.
const SCENE: usize = 2048;

/// The ratio of the pixels of the largest scene to those of the smallest image from which there is a warning. Ours.
const MIXED: usize = 16;

/// Warns about scenes beside much smaller images. `sizes` are the `(height, width)` of all images.
pub(crate) fn mixed(sizes: &[(usize, usize)]) -> Option<DataWarning> {
    let pixels = |(height, width): &(usize, usize)| height * width;
    let smallest = *sizes.iter().min_by_key(|size| pixels(size))?;
    let largest = *sizes.iter().max_by_key(|size| pixels(size))?;
    let differ = largest.0.min(largest.1) >= SCENE && pixels(&largest) >= MIXED * pixels(&smallest);
    differ.then_some(DataWarning::MixedSizes { smallest, largest })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AnyImage, DataError, Image, Shapes};

    #[test]
    fn sizes_that_suit_are_passed_in_silence() {
        for (size, image_size) in [
            ((375, 500), (224, 224)),
            ((500, 375), (224, 224)),
            ((48, 96), (64, 96)),
            ((9, 9), (16, 12)),
            ((23, 20), (16, 20)),
        ] {
            assert_eq!(warnings(vec![size; 3], image_size), [], "{size:?} for {image_size:?}");
        }
        assert_eq!(warnings(Vec::new(), (16, 16)), []);
    }

    #[test]
    fn small_images_and_turned_models_are_named_with_their_numbers() {
        let small = warnings(vec![(8, 8), (8, 8), (300, 300)], (224, 224));
        assert_eq!(small, [DataWarning::Enlarged { image_size: (224, 224), times: 28.0 }]);
        let text = small[0].to_string();
        assert!(text.contains("28.0 times") && text.contains("224x224"), "{text}");

        let turned = warnings(vec![(300, 400), (300, 400), (500, 400)], (96, 64));
        let text = turned[0].to_string();
        assert_eq!(turned.len(), 1);
        assert!(text.contains("96x64") && text.contains("50%"), "{text}");
        assert!(text.contains("64x96") && text.contains("89%"), "{text}");
    }

    #[test]
    fn what_cannot_be_read_is_passed_over() {
        struct Broken;
        impl ImageSource for Broken {
            fn len(&self) -> usize {
                3
            }
            fn load(&self, index: usize) -> Result<AnyImage, DataError> {
                match index {
                    1 => Ok(Image::new(8, 8, 3, vec![0_u8; 192])?.into()),
                    _ => Err(DataError::Index { index, len: 3 }),
                }
            }
            fn name(&self, _: usize) -> String {
                String::new()
            }
            fn label(&self, _: usize) -> Option<u32> {
                None
            }
            fn class_names(&self) -> &[String] {
                &[]
            }
        }
        assert_eq!(data_warnings(&Broken, (64, 64)).len(), 1);
        assert_eq!(data_warnings(&Shapes::new(0, 100, (32, 48)).unwrap(), (32, 48)), []);
    }
}
