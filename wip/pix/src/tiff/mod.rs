//! TIFF and BigTIFF files: strips or tiles, chunky or planar, any number of bands of 8 to 64 bits.
//!
//! Numbers are as they are stored. So grey from white (`WhiteIsZero`) is not inverted, alpha is not divided
//! out, and the orientation tag is not applied. Unsigned numbers of 8 and of 16 bits keep their type. All
//! others are read as 32-bit floats: `f64` is rounded to the nearest, and an integer that no such float holds
//! is refused. A GeoTIFF file that names a value for "no data" is read as floats too, with `NaN` there.
//!
//! Thumbnails and masks are passed over. The pages of ImageJ and OME files are the channels of one image, if
//! they are no stack of slices or frames. Of other files of several pages the first is read.

mod chunk;
mod directory;
mod page;
mod stack;

use crate::canvas::{Canvas, Missing};
use crate::{Header, Problem, Stored};
use directory::File;
use page::Page;

/// The pages that make one image.
struct Image<'a> {
    /// All of one size and type.
    pages: Vec<Page<'a>>,
    missing: Option<Missing>,
}

impl Image<'_> {
    fn header(&self) -> Header {
        let first = &self.pages[0];
        Header {
            height: first.height as usize,
            width: first.width as usize,
            channels: self.pages.iter().map(|page| page.samples as usize).sum(),
            alpha: first.alpha && self.pages.len() == 1,
            kind: first.stored.pixel(self.missing),
        }
    }
}

/// What a file tells of its image; no pixels are decoded.
///
/// # Errors
/// [`Problem::Damaged`] if the tags are cut short or contradict each other, and [`Problem::Unsupported`] for a
/// kind that is not read.
pub fn header(file: &[u8]) -> Result<Header, Problem> {
    Ok(stack::find(File::open(file)?)?.header())
}

/// Reads an image whose pixels take at most `max_bytes`.
///
/// While it reads, one strip or tile, unpacked and packed, is held as well.
///
/// # Errors
/// As [`header`]; [`Problem::TooLarge`] before memory is taken; and [`Problem::Unsupported`] for a number that
/// would change.
pub fn read(file: &[u8], max_bytes: u64) -> Result<Stored, Problem> {
    let image = stack::find(File::open(file)?)?;
    for page in &image.pages {
        page.check_chunks(max_bytes)?;
        page.check_places()?;
    }
    let mut canvas = Canvas::new(image.header(), image.pages[0].stored, image.missing, max_bytes)?;
    let mut first = 0;
    for page in &image.pages {
        page.read(&mut canvas, first)?;
        first += page.samples as usize;
    }
    Ok(canvas.finish())
}
