//! The transforms between an image file and a batch.

use ::image::metadata::Orientation;
use mae_image::{Part, check_size};

use crate::transform::crop::{check_window, random_window};
use crate::{AnyImage, Crop, DataError, JointTransform, RandomResizedCrop, SampleRng, View, below, uniform};

/// Transforms images of any size to one size.
pub trait Transform: Send + Sync {
    /// Transforms `image`, with all its randomness from `rng`.
    ///
    /// # Shapes
    /// `[H, W, C]` to `[h, w, C]`, where `(h, w)` is [`output_size`](Self::output_size).
    fn apply(&self, image: AnyImage, rng: &mut SampleRng) -> AnyImage;

    /// `(height, width)` of the output.
    fn output_size(&self) -> (usize, usize);

    /// Returns the first step of [`apply`](Self::apply) for an image of `(height, width)`, if it is a [`View`] that
    /// does not depend on the pixels; [`finish`](Self::finish) does the rest. A loader then reads only the part of the
    /// image that the view shows. Draws from `rng` exactly what `apply` draws up to that point.
    fn view(&self, size: (usize, usize), rng: &mut SampleRng) -> Option<View> {
        let _ = (size, rng);
        None
    }

    /// Whether [`finish`](Self::finish) does anything. If not, a loader writes the view directly into the batch.
    fn finishes(&self) -> bool {
        false
    }

    /// Applies the rest of [`apply`](Self::apply) to an image, after its [`view`](Self::view) has been cut out. `rng`
    /// is in the state in which `view` left it.
    ///
    /// # Shapes
    /// `[h, w, C]` to `[h, w, C]`, where `(h, w)` is [`output_size`](Self::output_size).
    fn finish(&self, image: AnyImage, rng: &mut SampleRng) -> AnyImage {
        let _ = rng;
        image
    }

    /// Returns the same transform for an image together with its label map, if it supports both. A loader then reads
    /// label maps, and its batches contain them.
    fn joint(&self) -> Option<&dyn JointTransform> {
        None
    }
}

/// The transform for training: a random crop, resized, and flipped left to right half of the time. For images without a
/// natural orientation, it can also flip top to bottom and rotate by quarter turns.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainTransform {
    size: (usize, usize),
    window: Option<usize>,
    crop: RandomResizedCrop,
    flip: bool,
    vertical_flip: bool,
    quarter_turns: bool,
}

impl TrainTransform {
    /// Resizes the crops that `crop` draws to `(height, width)`.
    ///
    /// # Errors
    /// [`DataError::Image`] for a size with a 0.
    ///
    /// # Source
    /// MAE §A.1: random resized crop and horizontal flip, no colour. torchvision's `RandomResizedCrop`, bicubic,
    /// then `RandomHorizontalFlip` with its probability of 1/2.
    /// Deviation: 99.9% of the bytes of a crop are within 1 of Pillow's, all within 2. Getting them equal, as
    /// [`resized_crop`](crate::resized_crop) and [`EvalTransform`](crate::EvalTransform) do, takes 1.5 times as long.
    pub fn new(size: (usize, usize), crop: RandomResizedCrop) -> Result<Self, DataError> {
        check_size(size)?;
        Ok(Self { size, window: None, crop, flip: true, vertical_flip: false, quarter_turns: false })
    }

    /// Sets whether half of the images are mirrored (the default). Turn it off if left and right distinguish classes,
    /// as in digits.
    #[must_use]
    pub fn with_flip(self, flip: bool) -> Self {
        Self { flip, ..self }
    }

    /// Treats a square window of `side` pixels at a random position as the image, and draws the crop within it. For
    /// scenes that are much larger than what the model should see at once.
    ///
    /// # Errors
    /// [`DataError::Argument`] for a window of 0 pixels.
    pub fn with_window(self, side: usize) -> Result<Self, DataError> {
        check_window(side)?;
        Ok(Self { window: Some(side), ..self })
    }

    /// Sets whether half of the images are also flipped top to bottom, as for images from above or through a
    /// microscope.
    #[must_use]
    pub fn with_vertical_flip(self, vertical_flip: bool) -> Self {
        Self { vertical_flip, ..self }
    }

    /// Sets whether images are rotated by 0, 90, 180 or 270 degrees, with equal probability.
    #[must_use]
    pub fn with_quarter_turns(self, quarter_turns: bool) -> Self {
        Self { quarter_turns, ..self }
    }
}

