//! What happens to an image between its file and its batch.

use crate::encoded::Part;
use crate::resample::Span;
use crate::resize::check_size;
use crate::{DataError, Image, RandomResizedCrop, SampleRng, View, uniform};

/// Makes an image of one size from an image of any size.
pub trait Transform: Send + Sync {
    /// Transforms `image`, with all its randomness from `rng`.
    ///
    /// # Shapes
    /// `[H, W, C]` to `[h, w, C]`, where `(h, w)` is [`output_size`](Self::output_size).
    fn apply(&self, image: Image, rng: &mut SampleRng) -> Image;

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
    fn finish(&self, image: Image, rng: &mut SampleRng) -> Image {
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
    /// [`resized_crop`](crate::resized_crop) and [`EvalTransform`] do, takes 1.5 times as long.
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
    fn apply(&self, image: Image, rng: &mut SampleRng) -> Image {
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

/// Evaluation's view of an image: its shorter side resized to a length, then its centre.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvalTransform {
    short_side: usize,
    size: (usize, usize),
}

impl EvalTransform {
    /// The central `(height, width)` of images whose shorter side is resized to `short_side` pixels; where they
    /// are smaller than that, black around them.
    ///
    /// # Errors
    /// [`DataError::Argument`] for a size with a 0.
    ///
    /// # Source
    /// torchvision's `Resize(short_side, BICUBIC)` and `CenterCrop(size)` on Pillow 13: the same bytes. MAE evaluates
    /// at 256 and 224. Only the part that the crop keeps is ever computed, so that a very long image costs no more than
    /// another.
    pub fn new(short_side: usize, size: (usize, usize)) -> Result<Self, DataError> {
        check_size((short_side, short_side))?;
        check_size(size)?;
        Ok(Self { short_side, size })
    }
}

impl EvalTransform {
    fn centre(&self, (height, width): (usize, usize)) -> View {
        let short = height.min(width);
        // The longer side rounds down, as torchvision's `int(size * long / short)`.
        let resized = |side: usize| (self.short_side as u128 * side as u128 / short as u128) as usize;
        let (rows, above) = centre_crop(height, resized(height), self.size.0);
        let (columns, before) = centre_crop(width, resized(width), self.size.1);
        View::of_resized(rows, columns, (above, before), self.size)
    }
}

impl Transform for EvalTransform {
    fn apply(&self, image: Image, _: &mut SampleRng) -> Image {
        let view = self.centre((image.height(), image.width()));
        view.cut(&Part::whole(image))
    }

    fn output_size(&self) -> (usize, usize) {
        self.size
    }

    fn view(&self, size: (usize, usize), _: &mut SampleRng) -> Option<View> {
        Some(self.centre(size))
    }
}

/// What a centre crop of a length takes of a side that is resized, and the padding before it.
///
/// # Source
/// torchvision `center_crop`: the odd pixel of padding goes to the end, half an odd pixel of cropping rounds to the
/// even start.
fn centre_crop(side: usize, resized: usize, length: usize) -> (Span, usize) {
    if resized <= length {
        return (Span::whole(side, resized), (length - resized) / 2);
    }
    let spare = resized - length;
    (Span { side, resized, start: spare / 2 + usize::from(spare % 4 == 3), length }, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample_rng;

    #[test]
    fn flips_half_of_the_time_and_nothing_else_changes() {
        let ramp = Image::new(4, 4, 1, (0..16).map(|i| i % 4 * 60).collect()).unwrap();
        let whole = RandomResizedCrop::new((1.0, 1.0), (1.0, 1.0)).unwrap();
        let transform = TrainTransform::new((4, 4), whole).unwrap();
        let flipped = Image::new(4, 4, 1, (0..16).map(|i| (3 - i % 4) * 60).collect()).unwrap();
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
            assert_eq!(train.apply(image.clone(), &mut sample_rng(0, 0, 0)).into_data(), pixel.repeat(35));
            let eval = EvalTransform::new(8, (5, 7)).unwrap();
            assert_eq!(eval.apply(image, &mut sample_rng(0, 0, 0)).into_data(), pixel.repeat(35));
        }
    }

    #[test]
    fn an_extremely_long_image_costs_no_more_than_another() {
        let image = Image::new(1, 3_000_000, 3, vec![200; 9_000_000]).unwrap();
        let eval = EvalTransform::new(256, (224, 224)).unwrap();
        assert_eq!(eval.apply(image, &mut sample_rng(0, 0, 0)).into_data(), vec![200; 224 * 224 * 3]);
    }

    #[test]
    fn sizes_of_nothing_are_refused() {
        assert_eq!(
            TrainTransform::new((0, 7), RandomResizedCrop::default()).unwrap_err().to_string(),
            "image size is 0x7, but must be 1 to 4294967295 on each side"
        );
        assert!(EvalTransform::new(0, (7, 7)).is_err());
        assert!(EvalTransform::new(7, (7, 0)).is_err());
    }
}
