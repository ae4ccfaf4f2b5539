//! Random changes of an image's colours, which do not affect its labels.

use super::hue::shift_hue;
use crate::{AnyImage, AugmentOp, DataError, Image, PixelFormat, SampleRng, below, uniform};

/// Changes brightness, contrast, saturation and hue, each with probability 1/2, in mmsegmentation's order: contrast
/// either before or after saturation and hue. For 8-bit RGB images.
///
/// # Source
/// mmsegmentation's `PhotoMetricDistortion`, which is that of SSD (arXiv 1512.02325, §2.2).
/// Deviation: each change is torchvision's on Pillow images, as in its `RandomPhotometricDistort`. Brightness is
/// multiplied (by 1 ± 32/256 at most), where mmsegmentation adds ±32. Contrast is relative to the mean grey instead of
/// black. Saturation is relative to the pixel's grey instead of OpenCV's HSV.
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
    /// Draws factors for `brightness`, `contrast` and `saturation` within 1 ± the given value, and shifts the hue by up
    /// to `hue` of the circle either way.
    ///
    /// # Errors
    /// [`DataError::Argument`] unless the first three are 0 to 1 and the hue is 0 to 0.5.
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

    /// Refuses pixel formats other than 8-bit RGB.
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
    /// [`DataError::Argument`] unless the image has 8-bit pixels and 3 channels.
    pub fn apply(&self, image: AnyImage, rng: &mut SampleRng) -> Result<AnyImage, DataError> {
        if (image.pixel_type(), image.channels()) != (PixelFormat::Rgb8.pixel_type(), 3) {
            let (pixel_type, channels) = (image.pixel_type(), image.channels());
            Self::check(PixelFormat::Stored { pixel_type, channels })?;
        }
        let mut image = image.into_u8()?;
        // Everything is drawn first, so that later draws from the stream do not depend on which changes apply.
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
