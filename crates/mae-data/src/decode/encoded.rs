//! An image whose size is known and whose pixels are decoded once it is known which of them are wanted.

use std::path::{Path, PathBuf};

use super::jpeg::Frame;
use super::limits::DecodeLimits;
use super::open::{self, Opened, Pixels, known_format, read};
use super::ppm::Raster;
use super::stored;
use crate::{AnyImage, Crop, DataError, Image, PixelFormat};

/// An image that is not decoded yet: its file is read and its header understood.
///
/// ```
/// use mae_data::{Encoded, Image};
///
/// # fn main() -> Result<(), mae_data::DataError> {
/// let decoded = Image::new(2, 3, 3, vec![0; 18])?;
/// let encoded = Encoded::from(decoded.clone());
/// assert_eq!(encoded.size(), (2, 3));
/// assert_eq!(encoded.decode()?.into_u8()?, decoded);
/// # Ok(())
/// # }
/// ```
pub struct Encoded(Kind);

enum Kind {
    Decoded(AnyImage),
    Jpeg { path: PathBuf, file: Vec<u8>, frame: Frame },
    Raster(Raster),
}

/// Decoded pixels of an image, and where in it they lie.
pub(crate) struct Part {
    pub(crate) pixels: AnyImage,
    pub(crate) top: usize,
    pub(crate) left: usize,
}

impl Part {
    pub(crate) fn whole(pixels: impl Into<AnyImage>) -> Self {
        Self { pixels: pixels.into(), top: 0, left: 0 }
    }
}

impl Encoded {
    /// Understands the bytes of an image file; `path` is what errors call it.
    ///
    /// # Errors
    /// As [`decode_file`](crate::decode_file), for what can be told from a file's header and its markers.
    pub fn new(
        path: impl AsRef<Path>,
        bytes: Vec<u8>,
        format: PixelFormat,
        limits: &DecodeLimits,
    ) -> Result<Self, DataError> {
        let path = path.as_ref();
        if let PixelFormat::Stored { pixel_type, channels } = format {
            return stored::decode_as(path, &bytes, (pixel_type, channels), limits).map(Self::from);
        }
        open::open(path, bytes, limits).map(|opened| Self::from_opened(path, opened))
    }

    pub(super) fn from_opened(path: &Path, opened: Opened) -> Self {
        Self(match opened.pixels {
            Pixels::Image(image) => Kind::Decoded(image.into()),
            Pixels::Jpeg(file, frame) => Kind::Jpeg { path: path.into(), file, frame },
        })
    }

    pub(crate) fn raster(raster: Raster) -> Self {
        Self(Kind::Raster(raster))
    }

    /// `(height, width)` of the upright image.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        match &self.0 {
            Kind::Decoded(image) => (image.height(), image.width()),
            Kind::Jpeg { frame, .. } => (frame.height, frame.width),
            Kind::Raster(raster) => raster.size,
        }
    }

    /// Decodes all of it.
    ///
    /// # Errors
    /// As [`decode_file`](crate::decode_file).
    pub fn decode(self) -> Result<AnyImage, DataError> {
        let (height, width) = self.size();
        let whole = Crop { top: 0, left: 0, height, width };
        self.decode_part(whole, Vec::new()).map(|part| part.pixels)
    }

    /// Decodes at least `crop`, which lies within the image, with the memory of `pixels`.
    pub(crate) fn decode_part(self, crop: Crop, mut pixels: Vec<u8>) -> Result<Part, DataError> {
        match self.0 {
            Kind::Decoded(image) => Ok(Part::whole(image)),
            Kind::Jpeg { path, file, frame } => {
                let Crop { top, left, height, width } =
                    frame.decode(&file, crop, &mut pixels).map_err(|source| {
                        let bytes = file.len() as u64;
                        DataError::Decode { path, bytes, source }
                    })?;
                Ok(Part { pixels: Image::new(height, width, 3, pixels)?.into(), top, left })
            }
            Kind::Raster(raster) => {
                let width = raster.size.1;
                raster.read(crop.top, crop.height, &mut pixels)?;
                let pixels = Image::new(crop.height, width, 3, pixels)?;
                Ok(Part { pixels: pixels.into(), top: crop.top, left: 0 })
            }
        }
    }
}

impl<I: Into<AnyImage>> From<I> for Encoded {
    fn from(image: I) -> Self {
        Self(Kind::Decoded(image.into()))
    }
}

/// Reads an image file as upright RGB, whatever its format and kind of pixel.
///
/// The format is told from the content. Of an animation the first frame is read, of a document the first page.
/// Grey becomes three equal channels, a palette its colours, CMYK what Pillow makes of it; alpha is dropped, not
/// blended; the EXIF orientation is applied; a colour profile is ignored.
///
/// Deviation: Pillow cuts 16-bit grey off at 255; here 16 bits are divided by 257 and rounded, so that white stays
/// white and black black. The part of a GIF's canvas that its first frame leaves bare is black, whatever the
/// background colour. JPEG files, whatever their layout, are libjpeg-turbo's to the bit.
///
/// # Shapes
/// `[H, W, 3]`
///
/// # Errors
/// A [`DataError`] naming the file: unreadable, empty, no image, cut short or damaged, or beyond `limits`.
pub fn decode_file(path: impl AsRef<Path>, limits: &DecodeLimits) -> Result<Image, DataError> {
    decode_with_format(path.as_ref(), PixelFormat::Rgb8, limits)?.0.into_u8()
}

/// [`decode_file`], and the name of the file's format.
pub(crate) fn decode_with_format(
    path: &Path,
    pixels: PixelFormat,
    limits: &DecodeLimits,
) -> Result<(AnyImage, &'static str), DataError> {
    let bytes = read(path, limits)?;
    let (_, format) = known_format(path, &bytes)?;
    Ok((Encoded::new(path, bytes, pixels, limits)?.decode()?, format))
}
