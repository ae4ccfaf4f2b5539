//! What happens to an image between its file and its batch.

use crate::decode::Part;
use crate::image::check_size;
use crate::{AnyImage, DataError, RandomResizedCrop, SampleRng, View, uniform};

/// Makes an image of one size from an image of any size.
pub trait Transform: Send + Sync {
    /// Transforms `image`, with all its randomness from `rng`.
    ///
    /// # Shapes
    /// `[H, W, C]` to `[h, w, C]`, where `(h, w)` is [`output_size`](Self::output_size).
    fn apply(&self, image: AnyImage, rng: &mut SampleRng) -> AnyImage;

    /// `(height, width)` of what comes out.
    fn output_size(&self) -> (usize, usize);

    /// What [`apply`](Self::apply) makes of an image of `(height, width)`, if that is a [`View`] whatever its pixels
    /// are, and [`finish`](Self::finish) makes of that: a loader then reads no more of the image than is seen of it.
    /// Draws from `rng` what `apply` draws until there.
    fn view(&self, size: (usize, usize), rng: &mut SampleRng) -> Option<View> {
        let _ = (size, rng);
        None
    }

    /// Whether [`finish`](Self::finish) does anything: a loader else writes what a view shows right into the batch.
    fn finishes(&self) -> bool {
        false
    }

    /// The rest of what [`apply`](Self::apply) does to an image, once its [`view`](Self::view) has been cut out; `rng`
    /// is as `view` left it.
    ///
    /// # Shapes
    /// `[h, w, C]` to `[h, w, C]`, where `(h, w)` is [`output_size`](Self::output_size).
    fn finish(&self, image: AnyImage, rng: &mut SampleRng) -> AnyImage {
        let _ = rng;
        image
    }
}

/// Training's view of an image: a random crop, resized, and flipped left to right half of the time.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainTransform {
    size: (usize, usize),
    crop: RandomResizedCrop,
    flip: bool,
}

impl TrainTransform {
    /// Crops as `crop` draws them, resized to `(height, width)`.
    ///
    /// # Errors
    /// [`DataError::Argument`] for a size with a 0.
    ///
    /// # Source
    /// MAE §A.1: random resized crop and horizontal flip, no colour. torchvision's `RandomResizedCrop`, bicubic,
    /// then `RandomHorizontalFlip` with its probability of 1/2.
    /// Deviation: 99.9% of the bytes of a crop are within 1 of Pillow's, all within 2. Getting them equal, as
    /// [`resized_crop`](crate::resized_crop) and [`EvalTransform`](crate::EvalTransform) do, takes 1.5 times as long.
    pub fn new(size: (usize, usize), crop: RandomResizedCrop) -> Result<Self, DataError> {
        check_size(size)?;
        Ok(Self { size, crop, flip: true })
    }

    /// Whether half of the images are mirrored (the default): not where left and right tell classes apart, as in
    /// digits.
    #[must_use]
    pub fn with_flip(self, flip: bool) -> Self {
        Self { flip, ..self }
    }
}

impl TrainTransform {
    fn draw(&self, (height, width): (usize, usize), rng: &mut SampleRng) -> View {
        let crop = self.crop.draw(height, width, rng);
        let mirrored = uniform(rng) < 0.5 && self.flip;
        View::of_crop(crop, self.size, mirrored)
    }
}

impl Transform for TrainTransform {
    fn apply(&self, image: AnyImage, rng: &mut SampleRng) -> AnyImage {
        let view = self.draw((image.height(), image.width()), rng);
        view.cut(&Part::whole(image))
    }

    fn output_size(&self) -> (usize, usize) {
        self.size
    }

    fn view(&self, size: (usize, usize), rng: &mut SampleRng) -> Option<View> {
        Some(self.draw(size, rng))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Image, sample_rng};

    #[test]
    fn flips_half_of_the_time_and_nothing_else_changes() {
        let image = |data| AnyImage::from(Image::<u8>::new(4, 4, 1, data).unwrap());
        let ramp = image((0..16).map(|i| i % 4 * 60).collect());
        let whole = RandomResizedCrop::new((1.0, 1.0), (1.0, 1.0)).unwrap();
        let transform = TrainTransform::new((4, 4), whole).unwrap();
        let flipped = image((0..16).map(|i| (3 - i % 4) * 60).collect());
        let outputs = (0..1000).map(|i| transform.apply(ramp.clone(), &mut sample_rng(0, 0, i)));
        let flips = outputs.map(|out| {
            assert!(out == ramp || out == flipped);
            usize::from(out == flipped)
        });
        // Within 4 standard deviations of a fair coin.
        assert!(flips.sum::<usize>().abs_diff(500) < 64);
    }

    #[test]
    fn one_pixel_fills_any_size_with_any_channels() {
        for channels in [1, 2, 3, 4, 5] {
            let pixel: Vec<u8> = (0..channels as u8).map(|c| 40 * c + 17).collect();
            let image = Image::new(1, 1, channels, pixel.clone()).unwrap();
            let train = TrainTransform::new((5, 7), RandomResizedCrop::default()).unwrap();
            let view = train.apply(image.into(), &mut sample_rng(0, 0, 0)).into_u8().unwrap();
            assert_eq!(view.into_data(), pixel.repeat(35));
        }
    }

    #[test]
    fn sizes_of_nothing_are_refused() {
        assert_eq!(
            TrainTransform::new((0, 7), RandomResizedCrop::default()).unwrap_err().to_string(),
            "image size is 0x7, but must be 1 to 4294967295 on each side"
        );
    }
}
