//! One geometry for an image and its label map: what of them is resized and seen, how it is turned, and what lies around it.

use ::image::metadata::Orientation;
use mae_image::{Part, Pixel, of_any};

use crate::transform::resample::Span;
use crate::{AnyImage, Crop, Filter, Image, LabelMap, View};

/// A crop of the resized image, turned and set into the upper left of a larger one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Geometry {
    rows: Span,
    columns: Span,
    /// The row and column of the image where what is resized begins.
    origin: (usize, usize),
    /// What the crop is turned by, one after the other.
    turns: [Orientation; 3],
    /// `(height, width)` of what comes out.
    size: (usize, usize),
}

impl Geometry {
    /// The whole of an image of `(height, width)` that becomes `resized`.
    pub(super) fn new(side: (usize, usize), resized: (usize, usize), size: (usize, usize)) -> Self {
        let whole = |side, resized| Span::whole(side, resized, Filter::Bilinear);
        let turns = [Orientation::NoTransforms; 3];
        Self {
            rows: whole(side.0, resized.0),
            columns: whole(side.1, resized.1),
            origin: (0, 0),
            turns,
            size,
        }
    }

    /// The same of a window of the image whose first pixel is at `origin`.
    pub(super) fn moved(self, origin: (usize, usize)) -> Self {
        Self { origin, ..self }
    }

    /// A crop of the resized image, which holds it.
    pub(super) fn cropped(self, Crop { top, left, height, width }: Crop) -> Self {
        let rows = Span { start: top, length: height, ..self.rows };
        Self { rows, columns: Span { start: left, length: width, ..self.columns }, ..self }
    }

    /// Mirrored left to right, then top to bottom, then turned by so many quarters to the right.
    pub(super) fn turned(self, mirrored: bool, upside_down: bool, quarters: u64) -> Self {
        let or_none = |wanted, turn| if wanted { turn } else { Orientation::NoTransforms };
        let quarters = match quarters % 4 {
            0 => Orientation::NoTransforms,
            1 => Orientation::Rotate90,
            2 => Orientation::Rotate180,
            _ => Orientation::Rotate270,
        };
        let mirrored = or_none(mirrored, Orientation::FlipHorizontal);
        Self { turns: [mirrored, or_none(upside_down, Orientation::FlipVertical), quarters], ..self }
    }

    /// How the pixels of an image become those of the crop: bilinear and antialiased.
    fn view(&self) -> View {
        let size = (self.rows.length, self.columns.length);
        View::of_resized(self.rows, self.columns, (0, 0), size).moved(self.origin.0, self.origin.1)
    }

    /// The pixels of the image that have a part in it.
    pub(super) fn visible(&self) -> Crop {
        self.view().visible()
    }

    /// The image's pixels, which `part` has at least as far as they are visible, resized and turned, without a border.
    ///
    /// # Source
    /// torchvision v2 `resize` on Pillow images, bilinear with antialiasing: the same bytes.
    pub(super) fn shown(&self, part: &Part) -> AnyImage {
        let shown = self.view().cut(part);
        of_any!(shown, image => turn(image, self.turns).into())
    }

    /// `image`, as [`shown`](Self::shown) makes it, above and left of a border of `fill`, one number for each channel.
    pub(super) fn bordered(&self, image: AnyImage, fill: &[f64]) -> AnyImage {
        fn set<T: Pixel>(image: Image<T>, size: (usize, usize), fill: &[f64]) -> Image<T> {
            let fill: Vec<T> = fill.iter().copied().map(T::from_f64).collect();
            border(image, size, &fill)
        }
        of_any!(image, image => set(image, self.size, fill).into())
    }

    /// The label map, resized and turned, without a border.
    pub(super) fn shown_map(&self, map: &LabelMap) -> LabelMap {
        let (height, width) = (self.rows.length, self.columns.length);
        let mut labels = Vec::with_capacity(height * width);
        self.each_row(map, |row, columns| labels.extend(columns.iter().map(|column| row[*column])));
        let shown = Image::new(height, width, 1, labels).expect("a label for each pixel of the crop");
        LabelMap::of(turn(shown, self.turns))
    }

    /// `map`, as [`shown_map`](Self::shown_map) makes it, above and left of pixels that are ignored.
    pub(super) fn bordered_map(&self, map: LabelMap) -> LabelMap {
        LabelMap::of(border(map.into_image(), self.size, &[crate::IGNORE]))
    }

    /// The labels of the crop: how many pixels each has.
    pub(super) fn counts(&self, map: &LabelMap, counts: &mut std::collections::BTreeMap<u16, usize>) {
        counts.clear();
        self.each_row(map, |row, columns| {
            let labels = columns.iter().map(|column| row[*column]).collect::<Vec<u16>>();
            for run in labels.chunk_by(|one, next| one == next) {
                *counts.entry(run[0]).or_default() += run.len();
            }
        });
    }

    /// Gives `f` the row of the map that each row of the crop is made of, and the columns that are taken.
    fn each_row(&self, map: &LabelMap, mut f: impl FnMut(&[u16], &[usize])) {
        let (top, left) = self.origin;
        let columns: Vec<usize> = nearest(self.columns).map(|column| left + column).collect();
        for row in nearest(self.rows).map(|row| top + row) {
            f(&map.labels()[row * map.width()..][..map.width()], &columns);
        }
    }
}

/// The pixel whose middle is nearest to that of each pixel that is shown.
///
/// # Source
/// PyTorch's `nearest-exact`, in whole numbers: its floats differ where a middle lies just between two pixels.
/// Deviation: mmsegmentation resizes masks by OpenCV's `nearest`, and torchvision its `Mask` by PyTorch's. These take the pixel at the
/// upper left of the middle, and so shift labels by up to half a pixel against the image.
fn nearest(Span { side, resized, start, length, .. }: Span) -> impl Iterator<Item = usize> {
    let (side, resized) = (side as u128, resized as u128);
    (start..start + length).map(move |at| ((2 * at as u128 + 1) * side / (2 * resized)) as usize)
}

fn turn<T: Pixel>(image: Image<T>, turns: [Orientation; 3]) -> Image<T> {
    turns.into_iter().fold(image, Image::upright)
}

/// Sets an image into the upper left of one of `(height, width)`, of pixels of `fill`.
fn border<T: Pixel>(image: Image<T>, (height, width): (usize, usize), fill: &[T]) -> Image<T> {
    let channels = image.channels();
    if (image.height(), image.width()) == (height, width) {
        return image;
    }
    let mut data = fill.repeat(height * width);
    let rows = image.data().chunks_exact(image.width() * channels);
    for (into, row) in data.chunks_exact_mut(width * channels).zip(rows) {
        into[..row.len()].copy_from_slice(row);
    }
    Image::new(height, width, channels, data).expect("a number for each channel of each pixel")
}
