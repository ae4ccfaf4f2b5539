//! The transform for evaluation: resizes an image, then cuts out its centre.

use mae_image::{Part, check_size};

use crate::transform::crop::{central_window, check_window};
use crate::transform::resample::Span;
use crate::{AnyImage, Crop, DataError, Filter, SampleRng, Transform, View};

/// How an image is resized before its centre is cut out. Sizes are `(height, width)` in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// To the smallest size with the image's own aspect ratio that covers this one. The crop then cuts off two opposite
    /// sides.
    ///
    /// # Source
    /// timm's `crop_mode="center"`: torchvision's `Resize` of the shorter side if both sides are equal, else timm's
    /// `ResizeKeepRatio`.
    Cover((usize, usize)),
    /// To exactly this size: nothing is cut off, and the aspect ratio changes.
    ///
    /// # Source
    /// timm's `crop_mode="squash"`; transformers' `ViTImageProcessor` with a height and a width.
    Squash((usize, usize)),
}

/// The transform for evaluation: resizes an image, then cuts out its centre.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvalTransform {
    fit: Fit,
    filter: Filter,
    size: (usize, usize),
    window: Option<usize>,
}

impl EvalTransform {
    /// Resizes images to cover `size`, `(height, width)`, and cuts out the centre of that size. With `resize`, images
    /// are resized to cover a larger size first: its shorter side is `resize`, and the longer side grows in proportion.
    ///
    /// An image of exactly `size` is unchanged unless `resize` is larger than the shorter side.
    ///
    /// # Errors
    /// [`DataError::Image`] for a size with a 0, [`DataError::Argument`] for a `resize` below the shorter side of
    /// `size`.
    ///
    /// # Source
    /// timm's evaluation transform with bicubic interpolation and `crop_pct` = shorter side / `resize`, on Pillow 13:
    /// the same bytes. MAE evaluates at 256 and 224.
    pub fn new(size: (usize, usize), resize: Option<usize>) -> Result<Self, DataError> {
        check_size(size)?;
        let short = size.0.min(size.1);
        let resize = resize.unwrap_or(short);
        if resize < short {
            let bound = format!("at least {short}, the shorter side of {}x{}", size.0, size.1);
            return Err(DataError::Argument { name: "resize", value: resize.to_string(), bound });
        }
        let scaled = |side: usize| (side as u128 * resize as u128 / short as u128) as usize;
        Self::resized(Fit::Cover((scaled(size.0), scaled(size.1))), Filter::Bicubic, size)
    }

    /// Resizes images with `fit` and `filter`, and cuts out their centre of `size`, `(height, width)`. Images that are
    /// smaller than `size` after resizing are padded with black.
    ///
    /// # Errors
    /// [`DataError::Image`] for a size with a 0.
    pub fn resized(fit: Fit, filter: Filter, size: (usize, usize)) -> Result<Self, DataError> {
        let (Fit::Cover(fitted) | Fit::Squash(fitted)) = fit;
        check_size(fitted)?;
        check_size(size)?;
        Ok(Self { fit, filter, size, window: None })
    }

    /// Treats the central square window of `side` pixels as the image.
    ///
    /// # Errors
    /// [`DataError::Argument`] for a window of 0 pixels.
    pub fn with_window(self, side: usize) -> Result<Self, DataError> {
        check_window(side)?;
        Ok(Self { window: Some(side), ..self })
    }

    /// Returns how images are resized before the crop.
    #[must_use]
    pub fn fit(&self) -> Fit {
        self.fit
    }

    /// Returns the filter for resizing.
    #[must_use]
    pub fn filter(&self) -> Filter {
        self.filter
    }

    /// The size to which an image of `(height, width)` is resized before the crop.
    fn fitted(&self, (height, width): (usize, usize)) -> (usize, usize) {
        match self.fit {
            Fit::Squash(size) => size,
            Fit::Cover((rows, columns)) if rows == columns => {
                let short = height.min(width) as u128;
                // The longer side is rounded down, as in torchvision's `int(size * long / short)`.
                let side = |side: usize| (rows as u128 * side as u128 / short) as usize;
                (side(height), side(width))
            }
            Fit::Cover((rows, columns)) => {
                let ratio = (height as f64 / rows as f64).min(width as f64 / columns as f64);
                // Rounds as Python's `round` does.
                let side = |side: usize| (side as f64 / ratio).round_ties_even() as usize;
                (side(height), side(width))
            }
        }
    }

