//! The transform for fine-tuning: that of training, followed by random changes of the pixels.

use crate::{AnyImage, RandAugment, RandomErasing, SampleRng, TrainTransform, Transform, View};

/// Applies a [`TrainTransform`], then a [`RandAugment`], then a [`RandomErasing`]. The last two are optional.
///
/// ```
/// use mae_data::{FinetuneTransform, RandAugment, RandomErasing, RandomResizedCrop, TrainTransform};
///
/// # fn main() -> Result<(), mae_data::DataError> {
/// let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
/// let crop = RandomResizedCrop::new((0.08, 1.0), (3.0 / 4.0, 4.0 / 3.0))?;
/// let transform = FinetuneTransform::new(
///     TrainTransform::new((224, 224), crop)?,
///     Some(RandAugment::new(9.0, 0.5, 2, mean.map(|mean: f64| (255.0 * mean).round() as u8))?),
///     Some(RandomErasing::new(0.25, mean, std)?),
/// );
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct FinetuneTransform {
    train: TrainTransform,
    rand_augment: Option<RandAugment>,
    erasing: Option<RandomErasing>,
}

impl FinetuneTransform {
    /// Chains the three transforms.
    ///
    /// # Source
    /// MAE §A.1, table 9, and its official `util/datasets.py`, by way of timm's `create_transform`.
    #[must_use]
    pub fn new(
        train: TrainTransform,
        rand_augment: Option<RandAugment>,
        erasing: Option<RandomErasing>,
    ) -> Self {
        Self { train, rand_augment, erasing }
    }
}

impl Transform for FinetuneTransform {
    fn apply(&self, image: AnyImage, rng: &mut SampleRng) -> AnyImage {
        let image = self.train.apply(image, rng);
        self.finish(image, rng)
    }

    fn output_size(&self) -> (usize, usize) {
        self.train.output_size()
    }

    fn view(&self, size: (usize, usize), rng: &mut SampleRng) -> Option<View> {
        self.train.view(size, rng)
    }

    fn finishes(&self) -> bool {
        self.rand_augment.is_some() || self.erasing.is_some()
    }

    fn finish(&self, image: AnyImage, rng: &mut SampleRng) -> AnyImage {
        if !self.finishes() {
            return image;
        }
        let mut image = image.into_u8().expect("RandAugment and random erasing are of 8-bit images");
        if let Some(rand_augment) = &self.rand_augment {
            image = rand_augment.apply(image, rng);
        }
        if let Some(erasing) = &self.erasing {
            image = erasing.apply(image, rng);
        }
        image.into()
    }
}
