//! How a sample is cropped from its image.

use ::image::metadata::Orientation;
use mae_image::{Part, Pixel};

use crate::transform::resample::Span;
use crate::transform::resize::{Resizing, Scratch};
use crate::{AnyImage, Crop, Image};

/// A crop of an image, resized and optionally mirrored, padded with black or turned.
///
/// The crop is known before the image is decoded. A loader therefore decodes only that part, and writes the result
/// directly into the batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// The pixels of the image that the view reads.
    visible: Crop,
    /// How they are resized.
    resizing: Resizing,
    /// The number of black rows above and black columns to the left.
    padding: (usize, usize),
    /// `(height, width)` of the view before it is turned.
    size: (usize, usize),
    mirrored: bool,
    /// The orientation applied last.
    turned: Orientation,
}

impl View {
    /// A view for training: a crop resized to `size`, without reading any pixels outside the crop.
    pub(crate) fn of_crop(crop: Crop, size: (usize, usize), mirrored: bool) -> Self {
        let (resizing, turned) = (Resizing::Fast(size), Orientation::NoTransforms);
        Self { visible: crop, resizing, padding: (0, 0), size, mirrored, turned }
    }

    /// A view for evaluation: a part of the resized image on black, offset by `padding`.
    pub(crate) fn of_resized(
        rows: Span,
        columns: Span,
        padding: (usize, usize),
        size: (usize, usize),
    ) -> Self {
        let (seen, across) = (rows.seen(), columns.seen());
        let visible = Crop { top: seen.start, left: across.start, height: seen.len(), width: across.len() };
        let (resizing, turned) = (Resizing::Exact(rows, columns), Orientation::NoTransforms);
        Self { visible, resizing, padding, size, mirrored: false, turned }
    }

    /// The same view of a window whose first pixel is at (`top`, `left`) of the image.
    pub(crate) fn moved(self, top: usize, left: usize) -> Self {
        let Crop { top: above, left: before, .. } = self.visible;
        Self { visible: Crop { top: above + top, left: before + left, ..self.visible }, ..self }
    }

    /// The same view, turned after everything else.
    pub(crate) fn turned(self, turned: Orientation) -> Self {
        Self { turned, ..self }
    }

    /// The pixels of the image that contribute to the view.
    #[must_use]
    pub fn visible(&self) -> Crop {
        self.visible
    }

    /// Cuts the view out of `part`, with interleaved channels.
    ///
    /// # Shapes
    /// `[h, w, C]`
    pub(crate) fn cut(&self, part: &Part) -> AnyImage {
        let (mut scratch, channels) = (Scratch::default(), part.pixels.channels());
        let crop = self.within(part);
        match &part.pixels {
            AnyImage::U8(image) => self.set(scratch.resize(image, crop, self.resizing), channels).into(),
            AnyImage::U16(image) => {
                self.set(&scratch.resize_wide(image, crop, self.resizing), channels).into()
            }
            AnyImage::F32(image) => {
                self.set(&scratch.resize_wide(image, crop, self.resizing), channels).into()
            }
        }
    }

    /// Mirrors the resized pixels `shown`, places them on black, and turns the result.
    fn set<T: Pixel>(&self, shown: &[T], channels: usize) -> Image<T> {
        let (height, width) = self.size;
        let shown_width = self.resizing.shown().1;
        let mut data = vec![T::default(); height * width * channels];
        let rows = data.chunks_exact_mut(width * channels).skip(self.padding.0);
        for (to, from) in rows.zip(shown.chunks_exact(shown_width * channels)) {
            let to = to[self.padding.1 * channels..][..from.len()].chunks_exact_mut(channels);
            let from = from.chunks_exact(channels);
            if self.mirrored {
                to.rev().zip(from).for_each(|(to, from)| to.copy_from_slice(from));
            } else {
                to.zip(from).for_each(|(to, from)| to.copy_from_slice(from));
            }
        }
        let set = Image::new(height, width, channels, data).expect("the data was made to this size");
        set.upright(self.turned)
    }

    /// Cuts the view out of `part` into `planes`, one per channel.
    ///
    /// # Shapes
    /// `[C, h, w]`
    pub(crate) fn cut_planes(&self, part: &Part, scratch: &mut Scratch, planes: &mut [u8]) {
        let image = match &part.pixels {
            AnyImage::U8(image) if self.turned == Orientation::NoTransforms => image,
            _ => return self.cut(part).write_planes(planes),
        };
        let (channels, (height, width)) = (image.channels(), self.size);
        let shown = scratch.resize(image, self.within(part), self.resizing);
        let shown_size = self.resizing.shown();
        if shown_size != self.size {
            planes.fill(0);
        }
        for (row, from) in shown.chunks_exact(shown_size.1 * channels).enumerate() {
            let at = (self.padding.0 + row) * width + self.padding.1;
            let mut to =
                planes.chunks_exact_mut(height * width).map(|plane| &mut plane[at..][..shown_size.1]);
            if let (3, Some(red), Some(green), Some(blue)) = (channels, to.next(), to.next(), to.next()) {
                split_rgb(from, [red, green, blue], self.mirrored);
                continue;
            }
            let to = planes.chunks_exact_mut(height * width).map(|plane| &mut plane[at..][..shown_size.1]);
            for (channel, to) in to.enumerate() {
                let from = from.iter().skip(channel).step_by(channels);
                if self.mirrored {
                    to.iter_mut().rev().zip(from).for_each(|(to, from)| *to = *from);
                } else {
                    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                }
            }
        }
    }