    fn centre(&self, (height, width): (usize, usize)) -> View {
        let window = self.window.map(|side| central_window(side, (height, width)));
        let Crop { top, left, height, width } = window.unwrap_or(Crop { top: 0, left: 0, height, width });
        let fitted = self.fitted((height, width));
        let (rows, above) = centre_crop(Span::whole(height, fitted.0, self.filter), self.size.0);
        let (columns, before) = centre_crop(Span::whole(width, fitted.1, self.filter), self.size.1);
        View::of_resized(rows, columns, (above, before), self.size).moved(top, left)
    }
}

/// Only the part inside the crop is ever computed, so a very long image costs no more than any other.
impl Transform for EvalTransform {
    fn apply(&self, image: AnyImage, _: &mut SampleRng) -> AnyImage {
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

/// The part of a resized axis that a centre crop of `length` keeps, and the padding before it.
///
/// # Source
/// torchvision `center_crop`: an odd pixel of padding goes to the end, and half an odd pixel of cropping rounds to the
/// even start.
fn centre_crop(whole: Span, length: usize) -> (Span, usize) {
    let resized = whole.resized;
    if resized <= length {
        return (whole, (length - resized) / 2);
    }
    let spare = resized - length;
    (Span { start: spare / 2 + usize::from(spare % 4 == 3), length, ..whole }, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Image, sample_rng};

    fn apply(transform: &EvalTransform, image: &Image) -> Image {
        transform.apply(image.clone().into(), &mut sample_rng(0, 0, 0)).into_u8().unwrap()
    }

    #[test]
    fn an_image_of_the_models_size_stays_as_it_is() {
        for (height, width) in [(16, 64), (256, 128), (7, 7), (1, 5)] {
            let data = (0..height * width * 3).map(|at| (at * 7919 % 251) as u8).collect();
            let image = Image::new(height, width, 3, data).unwrap();
            assert_eq!(apply(&EvalTransform::new((height, width), None).unwrap(), &image), image);
        }
    }

    #[test]
    fn of_a_window_all_is_as_of_an_image() {
        let scene: Vec<u16> = (0..50 * 70 * 2).map(|at| (at * 7919 % 65521) as u16).collect();
        let (top, left) = ((50 - 20) / 2, (70 - 20) / 2);
        let rows = scene.chunks_exact(140).skip(top).take(20);
        let window: Vec<u16> = rows.flat_map(|row| &row[2 * left..][..40]).copied().collect();
        let eval = EvalTransform::new((8, 8), Some(9)).unwrap();
        let apply =
            |eval: &EvalTransform, image: Image<u16>| eval.apply(image.into(), &mut sample_rng(0, 0, 0));
        let whole = apply(&eval, Image::new(20, 20, 2, window).unwrap());
        let seen = apply(&eval.with_window(20).unwrap(), Image::new(50, 70, 2, scene).unwrap());
        assert_eq!(seen, whole);
    }

    #[test]
    fn one_pixel_fills_any_size_with_any_channels() {
        for channels in [1, 2, 3, 4, 5] {
            let pixel: Vec<u8> = (0..channels as u8).map(|c| 40 * c + 17).collect();
            let image = Image::new(1, 1, channels, pixel.clone()).unwrap();
            for resize in [None, Some(8)] {
                let eval = EvalTransform::new((5, 7), resize).unwrap();
                assert_eq!(apply(&eval, &image).into_data(), pixel.repeat(35));
            }
        }
    }

    #[test]
    fn an_extremely_long_image_costs_no_more_than_another() {
        let image = Image::new(1, 3_000_000, 3, vec![200; 9_000_000]).unwrap();
        for size in [(224, 224), (224, 96)] {
            let eval = EvalTransform::new(size, Some(256)).unwrap();
            assert_eq!(apply(&eval, &image).into_data(), vec![200; size.0 * size.1 * 3]);
        }
    }

    #[test]
    fn sizes_that_cannot_be_are_refused_with_the_bound() {
        assert!(EvalTransform::new((7, 0), None).is_err());
        assert!(EvalTransform::resized(Fit::Squash((0, 7)), Filter::Bicubic, (7, 7)).is_err());
        assert_eq!(
            EvalTransform::new((16, 64), Some(8)).unwrap_err().to_string(),
            "resize is 8, but must be at least 16, the shorter side of 16x64"
        );
    }
}
