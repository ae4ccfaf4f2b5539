//! Random changes of an image's colours, which leave its labels as they are.

use super::hue::shift_hue;
use crate::{AnyImage, AugmentOp, DataError, Image, PixelFormat, SampleRng, below, uniform};

/// Changes brightness, contrast, saturation and hue, each of them half of the time, in mmsegmentation's order: contrast either before or after
/// saturation and hue. For 8-bit RGB images.
///
/// # Source
/// mmsegmentation's `PhotoMetricDistortion`, which is that of SSD (arXiv 1512.02325, §2.2).
/// Deviation: each change is torchvision's on Pillow images, as in its `RandomPhotometricDistort`: brightness multiplies (by
/// 1 ± 32/256 at most) where mmsegmentation adds ±32, contrast goes from the mean grey and not from black, and saturation from the pixel's
/// grey and not by OpenCV's HSV.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PhotometricDistortion {
    brightness: f64,
    contrast: f64,
    saturation: f64,
    hue: f64,
}

impl Default for PhotometricDistortion {
    /// # Source
    /// mmsegmentation: brightness ±32 of 256, contrast and saturation 0.5 to 1.5, hue ±18 of OpenCV's 180.
    fn default() -> Self {
        Self { brightness: 0.125, contrast: 0.5, saturation: 0.5, hue: 0.1 }
    }
}

impl PhotometricDistortion {
    /// Factors of `brightness`, `contrast` and `saturation` of up to so much above and below 1, and a turn of the `hue` by up to that share of
    /// the circle either way.
    ///
    /// # Errors
    /// [`DataError::Argument`] unless the first three are 0 to 1 and the hue 0 to 0.5.
    pub fn new(brightness: f64, contrast: f64, saturation: f64, hue: f64) -> Result<Self, DataError> {
        let given = [
            ("brightness", brightness, 1.0),
            ("contrast", contrast, 1.0),
            ("saturation", saturation, 1.0),
            ("hue", hue, 0.5),
        ];
        for (name, value, most) in given {
            if !(0.0..=most).contains(&value) {
                return Err(DataError::Argument {
                    name,
                    value: value.to_string(),
                    bound: format!("0 to {most}"),
                });
            }
        }
        Ok(Self { brightness, contrast, saturation, hue })
    }

    /// Refuses images that it cannot change.
    pub(super) fn check(pixels: PixelFormat) -> Result<(), DataError> {
        if pixels == PixelFormat::Rgb8 {
            return Ok(());
        }
        Err(DataError::Argument {
            name: "photometric distortion",
            value: format!("of images of {pixels}"),
            bound: "of rgb8, because hue and saturation are of colours, or left out".into(),
        })
    }

    /// Changes an image, with all randomness from `rng`.
    ///
    /// # Errors
    /// [`DataError::Image`] unless the image is of 8 bits, and [`DataError::Argument`] unless it has 3 channels.
    pub fn apply(&self, image: AnyImage, rng: &mut SampleRng) -> Result<AnyImage, DataError> {
        if (image.pixel_type(), image.channels()) != (PixelFormat::Rgb8.pixel_type(), 3) {
            let (pixel_type, channels) = (image.pixel_type(), image.channels());
            Self::check(PixelFormat::Stored { pixel_type, channels })?;
        }
        let mut image = image.into_u8()?;
        // All is drawn first, so that what comes later in the stream does not depend on what is changed.
        let mut coin = |most: f64| {
            let (wanted, share) = (below(rng, 2) == 1, 2.0 * uniform(rng) - 1.0);
            wanted.then_some(most * share)
        };
        let (brightness, contrast) = (coin(self.brightness), coin(self.contrast));
        let (saturation, hue) = (coin(self.saturation), coin(self.hue));
        let contrast_first = below(rng, 2) == 1;
        let change = |image: Image, by: Option<f64>, op: fn(f64) -> AugmentOp| match by {
            Some(by) => op(1.0 + by).apply(image, [0; 3]),
            None => image,
        };
        image = change(image, brightness, AugmentOp::Brightness);
        if contrast_first {
            image = change(image, contrast, AugmentOp::Contrast);
        }
        image = change(image, saturation, AugmentOp::Color);
        if let Some(hue) = hue {
            shift_hue(&mut image, hue);
        }
        if !contrast_first {
            image = change(image, contrast, AugmentOp::Contrast);
        }
        Ok(image.into())
    }
}