    /// The position in `part` of the pixels that the view reads.
    fn within(&self, part: &Part) -> Crop {
        let (top, left) = (self.visible.top - part.top, self.visible.left - part.left);
        Crop { top, left, ..self.visible }
    }
}

/// Splits a row of RGB pixels into one row per channel, from left to right or mirrored.
fn split_rgb(pixels: &[u8], [red, green, blue]: [&mut [u8]; 3], mirrored: bool) {
    let (rows, pixels) = (red.iter_mut().zip(green).zip(blue), pixels.as_chunks::<3>().0);
    let put = |(((red, green), blue), pixel): (((&mut u8, &mut u8), &mut u8), &[u8; 3])| {
        [*red, *green, *blue] = *pixel;
    };
    match mirrored {
        true => rows.zip(pixels.iter().rev()).for_each(put),
        false => rows.zip(pixels).for_each(put),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Filter;

    fn part(height: usize, width: usize, channels: usize, data: Vec<u8>) -> Part {
        Part::whole(Image::new(height, width, channels, data).unwrap())
    }

    #[test]
    fn mirrors_pixels_not_bytes() {
        let whole = Crop { top: 0, left: 0, height: 2, width: 3 };
        let image = part(2, 3, 2, (0..12).collect());
        let view = View::of_crop(whole, (2, 3), true);
        assert_eq!(view.cut(&image).into_u8().unwrap().into_data(), [4, 5, 2, 3, 0, 1, 10, 11, 8, 9, 6, 7]);
    }

    #[test]
    fn rows_of_any_length_are_split() {
        for width in [1, 2, 15, 16, 17, 40, 224] {
            let pixels: Vec<u8> = (0..3 * width).map(|at| (at * 7 % 251) as u8).collect();
            let whole = Crop { top: 0, left: 0, height: 1, width };
            for mirrored in [false, true] {
                let mut planes = vec![0; 3 * width];
                let view = View::of_crop(whole, (1, width), mirrored);
                view.cut_planes(&part(1, width, 3, pixels.clone()), &mut Scratch::default(), &mut planes);
                for (at, value) in planes.iter().enumerate() {
                    let (channel, column) = (at / width, at % width);
                    let column = if mirrored { width - 1 - column } else { column };
                    assert_eq!(*value, pixels[3 * column + channel], "{width} {mirrored} {at}");
                }
            }
        }
    }

    #[test]
    fn planes_keep_rows_and_columns() {
        let image = part(2, 3, 2, vec![1, 101, 2, 102, 3, 103, 4, 104, 5, 105, 6, 106]);
        let whole = Crop { top: 0, left: 0, height: 2, width: 3 };
        let mut planes = [0; 12];
        View::of_crop(whole, (2, 3), false).cut_planes(&image, &mut Scratch::default(), &mut planes);
        assert_eq!(planes, [1, 2, 3, 4, 5, 6, 101, 102, 103, 104, 105, 106]);
    }

    #[test]
    fn a_part_with_the_rows_that_are_seen_is_as_good_as_the_whole() {
        let data: Vec<u8> = (0..40 * 30 * 3).map(|at| (at * 7919 % 251) as u8).collect();
        let whole = part(40, 30, 3, data.clone());
        let crop = View::of_crop(Crop { top: 11, left: 3, height: 17, width: 20 }, (9, 8), true);
        let (rows, columns) = (
            Span { side: 40, resized: 23, start: 7, length: 9, filter: Filter::Bicubic },
            Span { side: 30, resized: 17, start: 6, length: 8, filter: Filter::Lanczos },
        );
        let window = View::of_resized(rows, columns, (1, 2), (12, 12));
        for view in [crop, window] {
            let Crop { top, left, height, width } = view.visible();
            assert!(top > 0 && top + height < 40);
            let rows = data[top * 90..(top + height) * 90].chunks(90);
            let pixels = rows.flat_map(|row| row[3 * left..3 * (left + width)].to_vec()).collect();
            let seen = Part { top, left, ..part(height, width, 3, pixels) };
            assert_eq!(view.cut(&seen), view.cut(&whole));
        }
    }
}
