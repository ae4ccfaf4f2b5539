//! The geometry that an image and its label map share: resizing, crop, orientation and border.

use ::image::metadata::Orientation;
use mae_image::{Part, Pixel, of_any};

use crate::transform::resample::Span;
use crate::{AnyImage, Crop, Filter, Image, LabelMap, View};

/// A crop of the resized image, turned and placed at the upper left of a larger image.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Geometry {
    rows: Span,
    columns: Span,
    /// The row and column of the image where the window to be resized begins.
    origin: (usize, usize),
    /// The orientations applied to the crop, in order.
    turns: [Orientation; 3],
    /// `(height, width)` of the output.
    size: (usize, usize),
}

impl Geometry {
    /// The whole of an image of `(height, width)`, resized to `resized`.
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

    /// The same geometry for a window of the image whose first pixel is at `origin`.
    pub(super) fn moved(self, origin: (usize, usize)) -> Self {
        Self { origin, ..self }
    }

    /// Crops the resized image. The crop lies within it.
    pub(super) fn cropped(self, Crop { top, left, height, width }: Crop) -> Self {
        let rows = Span { start: top, length: height, ..self.rows };
        Self { rows, columns: Span { start: left, length: width, ..self.columns }, ..self }
    }

    /// Mirrors left to right, then top to bottom, then rotates by `quarters` quarter turns clockwise.
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

    /// The view that resizes the image and crops it: bilinear and antialiased.
    fn view(&self) -> View {
        let size = (self.rows.length, self.columns.length);
        View::of_resized(self.rows, self.columns, (0, 0), size).moved(self.origin.0, self.origin.1)
    }

    /// The pixels of the image that contribute to the crop.
    pub(super) fn visible(&self) -> Crop {
        self.view().visible()
    }

    /// The image, resized, cropped and turned, without a border. `part` contains at least the visible pixels.
    ///
    /// # Source
    /// torchvision v2 `resize` on Pillow images, bilinear with antialiasing: the same bytes.
    pub(super) fn shown(&self, part: &Part) -> AnyImage {
        let shown = self.view().cut(part);
        of_any!(shown, image => turn(image, self.turns).into())
    }

    /// Adds a border of `fill`, one value per channel, to the right of and below `image`, which [`shown`](Self::shown)
    /// returned.
    pub(super) fn bordered(&self, image: AnyImage, fill: &[f64]) -> AnyImage {
        fn set<T: Pixel>(image: Image<T>, size: (usize, usize), fill: &[f64]) -> Image<T> {
            let fill: Vec<T> = fill.iter().copied().map(T::from_f64).collect();
            border(image, size, &fill)
        }
        of_any!(image, image => set(image, self.size, fill).into())
    }

    /// The label map, resized, cropped and turned, without a border.
    pub(super) fn shown_map(&self, map: &LabelMap) -> LabelMap {
        let (height, width) = (self.rows.length, self.columns.length);
        let mut labels = Vec::with_capacity(height * width);
        self.each_row(map, |row, columns| labels.extend(columns.iter().map(|column| row[*column])));
        let shown = Image::new(height, width, 1, labels).expect("a label for each pixel of the crop");
        LabelMap::of(turn(shown, self.turns))
    }

    /// Adds a border of ignored pixels to the right of and below `map`, which [`shown_map`](Self::shown_map) returned.
    pub(super) fn bordered_map(&self, map: LabelMap) -> LabelMap {
        LabelMap::of(border(map.into_image(), self.size, &[crate::IGNORE]))
    }

    /// Counts the pixels of each label in the crop.
    pub(super) fn counts(&self, map: &LabelMap, counts: &mut std::collections::BTreeMap<u16, usize>) {
        counts.clear();
        self.each_row(map, |row, columns| {
            let labels = columns.iter().map(|column| row[*column]).collect::<Vec<u16>>();
            for run in labels.chunk_by(|one, next| one == next) {
                *counts.entry(run[0]).or_default() += run.len();
            }
        });
    }

    /// Calls `f` for each row of the crop, with the row of the map that it comes from and the columns to take.
    fn each_row(&self, map: &LabelMap, mut f: impl FnMut(&[u16], &[usize])) {
        let (top, left) = self.origin;
        let columns: Vec<usize> = nearest(self.columns).map(|column| left + column).collect();
        for row in nearest(self.rows).map(|row| top + row) {
            f(&map.labels()[row * map.width()..][..map.width()], &columns);
        }
    }
}

/// For each output pixel, the input pixel whose centre is nearest.
///
/// # Source
/// PyTorch's `nearest-exact`, in integers. PyTorch's floats differ where a centre lies exactly between two pixels.
/// Deviation: mmsegmentation resizes masks with OpenCV's `nearest`, torchvision its `Mask` with PyTorch's. Both take
/// the pixel at the upper left of the centre, which shifts labels by up to half a pixel against the image.
fn nearest(Span { side, resized, start, length, .. }: Span) -> impl Iterator<Item = usize> {
    let (side, resized) = (side as u128, resized as u128);
    (start..start + length).map(move |at| ((2 * at as u128 + 1) * side / (2 * resized)) as usize)
}

fn turn<T: Pixel>(image: Image<T>, turns: [Orientation; 3]) -> Image<T> {
    turns.into_iter().fold(image, Image::upright)
}

/// Places an image at the upper left of one of `(height, width)` that is filled with `fill`.
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
