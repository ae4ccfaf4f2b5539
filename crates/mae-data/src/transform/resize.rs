//! Resizing as Pillow does it.

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x3};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};
use mae_image::{Pixel, check_size};

use crate::transform::resample::{Resampler, Span};
use crate::transform::resample_wide::WideResampler;
use crate::{Crop, DataError, Filter, Image};

/// How the visible pixels of a view are resized.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Resizing {
    /// For training: resizes all of them to `(height, width)`, with 16-bit coefficients.
    Fast((usize, usize)),
    /// For evaluation: computes a range of rows and columns of the resized image, bit-identical to Pillow.
    Exact(Span, Span),
}

impl Resizing {
    /// `(height, width)` of the output.
    pub(crate) fn shown(&self) -> (usize, usize) {
        match self {
            Self::Fast(size) => *size,
            Self::Exact(rows, columns) => (rows.length, columns.length),
        }
    }
}

/// Cuts `crop` out of `image` and resizes it to `size`, `(height, width)`, with Pillow's bicubic filter. The filter is
/// widened when it makes an image smaller, and never reads pixels outside the crop.
///
/// # Errors
/// [`DataError::Image`] if the crop is empty or reaches beyond the image, or the size has a 0.
///
/// # Source
/// torchvision `resized_crop` on Pillow 13, `BICUBIC`: the same bytes.
pub fn resized_crop(image: &Image, crop: Crop, size: (usize, usize)) -> Result<Image, DataError> {
    crop.check((image.height(), image.width()))?;
    check_size(size)?;
    let whole = |side, resized| Span::whole(side, resized, Filter::Bicubic);
    let (rows, columns) = (whole(crop.height, size.0), whole(crop.width, size.1));
    let mut scratch = Scratch::default();
    scratch.resize(image, crop, Resizing::Exact(rows, columns));
    Ok(Image::new(size.0, size.1, image.channels(), scratch.whole)?)
}

/// Buffers for resizing, reused from one image to the next.
#[derive(Default)]
pub(crate) struct Scratch {
    fast: Resizer,
    exact: Resampler,
    wide: WideResampler,
    between: Vec<u8>,
    whole: Vec<u8>,
}

impl Scratch {
    /// Resizes the pixels of the crop `visible`.
    pub(crate) fn resize(&mut self, image: &Image, visible: Crop, resizing: Resizing) -> &[u8] {
        match image.channels() {
            1 => self.resize_as::<U8, 1>(image, visible, resizing),
            3 => self.resize_as::<U8x3, 3>(image, visible, resizing),
            _ => self.resize_planes(image, visible, resizing),
        }
        &self.whole
    }

    fn resize_as<P: PixelTrait, const N: usize>(&mut self, image: &Image, visible: Crop, resizing: Resizing) {
        match resizing {
            Resizing::Fast(size) => self.resize_fast::<P>(image, visible, size),
            Resizing::Exact(rows, columns) => {
                self.exact.resize::<N>(image, visible, (rows, columns), &mut self.whole);
            }
        }
    }

    /// Resamples within rows first, then within columns, and rounds to bytes in between. This is Pillow's usual order,
    /// and the order shows where the filter overshoots black or white. Given both passes at once, the resizer uses the
    /// other order. That is a quarter faster, but on a photograph reduced 4 times, it no longer keeps 99.9% of the
    /// bytes within 1 of Pillow's.
    fn resize_fast<P: PixelTrait>(&mut self, image: &Image, visible: Crop, size: (usize, usize)) {
        let (height, width) = (visible.height, size.1);
        self.between.resize(height * width * P::size(), 0);
        self.whole.resize(size.0 * width * P::size(), 0);

        let pixels = (image.data(), (image.height(), image.width()));
        resample::<P>(&mut self.fast, pixels, visible, (&mut self.between, (height, width)));
        let pixels = (&self.between[..], (height, width));
        let all = Crop { top: 0, left: 0, height, width };
        resample::<P>(&mut self.fast, pixels, all, (&mut self.whole, size));
    }

    /// Resizes pixel types wider than a byte, always bit-identical to Pillow.
    pub(crate) fn resize_wide<T: Pixel>(
        &mut self,
        image: &Image<T>,
        visible: Crop,
        resizing: Resizing,
    ) -> Vec<T> {
        let spans = match resizing {
            Resizing::Fast((height, width)) => {
                let whole = |side, resized| Span::whole(side, resized, Filter::Bicubic);
                (whole(visible.height, height), whole(visible.width, width))
            }
            Resizing::Exact(rows, columns) => (rows, columns),
        };
        self.wide.resize(image, visible, spans)
    }

    /// Resizes any number of channels, one after the other.
    fn resize_planes(&mut self, image: &Image, visible: Crop, resizing: Resizing) {
        let channels = image.channels();
        let mut data = Vec::new();
        for channel in 0..channels {
            let plane = image.data().iter().skip(channel).step_by(channels).copied().collect();
            let plane =
                Image::new(image.height(), image.width(), 1, plane).expect("a plane has a byte a pixel");
            self.resize_as::<U8, 1>(&plane, visible, resizing);
            data.resize(self.whole.len() * channels, 0);
            for (to, &from) in data.iter_mut().skip(channel).step_by(channels).zip(&self.whole) {
                *to = from;
            }
        }
        self.whole = data;
    }
}

/// Resamples the crop `visible` of `from` into `into`. Both buffers come with their (height, width).
fn resample<P: PixelTrait>(
    resizer: &mut Resizer,
    (from, (height, width)): (&[u8], (usize, usize)),
    visible: Crop,
    (into, size): (&mut [u8], (usize, usize)),
) {
    let invariant = "pixels fill their shape, and what is visible lies within them";
    let image = TypedImageRef::<P>::from_buffer(width as u32, height as u32, from).expect(invariant);
    let [top, left, rows, columns] =
        [visible.top, visible.left, visible.height, visible.width].map(|length| length as u32);
    let view = TypedCroppedImage::from_ref(&image, left, top, columns, rows).expect(invariant);
    let mut into = TypedImage::<P>::from_buffer(size.1 as u32, size.0 as u32, into).expect(invariant);
    let options =
        ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom)).use_alpha(false);
    // The typed call: `resize` would be compiled for every pixel type.
    resizer.resize_typed(&view, &mut into, &options).expect(invariant);
}
