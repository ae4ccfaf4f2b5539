//! A rectangle of pixels.

use ::image::metadata::Orientation;

use crate::ImageError;
use crate::image::Turns;

/// A rectangle of pixels within an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    /// Rows above it.
    pub top: usize,
    /// Columns left of it.
    pub left: usize,
    /// Its rows.
    pub height: usize,
    /// Its columns.
    pub width: usize,
}

impl Crop {
    /// The smallest rectangle that contains both.
    #[must_use]
    pub fn around(self, other: Self) -> Self {
        let (top, left) = (self.top.min(other.top), self.left.min(other.left));
        let bottom = (self.top + self.height).max(other.top + other.height);
        let right = (self.left + self.width).max(other.left + other.width);
        Self { top, left, height: bottom - top, width: right - left }
    }

    /// Refuses a crop that is empty or reaches beyond an image of `(height, width)`.
    ///
    /// # Errors
    /// [`ImageError::Argument`]
    pub fn check(self, (height, width): (usize, usize)) -> Result<(), ImageError> {
        let within = |start: usize, length: usize, side: usize| {
            length > 0 && start.checked_add(length).is_some_and(|end| end <= side)
        };
        if within(self.top, self.height, height) && within(self.left, self.width, width) {
            return Ok(());
        }
        let bound = format!("at least 1x1 and within the image of {height}x{width}");
        Err(ImageError::Argument { name: "crop", value: format!("{self:?}"), bound })
    }

    /// The `(height, width)` of the upright image, given that of the stored image.
    pub(crate) fn upright_size((height, width): (usize, usize), orientation: Orientation) -> (usize, usize) {
        if Turns::of(orientation).turned { (width, height) } else { (height, width) }
    }

    /// The rectangle of the image of size `stored` that becomes this rectangle of the upright image.
    pub(crate) fn before(self, orientation: Orientation, stored: (usize, usize)) -> Self {
        let Turns { turned, up, back } = Turns::of(orientation);
        let (rows, columns) = Self::upright_size(stored, orientation);
        let top = if up { rows - self.top - self.height } else { self.top };
        let left = if back { columns - self.left - self.width } else { self.left };
        let Self { height, width, .. } = self;
        if turned {
            Self { top: left, left: top, height: width, width: height }
        } else {
            Self { top, left, height, width }
        }
    }
}
