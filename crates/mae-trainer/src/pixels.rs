//! Pixel types, and pixels rendered as pictures.

use burn::tensor::{DType, Tensor};
use mae_data::{Image, PixelFormat, PixelType};
use mae_vit::Normalize;

use crate::TrainerError;

/// The tensor dtype of a pixel type.
#[must_use]
pub fn dtype(pixel_type: PixelType) -> DType {
    match pixel_type {
        PixelType::U8 => DType::U8,
        PixelType::U16 => DType::U16,
        PixelType::F32 => DType::F32,
    }
}

/// The format that images are decoded to for a model with this normalisation and number of channels.
#[must_use]
pub fn pixel_format(normalize: &Normalize, channels: usize) -> PixelFormat {
    let pixel_type = match normalize.dtype() {
        DType::U16 => PixelType::U16,
        DType::F32 => PixelType::F32,
        _ if channels == 3 => return PixelFormat::Rgb8,
        _ => PixelType::U8,
    };
    PixelFormat::Stored { pixel_type, channels }
}

/// The share of a channel's pixels below the value shown as black, and of those above the value shown as white.
const CUT_OFF: f64 = 0.02;

/// How pixels of any type and number of channels are shown to people.
///
/// Bytes are shown as they are. For other types, each channel of each image is stretched from its 2nd to its 98th
/// percentile.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    normalize: Normalize,
    /// Indices from 0: one channel for grey, or those for red, green and blue.
    channels: Vec<usize>,
}

impl Shown {
    /// Shows the given channels, one or three, counted from 1. By default, they are the first three, or the first if
    /// there are fewer than three.
    ///
    /// # Errors
    /// If there are not one or three channels, or the images lack one of them.
    pub fn new(normalize: Normalize, show: Option<&[usize]>) -> Result<Self, TrainerError> {
        let all = normalize.mean().len();
        let channels = match show {
            None => (0..if all < 3 { 1 } else { 3 }).collect(),
            Some(show) => {
                let known = show.iter().all(|channel| (1..=all).contains(channel));
                if !known || ![1, 3].contains(&show.len()) {
                    let text: Vec<_> = show.iter().map(usize::to_string).collect();
                    let bound = format!("one channel or three, each from 1 to {all}");
                    return Err(TrainerError::argument("show", text.join(","), bound));
                }
                show.iter().map(|channel| channel - 1).collect()
            }
        };
        Ok(Self { normalize, channels })
    }

    /// How the pixels are normalised.
    #[must_use]
    pub fn normalize(&self) -> &Normalize {
        &self.normalize
    }

    /// Renders the images of a batch.
    ///
    /// # Shapes
    /// `bytes`, pixels `[B, C, H, W]` in native byte order → `[H, W, 1 or 3]` each
    ///
    /// # Errors
    /// If the pixels do not form an image.
    pub fn images(&self, bytes: &[u8], shape: [usize; 4]) -> Result<Vec<Image>, TrainerError> {
        let pixels = self.normalize.pixels(bytes);
        self.draw(&pixels, &pixels, shape)
    }

    /// Renders images that a model makes from a batch, stretched in the same way as the batch's own images.
    ///
    /// # Shapes
    /// `bytes` as in [`images`](Self::images), normalised images `[B, C, H, W]` → `[H, W, 1 or 3]` each
    ///
    /// # Errors
    /// If the pixels do not form an image.
    pub fn made_of(&self, bytes: &[u8], images: Tensor<4>) -> Result<Vec<Image>, TrainerError> {
        let shape = images.dims();
        self.draw(&self.normalize.restore(images), &self.normalize.pixels(bytes), shape)
    }

    fn draw(
        &self,
        pixels: &[f32],
        like: &[f32],
        [_, channels, height, width]: [usize; 4],
    ) -> Result<Vec<Image>, TrainerError> {
        let plane = height * width;
        let draw = |(pixels, like): (&[f32], &[f32])| {
            let planes = self.channels.iter().map(|channel| {
                let range = channel * plane..(channel + 1) * plane;
                self.grey(&pixels[range.clone()], &like[range])
            });
            let planes: Vec<Vec<u8>> = planes.collect();
            let data = (0..plane).flat_map(|i| planes.iter().map(move |plane| plane[i])).collect();
            Ok(Image::new(height, width, planes.len(), data)?)
        };
        let size = channels * plane;
        pixels.chunks_exact(size).zip(like.chunks_exact(size)).map(draw).collect()
    }

