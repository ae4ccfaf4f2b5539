//! The operations that RandAugment draws from, each as Pillow does it.

mod affine;
mod enhance;
mod grey;
mod lookup;

use crate::Image;

/// The largest magnitude of an operation.
///
/// # Source
/// timm's `_LEVEL_DENOM`.
pub(crate) const MAX_MAGNITUDE: f64 = 10.0;

/// An operation on an image's pixels with its parameter. It keeps the image's size.
///
/// # Source
/// The "increasing" operations of timm's `auto_augment.py`, in its order: the greater the magnitude, the stronger the
/// change. Affine operations interpolate bicubically, as MAE's fine-tuning does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AugmentOp {
    /// Stretches the values of each channel to the range 0 to 255.
    AutoContrast,
    /// Equalises the histogram of each channel.
    Equalize,
    /// Replaces each value `v` by `255 - v`.
    Invert,
    /// Rotates counterclockwise about the centre by this many degrees.
    Rotate(f64),
    /// Keeps this many of the upper bits; with 8 or more, the image is unchanged.
    ///
    /// Deviation: 0 bits make the image black, as in Pillow versions that still accepted 0.
    Posterize(u32),
    /// Inverts the values at or above this threshold.
    Solarize(u32),
    /// Adds this to the values below 128, up to at most 255.
    SolarizeAdd(u32),
    /// Changes the saturation: 0 gives the grey image, 1 the image itself.
    Color(f64),
    /// Changes the contrast: 0 gives the mean grey, 1 the image itself.
    Contrast(f64),
    /// Changes the brightness: 0 gives black, 1 the image itself.
    Brightness(f64),
    /// Changes the sharpness: 0 gives the smoothed image, 1 the image itself.
    Sharpness(f64),
    /// Moves each row to the left by this factor times its distance from the top.
    ShearX(f64),
    /// Moves each column up by this factor times its distance from the left.
    ShearY(f64),
    /// Moves the image to the left by this share of its width.
    TranslateXRel(f64),
    /// Moves the image up by this share of its height.
    TranslateYRel(f64),
}

impl AugmentOp {
    /// All fifteen operations at `magnitude`, 0 to 10. If `negative`, the operations with a direction go the other way.
    ///
    /// # Source
    /// timm's `_RAND_INCREASING_TRANSFORMS` and its `_*_level_to_arg`.
    #[must_use]
    pub fn all(magnitude: f64, negative: bool) -> [Self; 15] {
        let share = magnitude / MAX_MAGNITUDE;
        let signed = |value: f64| if negative { -value } else { value };
        // Truncates, as Python's `int` does.
        let whole = |most: f64| (share * most) as u32;
        let factor = (1.0 + signed(share * 0.9)).max(0.1);
        [
            Self::AutoContrast,
            Self::Equalize,
            Self::Invert,
            Self::Rotate(signed(share * 30.0)),
            Self::Posterize(4 - whole(4.0).min(4)),
            Self::Solarize(256 - whole(256.0).min(256)),
            Self::SolarizeAdd(whole(110.0).min(128)),
            Self::Color(factor),
            Self::Contrast(factor),
            Self::Brightness(factor),
            Self::Sharpness(factor),
            Self::ShearX(signed(share * 0.3)),
            Self::ShearY(signed(share * 0.3)),
            Self::TranslateXRel(signed(share * 0.45)),
            Self::TranslateYRel(signed(share * 0.45)),
        ]
    }

    /// Applies the operation to `image`. Affine operations fill uncovered pixels with the colour `fill`.
    ///
    /// # Shapes
    /// `[H, W, C]` to `[H, W, C]`. Images of other than 3 channels are treated like Pillow's grey images: the grey of a
    /// pixel is the mean of its channels, and the grey of `fill` fills every channel.
    ///
    /// # Source
    /// Pillow's `ImageOps`, `ImageEnhance`, `Image.rotate` and `Image.transform(AFFINE, BICUBIC)`: the same bytes.
    #[must_use]
    pub fn apply(self, mut image: Image, fill: [u8; 3]) -> Image {
        match self {
            Self::AutoContrast => lookup::auto_contrast(&mut image),
            Self::Equalize => lookup::equalize(&mut image),
            Self::Invert => lookup::map(&mut image, |value| 255 - value),
            Self::Posterize(bits) => lookup::posterize(&mut image, bits),
            Self::Solarize(threshold) => lookup::solarize(&mut image, threshold),
            Self::SolarizeAdd(add) => lookup::solarize_add(&mut image, add),
            Self::Color(factor) => enhance::color(&mut image, factor),
            Self::Contrast(factor) => enhance::contrast(&mut image, factor),
            Self::Brightness(factor) => enhance::brightness(&mut image, factor),
            Self::Sharpness(factor) => enhance::sharpness(&mut image, factor),
            Self::Rotate(degrees) => return affine::rotate(&image, degrees, fill),
            Self::ShearX(factor) => {
                return affine::transform(&image, [1.0, factor, 0.0, 0.0, 1.0, 0.0], fill);
            }
            Self::ShearY(factor) => {
                return affine::transform(&image, [1.0, 0.0, 0.0, factor, 1.0, 0.0], fill);
            }
            Self::TranslateXRel(share) => {
                let columns = share * image.width() as f64;
                return affine::transform(&image, [1.0, 0.0, columns, 0.0, 1.0, 0.0], fill);
            }
            Self::TranslateYRel(share) => {
                let rows = share * image.height() as f64;
                return affine::transform(&image, [1.0, 0.0, 0.0, 0.0, 1.0, rows], fill);
            }
        }
        image
    }
}
