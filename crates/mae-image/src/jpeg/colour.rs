//! Upsamples planes and converts them to rows of RGB, as libjpeg does, and therefore Pillow.

use super::rows::{double_both, double_columns, double_rows, to_rgb};
use crate::Crop;

/// The colour space of an image's components.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colours {
    Grey,
    Rgb,
    YCbCr,
    Cmyk,
    Ycck,
}

/// Samples of a component, of the whole image or a part.
pub(crate) struct Plane {
    pub(crate) data: Vec<u8>,
    pub(crate) stride: usize,
    /// The position of the first sample in the whole image's samples.
    pub(crate) top: usize,
    pub(crate) left: usize,
    /// The size of the whole image in samples.
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// Pixels per sample, down and across.
    pub(crate) pixels: (usize, usize),
}

/// Computes the pixels of `crop`, which must lie within the planes.
///
/// # Shapes
/// `[H, W, 3]` of the crop
pub(crate) fn colour(planes: &[Plane], colours: Colours, crop: Crop, pixels: &mut Vec<u8>) {
    pixels.resize(crop.height * crop.width * 3, 0);
    let mut sums = vec![0; planes.iter().map(|plane| plane.stride).max().unwrap_or(0)];
    let mut enlarged: Vec<Vec<u8>> =
        planes.iter().map(|plane| vec![0; plane.pixels.1 * plane.stride]).collect();
    for (y, pixels) in (crop.top..).zip(pixels.chunks_exact_mut(crop.width * 3)) {
        for (plane, enlarged) in planes.iter().zip(&mut enlarged) {
            plane.enlarge(y, &mut sums, enlarged);
        }
        let row = |i: usize| {
            let plane: &Plane = &planes[i];
            let row = if plane.pixels == (1, 1) { plane.row(y) } else { &enlarged[i] };
            &row[crop.left - plane.pixels.1 * plane.left..][..crop.width]
        };
        match colours {
            Colours::Grey => {
                for (pixel, value) in pixels.as_chunks_mut().0.iter_mut().zip(row(0)) {
                    *pixel = [*value; 3];
                }
            }
            Colours::Rgb => interleave([row(0), row(1), row(2)], pixels),
            Colours::YCbCr => to_rgb(row(0), row(1), row(2), pixels),
            Colours::Cmyk => {
                interleave([row(0), row(1), row(2)], pixels);
                pixels.iter_mut().for_each(|value| *value = !*value);
                ink_to_rgb(row(3), pixels);
            }
            Colours::Ycck => {
                to_rgb(row(0), row(1), row(2), pixels);
                ink_to_rgb(row(3), pixels);
            }
        }
    }
}

impl Plane {
    /// The samples of the whole image's row `y`.
    fn row(&self, y: usize) -> &[u8] {
        let begin = (y - self.top) * self.stride;
        &self.data[begin..begin + self.stride.min(self.width - self.left)]
    }

    /// Upsamples the row of pixels `y` of a component with fewer samples.
    ///
    /// # Source
    /// libjpeg-turbo's `jinit_upsampler`: factors of 2 are interpolated, except if there are only one or two columns.
    fn enlarge(&self, y: usize, sums: &mut [u16], out: &mut [u8]) {
        let (down, across) = self.pixels;
        let near = y / down;
        let far = if y.is_multiple_of(2) { near.saturating_sub(1) } else { (near + 1).min(self.height - 1) };
        match (down, across) {
            (1, 1) => {}
            (1, 2) if self.width > 2 => double_columns(self.row(near), out),
            (2, 1) => double_rows(self.row(near), self.row(far), y.is_multiple_of(2), out),
            (2, 2) if self.width > 2 => double_both(self.row(near), self.row(far), sums, out),
            _ => {
                for (out, value) in out.chunks_exact_mut(across).zip(self.row(near)) {
                    out.fill(*value);
                }
            }
        }
    }
}

fn interleave([red, green, blue]: [&[u8]; 3], pixels: &mut [u8]) {
    for (((pixel, red), green), blue) in pixels.as_chunks_mut().0.iter_mut().zip(red).zip(green).zip(blue) {
        *pixel = [*red, *green, *blue];
    }
}

/// Converts cyan, magenta and yellow in `pixels` to RGB; `light` is the light that black lets through.
///
/// # Source
/// Pillow's `cmyk2rgb`. Pillow always assumes inks as Adobe's programs write them: 255 for none.
fn ink_to_rgb(light: &[u8], pixels: &mut [u8]) {
    for (pixel, light) in pixels.as_chunks_mut::<3>().0.iter_mut().zip(light) {
        for value in pixel {
            let product = u32::from(*value) * u32::from(*light) + 128;
            *value = light - (((product >> 8) + product) >> 8) as u8;
        }
    }
}