impl TrainTransform {
    fn draw(&self, (height, width): (usize, usize), rng: &mut SampleRng) -> View {
        let window = self.window.map(|side| random_window(side, (height, width), rng));
        let Crop { top, left, height, width } = window.unwrap_or(Crop { top: 0, left: 0, height, width });
        let crop = self.crop.draw(height, width, rng);
        let mirrored = uniform(rng) < 0.5 && self.flip;
        // Drawn only if enabled, so that views without them stay the same.
        let upside_down = self.vertical_flip && uniform(rng) < 0.5;
        let turns = if self.quarter_turns { below(rng, 4) } else { 0 };
        let (height, width) = self.size;
        let size = if turns % 2 == 1 { (width, height) } else { (height, width) };
        View::of_crop(crop, size, mirrored).moved(top, left).turned(match (upside_down, turns) {
            (false, 0) => Orientation::NoTransforms,
            (false, 1) => Orientation::Rotate90,
            (false, 2) => Orientation::Rotate180,
            (false, _) => Orientation::Rotate270,
            (true, 0) => Orientation::FlipVertical,
            (true, 1) => Orientation::Rotate90FlipH,
            (true, 2) => Orientation::FlipHorizontal,
            (true, _) => Orientation::Rotate270FlipH,
        })
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
    fn flips_and_turns_are_each_as_frequent() {
        let whole = RandomResizedCrop::new((1.0, 1.0), (1.0, 1.0)).unwrap();
        let plain = TrainTransform::new((4, 4), whole).unwrap().with_flip(false);
        let image = AnyImage::from(Image::<u16>::new(4, 4, 1, (0..16).map(|i| i * 1000).collect()).unwrap());
        for (vertical_flip, quarter_turns, kinds) in [(true, false, 2), (false, true, 4), (true, true, 8)] {
            let transform = plain.clone().with_vertical_flip(vertical_flip).with_quarter_turns(quarter_turns);
            let mut seen: Vec<(AnyImage, u32)> = Vec::new();
            for i in 0..800 {
                let out = transform.apply(image.clone(), &mut sample_rng(0, 0, i));
                match seen.iter_mut().find(|(image, _)| *image == out) {
                    Some((_, count)) => *count += 1,
                    None => seen.push((out, 1)),
                }
            }
            // Within 5 standard deviations.
            let (expected, found) = (800 / kinds, seen.len());
            assert_eq!(found, kinds as usize);
            assert!(
                seen.iter().all(|(_, n)| f64::from(n.abs_diff(expected)) < 5.0 * f64::from(expected).sqrt())
            );
        }
    }

    #[test]
    fn a_turned_view_has_the_size_and_the_rows_of_a_turned_image() {
        let whole = RandomResizedCrop::new((1.0, 1.0), (0.5, 2.0)).unwrap();
        let transform = TrainTransform::new((2, 4), whole).unwrap().with_flip(false).with_quarter_turns(true);
        // Each half has one brightness, so resizing changes nothing but the size.
        let halves = |first: f32| Image::new(4, 4, 1, [[first; 8], [7.0; 8]].concat()).unwrap();
        for i in 0..50 {
            let out = transform.apply(halves(1.0).into(), &mut sample_rng(0, 0, i));
            assert_eq!((out.height(), out.width()), transform.output_size());
            let AnyImage::F32(out) = out else { panic!("another type") };
            let [first, last] = [out.data()[0], out.data()[7]];
            let corner = out.data()[3];
            assert!((first - last).abs() > 5.0, "{out:?}");
            assert!((corner - first).abs() < 0.5 || (corner - last).abs() < 0.5, "{out:?}");
        }
    }

    #[test]
    fn a_window_is_all_that_is_seen_and_lies_anywhere() {
        let whole = RandomResizedCrop::new((1.0, 1.0), (1.0, 1.0)).unwrap();
        let transform = TrainTransform::new((5, 5), whole).unwrap().with_window(5).unwrap();
        let mut places = [[0; 12]; 4];
        for i in 0..4800 {
            let seen = transform.view((8, 16), &mut sample_rng(0, 0, i)).unwrap().visible();
            assert_eq!((seen.height, seen.width), (5, 5));
            places[seen.top][seen.left] += 1;
        }
        // Each position occurs 100 times, within 5 standard deviations.
        assert!(places.iter().flatten().all(|count| (50..150).contains(count)), "{places:?}");
        // A smaller image is its own window; the crop's ratio of 1 then leaves 3 × 3.
        let seen = transform.view((3, 4), &mut sample_rng(0, 0, 0)).unwrap().visible();
        assert_eq!((seen.height, seen.width), (3, 3));
        assert!(transform.with_window(0).unwrap_err().to_string().contains("window is 0"));
    }

    #[test]
    fn sizes_of_nothing_are_refused() {
        assert_eq!(
            TrainTransform::new((0, 7), RandomResizedCrop::default()).unwrap_err().to_string(),
            "image size is 0x7, but must be 1 to 4294967295 on each side"
        );
    }
}
