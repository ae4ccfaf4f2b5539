//! TIFF and BigTIFF files: strips or tiles, chunky or planar, any number of bands of 8 to 64 bits.
//!
//! Numbers are read as they are stored. Grey from white (`WhiteIsZero`) is not inverted, and colours are not
//! divided by alpha. Unsigned numbers of 8 and of 16 bits keep their type. All others become 32-bit floats:
//! `f64` is rounded to the nearest, and an integer that no such float holds is refused. A GeoTIFF file that
//! names a value for "no data" is read as floats, with `NaN` in its place.
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
    /// [`Problem::Colours`] for a kind that is not read, and for tags that would take too much memory.
    pub(crate) fn open(source: &Source) -> Result<Self, Problem> {
        stack::find(File::open(source)?)
    }

    /// The first page alone, where "no data" is a number like others.
    pub(crate) fn first_page(source: &Source) -> Result<Self, Problem> {
        stack::first(File::open(source)?)
    }

    /// The image of a file of labels, whose numbers may be indices of a palette.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(crate) fn of_indices(source: &Source) -> Result<Self, Problem> {
        stack::indices(File::open(source)?)
    }

    /// Size and type of the image as it is stored: [`orientation`](Self::orientation) is not applied.
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

    /// All pixels.
    pub(crate) fn whole(&self) -> Crop {
        let Header { height, width, .. } = self.header();
        Crop { top: 0, left: 0, height, width }
    }

    /// How the image is turned upright.
    pub(crate) fn orientation(&self) -> Orientation {
        self.orientation
    }

    /// Decodes the pixels of `window`, a part of the image as it is stored, which take at most `max_bytes`. `source` is the file that the
    /// tags were read from.
    ///
    /// Only the strips and tiles that touch the window are read, one at a time.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`Problem::TooLarge`] before memory is taken; and [`Problem::Unsupported`] for
    /// a number that no 32-bit float holds.
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