    /// Renders a channel as grey values. The percentiles of `like` are black and white. NaN is black.
    fn grey(&self, pixels: &[f32], like: &[f32]) -> Vec<u8> {
        if self.normalize.dtype() == DType::U8 {
            return pixels.iter().map(|pixel| pixel.round() as u8).collect();
        }
        let mut sorted: Vec<f32> = like.iter().copied().filter(|pixel| pixel.is_finite()).collect();
        sorted.sort_unstable_by(f32::total_cmp);
        let at = |share: f64| sorted[(share * (sorted.len().saturating_sub(1)) as f64).round() as usize];
        let (black, white) = if sorted.is_empty() { (0.0, 1.0) } else { (at(CUT_OFF), at(1.0 - CUT_OFF)) };
        let stretch = if white > black { 255.0 / (white - black) } else { 0.0 };
        // The cast saturates at 0 and 255, and turns NaN into 0.
        pixels.iter().map(|pixel| ((pixel - black) * stretch).round() as u8).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(numbers: &[u16]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
    }

    #[test]
    fn bytes_are_shown_as_they_are() {
        let shown = Shown::new(Normalize::imagenet(), None).unwrap();
        let bytes: Vec<u8> = (0..2 * 3 * 2 * 3).map(|at| at * 7).collect();
        let images = shown.images(&bytes, [2, 3, 2, 3]).unwrap();
        assert_eq!(&images[1].data()[..6], [18, 24, 30, 19, 25, 31].map(|at| at * 7));
        let normalised = shown.normalize().images(bytes.clone(), [2, 3, 2, 3], &burn::tensor::Device::flex());
        assert_eq!(shown.made_of(&bytes, normalised).unwrap(), images);
    }

    #[test]
    fn deeper_pixels_are_stretched_channel_by_channel() {
        let deep = Normalize::of(DType::U16, vec![500.0; 4], vec![100.0; 4]).unwrap();
        let shown = Shown::new(deep.clone(), Some(&[4])).unwrap();
        // The last of the 101 values is far above the others, like a hot pixel.
        let plane: Vec<u16> = (0..101).map(|i| if i == 100 { 65535 } else { 1000 + i }).collect();
        let bytes = numbers(&[vec![7; 303], plane].concat());
        let image = &shown.images(&bytes, [1, 4, 1, 101]).unwrap()[0];
        assert_eq!((image.channels(), image.width()), (1, 101));
        // Stretched from 1002 to 1098.
        let data = image.data();
        assert_eq!([data[0], data[2], data[50], data[98], data[100]], [0, 0, 128, 255, 255]);

        let all = Shown::new(deep.clone(), Some(&[4, 3, 2])).unwrap();
        let image = &all.images(&bytes, [1, 4, 1, 101]).unwrap()[0];
        // A constant channel is black.
        assert_eq!(&image.data()[150..153], [128, 0, 0]);

        for wrong in [&[5][..], &[0], &[1, 2], &[]] {
            let message = Shown::new(deep.clone(), Some(wrong)).unwrap_err().to_string();
            assert!(message.contains("one channel or three, each from 1 to 4"), "{message}");
        }
    }

    #[test]
    fn what_is_missing_is_black_and_does_not_stretch() {
        let heights = Normalize::of(DType::F32, vec![0.0], vec![1.0]).unwrap();
        let shown = Shown::new(heights, None).unwrap();
        let draw = |pixels: [f32; 4]| {
            let bytes: Vec<u8> = pixels.iter().flat_map(|pixel| pixel.to_ne_bytes()).collect();
            shown.images(&bytes, [1, 1, 2, 2]).unwrap()[0].data().to_vec()
        };
        assert_eq!(draw([-20.0, f32::NAN, 0.0, 20.0]), [0, 0, 128, 255]);
        assert_eq!(draw([f32::NAN; 4]), [0; 4]);
    }

    #[test]
    fn formats_follow_from_what_is_normalised() {
        for (text, channels) in [("rgb8", 3), ("u8x1", 1), ("u16x3", 3), ("f32x13", 13)] {
            let format: PixelFormat = text.parse().unwrap();
            let (mean, std) = (vec![0.5; channels], vec![0.5; channels]);
            let normalize = Normalize::of(dtype(format.pixel_type()), mean, std).unwrap();
            assert_eq!(pixel_format(&normalize, channels), format);
        }
    }
}
