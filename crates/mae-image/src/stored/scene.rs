//! A TIFF image whose tags are read and whose pixels are decoded in windows.

use std::path::{Path, PathBuf};

use ::image::metadata::Orientation;

use super::header::{Problem, Stored};
use crate::source::Source;
use crate::tiff::Tiff;
use crate::{AnyImage, Crop, DecodeLimits, ImageError, PixelFormat, of_any};

/// A TIFF image. It owns its file, in memory or open, and the tags, which are parsed only once.
pub(crate) struct Scene {
    path: PathBuf,
    source: Source<'static>,
    tiff: Tiff,
    limits: DecodeLimits,
    expected: PixelFormat,
}

impl Scene {
    /// The image of a file whose tags have been read, as pixels of the format `expected`.
    pub(crate) fn new(
        path: &Path,
        source: Source<'static>,
        tiff: Tiff,
        expected: PixelFormat,
        limits: &DecodeLimits,
    ) -> Self {
        Self { path: path.into(), source, tiff, limits: *limits, expected }
    }

    /// `(height, width)` of the upright image.
    pub(crate) fn size(&self) -> (usize, usize) {
        let header = self.tiff.header();
        Crop::upright_size((header.height, header.width), self.tiff.orientation())
    }

    /// The orientation of the stored image.
    pub(crate) fn orientation(&self) -> Orientation {
        self.tiff.orientation()
    }

    /// Decodes the pixels of `crop`, a part of the upright image. The limits apply to the part.
    pub(crate) fn decode(self, crop: Crop) -> Result<AnyImage, ImageError> {
        let Self { path, source, tiff, limits, expected } = self;
        let orientation = tiff.orientation();
        let header = tiff.header();
        let window = crop.before(orientation, (header.height, header.width));
        header.of_part(window).check(&path, &limits)?;
        let refuse = |problem: Problem| problem.refuse(&path, "TIFF", source.length(), &limits);
        let Stored { image, alpha, .. } = tiff.read(&source, window, limits.max_bytes).map_err(refuse)?;
        let image = of_any!(image, image => image.upright(orientation).into());
        Stored { image, alpha, orientation }.expect(&path, expected)
    }
}
