//! TIFF and BigTIFF files: strips or tiles, chunky or planar, any number of bands of 8 to 64 bits.
//!
//! Values are read as stored. Grey with `WhiteIsZero` is not inverted, and colours are not divided by alpha. Unsigned
//! values of 8 and 16 bits keep their type. All others become 32-bit floats: `f64` is rounded to the nearest, and an
//! integer that no such float represents is refused. A GeoTIFF file with a "no data" value is read as floats, with
//! `NaN` in its place.
//!
//! Thumbnails and masks are skipped. The pages of an ImageJ or OME file are the channels of one image, unless
//! they are slices or frames, which are refused. Of other files with several pages, the first is read.

mod chunk;
mod directory;
mod georeference;
mod page;
mod stack;

use ::image::metadata::Orientation;

use crate::Crop;
use crate::source::Source;
use crate::stored::canvas::Canvas;
use crate::stored::header::{Header, Problem, Stored};
use directory::File;
pub use georeference::{GeoValue, Georeference};
pub(crate) use stack::Tiff;

impl Tiff {
    /// Reads the tags of the image; no pixels are read.
    ///
    /// # Errors
    /// [`Problem::Damaged`] if the tags are cut short or contradict each other, [`Problem::Unsupported`] or
    /// [`Problem::Colours`] for an unsupported kind, and for tags that would take too much memory.
    pub(crate) fn open(source: &Source) -> Result<Self, Problem> {
        stack::find(File::open(source)?)
    }

    /// Reads the tags of the first page only, where "no data" is a value like any other.
    pub(crate) fn first_page(source: &Source) -> Result<Self, Problem> {
        stack::first(File::open(source)?)
    }

    /// Reads the tags of a label image, whose values may be palette indices.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(crate) fn of_indices(source: &Source) -> Result<Self, Problem> {
        stack::indices(File::open(source)?)
    }

    /// Size and type of the image as stored: [`orientation`](Self::orientation) is not applied.
    pub(crate) fn header(&self) -> Header {
        let first = &self.pages[0];
        Header {
            height: first.height as usize,
            width: first.width as usize,
            channels: self.pages.iter().map(|page| page.samples as usize).sum(),
            alpha: first.alpha && self.pages.len() == 1,
            pixel_type: first.stored.pixel(self.missing),
        }
    }

    /// The crop of all pixels.
    pub(crate) fn whole(&self) -> Crop {
        let Header { height, width, .. } = self.header();
        Crop { top: 0, left: 0, height, width }
    }

    /// The orientation of the stored image.
    pub(crate) fn orientation(&self) -> Orientation {
        self.orientation
    }

    /// Decodes the pixels of `window`, a part of the image as stored, which take at most `max_bytes`. `source` is the
    /// file whose tags were read.
    ///
    /// Only the strips and tiles that touch the window are read, one at a time.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`Problem::TooLarge`] before memory is allocated; and [`Problem::Unsupported`] for a
    /// value that no 32-bit float represents.
    pub(crate) fn read(&self, source: &Source, window: Crop, max_bytes: u64) -> Result<Stored, Problem> {
        for page in &self.pages {
            page.check_chunks(max_bytes)?;
            page.check_places(source, window, max_bytes)?;
        }
        let header = self.header().of_part(window);
        let canvas = Canvas::new(header, self.pages[0].stored, self.missing, max_bytes)?;
        let mut canvas = canvas.within((window.top, window.left));
        let mut first = 0;
        for page in &self.pages {
            page.read(source, window, &mut canvas, first)?;
            first += page.samples as usize;
        }
        Ok(canvas.finish())
    }
}
