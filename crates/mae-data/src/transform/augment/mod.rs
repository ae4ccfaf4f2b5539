//! The operations that RandAugment draws from, each as Pillow does it.

mod affine;
mod enhance;
mod grey;
mod lookup;

use crate::Image;

/// The magnitude at which an operation changes an image most.
///
/// # Source
/// timm's `_LEVEL_DENOM`.
pub(crate) const MAX_MAGNITUDE: f64 = 10.0;

/// A change to an image's pixels that leaves its size as it is, with all that it depends on.
///
/// # Source
/// The "increasing" operations of timm's `auto_augment.py`, in its order: the greater the magnitude, the greater the
/// change. Affine operations interpolate bicubically, as MAE's fine-tuning asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AugmentOp {
    /// Stretches each channel to 0 to 255.
    AutoContrast,
    /// Makes each channel's values as evenly spread as they can be.
    Equalize,
    /// 255 less the value.
    Invert,
    /// Turns about the centre by so many degrees, counterclockwise.
    Rotate(f64),
    /// Keeps so many of the upper bits; of 8 or more, the image as it is.
    ///
    /// Deviation: at 0 bits the image becomes black, as Pillow made it before it refused them.
    Posterize(u32),
    /// Inverts the values from this on.
    Solarize(u32),
    /// Adds this to the values below 128.
    SolarizeAdd(u32),
    /// Away from grey: 0 for grey, 1 for the image.
    Color(f64),
    /// Away from the mean of grey: 0 for the mean, 1 for the image.
    Contrast(f64),
    /// Away from black: 0 for black, 1 for the image.
    Brightness(f64),
    /// Away from the smoothed image: 0 for that, 1 for the image.
    Sharpness(f64),
    /// Moves each row to the left by so much of its distance from the top.
    ShearX(f64),
    /// Moves each column up by so much of its distance from the left.
    ShearY(f64),
    /// Moves to the left by so much of the width.
    TranslateXRel(f64),
    /// Moves up by so much of the height.
    TranslateYRel(f64),
}

impl AugmentOp {
    /// All fifteen at `magnitude`, 0 to 10; those that go either way go the other way if `negative`.
    ///
    /// # Source
    /// timm's `_RAND_INCREASING_TRANSFORMS` and its `_*_level_to_arg`.
    #[must_use]
    pub fn all(magnitude: f64, negative: bool) -> [Self; 15] {
        let share = magnitude / MAX_MAGNITUDE;
        let signed = |value: f64| if negative { -value } else { value };
        // Whole numbers are cut off, as Python's `int` does.
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

    /// Changes `image`; what an affine operation moves into it is of the colour `fill`.
    ///
    /// # Shapes
    /// `[H, W, C]` to `[H, W, C]`. Images of other than 3 channels are of one kind with Pillow's grey: the grey of a
    /// pixel is the mean of its channels, and that of `fill` fills all of them.
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
