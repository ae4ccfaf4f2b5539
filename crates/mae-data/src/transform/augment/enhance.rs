//! Operations that interpolate between a degenerate image and the image itself, or extrapolate beyond it.

use super::grey::grey;
use crate::Image;

/// # Source
/// Pillow `Image.blend`: single precision, truncated, and clamped to a byte.
fn blend(degenerate: u8, value: u8, factor: f32) -> u8 {
    let apart = f32::from(value) - f32::from(degenerate);
    (f32::from(degenerate) + factor * apart) as u8
}

/// # Source
/// Pillow `ImageEnhance.Color`.
pub(super) fn color(image: &mut Image, factor: f64) {
    let channels = image.channels();
    for pixel in image.data_mut().chunks_exact_mut(channels) {
        let grey = grey(pixel);
        pixel.iter_mut().for_each(|value| *value = blend(grey, *value, factor as f32));
    }
}

/// # Source
/// Pillow `ImageEnhance.Contrast`.
pub(super) fn contrast(image: &mut Image, factor: f64) {
    let pixels = image.data().chunks_exact(image.channels());
    let count = pixels.len() as f64;
    let sum: u64 = pixels.map(|pixel| u64::from(grey(pixel))).sum();
    let mean = (sum as f64 / count + 0.5) as u8;
    image.data_mut().iter_mut().for_each(|value| *value = blend(mean, *value, factor as f32));
}

/// # Source
/// Pillow `ImageEnhance.Brightness`.
pub(super) fn brightness(image: &mut Image, factor: f64) {
    image.data_mut().iter_mut().for_each(|value| *value = blend(0, *value, factor as f32));
}

/// # Source
/// Pillow `ImageEnhance.Sharpness`.
pub(super) fn sharpness(image: &mut Image, factor: f64) {
    let smooth = smoothed(image);
    let values = image.data_mut().iter_mut().zip(smooth);
    values.for_each(|(value, smooth)| *value = blend(smooth, *value, factor as f32));
}

/// The mean of each pixel's 3 × 3 neighbourhood, with a weight of 5 for the pixel itself. Pixels at the edges are
/// unchanged.
///
/// # Source
/// Pillow `ImageFilter.SMOOTH`, which sums in single precision. Integer sums round the same way, because a multiple of
/// 1/13 is never halfway between two integers.
fn smoothed(image: &Image) -> Vec<u8> {
    const WEIGHT: u32 = 13;
    let (channels, stride, bytes) = (image.channels(), image.width() * image.channels(), image.data());
    let mut smooth = bytes.to_vec();
    if image.width() < 3 {
        return smooth;
    }
    for row in 1..image.height().saturating_sub(1) {
        for at in row * stride + channels..(row + 1) * stride - channels {
            let of_row = |middle: usize| -> u32 {
                [middle - channels, middle, middle + channels].iter().map(|&i| u32::from(bytes[i])).sum()
            };
            let sum = of_row(at - stride) + of_row(at) + of_row(at + stride) + 4 * u32::from(bytes[at]);
            smooth[at] = ((sum + WEIGHT / 2) / WEIGHT) as u8;
        }
    }
    smooth
}
