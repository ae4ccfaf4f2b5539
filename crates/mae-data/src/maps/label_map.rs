//! The class of every pixel of an image.

use ::image::metadata::Orientation;

use crate::{AnyImage, DataError, Image};

/// The label of a pixel that does not count, neither in a loss nor in a metric.
pub const IGNORE: u16 = u16::MAX;

/// The class of every pixel of an image, an index into the names of the classes, or [`IGNORE`].
///
/// # Shapes
/// `[H, W]`, row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelMap(Image<u16>);

impl LabelMap {
    /// Wraps labels that are already in `[H, W]` order.
    ///
    /// # Errors
    /// [`DataError::Image`] unless the length of `labels` is `height * width` and not 0.
    pub fn new(height: usize, width: usize, labels: Vec<u16>) -> Result<Self, DataError> {
        Ok(Self(Image::new(height, width, 1, labels)?))
    }

    /// Wraps an image of one channel.
    pub(crate) fn of(image: Image<u16>) -> Self {
        debug_assert_eq!(image.channels(), 1);
        Self(image)
    }

    /// The number of rows.
    #[inline]
    #[must_use]
    pub fn height(&self) -> usize {
        self.0.height()
    }

    /// The number of columns.
    #[inline]
    #[must_use]
    pub fn width(&self) -> usize {
        self.0.width()
    }

    /// `(height, width)`.
    #[inline]
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        (self.height(), self.width())
    }

    /// The labels, `[H, W]`.
    #[inline]
    #[must_use]
    pub fn labels(&self) -> &[u16] {
        self.0.data()
    }

    /// Converts to an image of one channel, `[H, W, 1]`.
    #[inline]
    #[must_use]
    pub fn into_image(self) -> Image<u16> {
        self.0
    }

    /// Converts to the labels, `[H, W]`.
    #[inline]
    #[must_use]
    pub fn into_labels(self) -> Vec<u16> {
        self.0.into_data()
    }

    /// Rotates and flips the map by an EXIF orientation, like an image of the same pixels.
    #[must_use]
    pub fn upright(self, orientation: Orientation) -> Self {
        Self(self.0.upright(orientation))
    }

    /// Sets the label of every pixel without data in `image` to [`IGNORE`]. A pixel has no data if all its channels are
    /// NaN or infinite. The image must have the map's size.
    #[must_use]
    pub fn where_known(self, image: &AnyImage) -> Self {
        let AnyImage::F32(image) = image else { return self };
        let size = self.size();
        debug_assert_eq!((image.height(), image.width()), size);
        let mut labels = self.into_labels();
        for (label, pixel) in labels.iter_mut().zip(image.data().chunks_exact(image.channels())) {
            if pixel.iter().all(|number| !number.is_finite()) {
                *label = IGNORE;
            }
        }
        Self(Image::new(size.0, size.1, 1, labels).expect("as many labels as before"))
    }

    /// Counts the pixels of each of `classes` classes. Other labels, such as [`IGNORE`], are not counted.
    #[must_use]
    pub fn counts(&self, classes: usize) -> Vec<u64> {
        let mut counts = vec![0; classes];
        for label in self.labels() {
            if let Some(count) = counts.get_mut(usize::from(*label)) {
                *count += 1;
            }
        }
        counts
    }
}
