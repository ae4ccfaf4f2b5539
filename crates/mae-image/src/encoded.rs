//! An image whose size is known and whose pixels are decoded on request.

use std::path::{Path, PathBuf};

use ::image::metadata::Orientation;

use crate::jpeg::Frame;
use crate::open::{self, Opened, Pixels, known_format};
use crate::ppm::Raster;
use crate::source::{Source, read};
use crate::stored::{self, Scene};
use crate::{AnyImage, Crop, DecodeLimits, Image, ImageError, PixelFormat};

/// An image whose header is parsed and whose pixels may not be decoded yet.
///
/// ```
/// use mae_image::{Encoded, Image};
///
/// # fn main() -> Result<(), mae_image::ImageError> {
/// let decoded = Image::new(2, 3, 3, vec![0; 18])?;
/// let encoded = Encoded::from(decoded.clone());
/// assert_eq!(encoded.size(), (2, 3));
/// assert_eq!(encoded.decode()?.into_u8()?, decoded);
/// # Ok(())
/// # }
/// ```
pub struct Encoded {
    kind: Kind,
    file_format: Option<&'static str>,
    orientation: Orientation,
}

enum Kind {
    Decoded(AnyImage),
    Jpeg { path: PathBuf, file: Vec<u8>, frame: Frame },
    Raster(Raster),
    Tiff(Box<Scene>),
}

/// Decoded pixels of an image, and their position in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// A rectangle of the image's pixels.
    pub pixels: AnyImage,
    /// Rows of the image above it.
    pub top: usize,
    /// Columns of the image left of it.
    pub left: usize,
}

impl Part {
    /// All pixels of an image.
    #[must_use]
    pub fn whole(pixels: impl Into<AnyImage>) -> Self {
        Self { pixels: pixels.into(), top: 0, left: 0 }
    }
}

impl Encoded {
    /// Parses the bytes of an image file; `path` names it in errors.
    ///
    /// If the stored values of a TIFF file are requested, only its tags are read; the limits are checked when pixels
    /// are decoded.
    ///
    /// # Errors
    /// As [`decode_file`](crate::decode_file); if the pixels are decoded later, only for problems that show in the
    /// file's header, markers or tags.
    pub fn new(
        path: impl AsRef<Path>,
        bytes: Vec<u8>,
        format: PixelFormat,
        limits: &DecodeLimits,
    ) -> Result<Self, ImageError> {
        let path = path.as_ref();
        match format {
            PixelFormat::Rgb8 => {
                let (_, name) = known_format(path, &bytes)?;
                open::open(path, bytes, limits).map(|opened| Self::from_opened(path, opened, name))
            }
            PixelFormat::Stored { .. } => Self::stored(path, bytes.into(), format, limits),
        }
    }

    /// Reads an image file and parses its header.
    ///
    /// If the stored values of a large TIFF file are requested, the file stays open: its tags are read here, and its
    /// pixels by [`decode_part`](Self::decode_part). Its length is not limited.
    ///
    /// # Errors
    /// As [`new`](Self::new), or if the file cannot be read.
    pub fn read(
        path: impl AsRef<Path>,
        format: PixelFormat,
        limits: &DecodeLimits,
    ) -> Result<Self, ImageError> {
        let path = path.as_ref();
        match format {
            PixelFormat::Rgb8 => Self::new(path, read(path, limits)?, format, limits),
            PixelFormat::Stored { .. } => Self::stored(path, Source::open(path, limits)?, format, limits),
        }
    }

    fn stored(
        path: &Path,
        source: Source<'static>,
        format: PixelFormat,
        limits: &DecodeLimits,
    ) -> Result<Self, ImageError> {
        let (_, name) = stored::format_in(path, &source)?;
        let (kind, orientation) = match stored::open_as(path, source, format, limits)? {
            stored::Opened::Image(image, orientation) => (Kind::Decoded(image), orientation),
            stored::Opened::Tiff(scene) => {
                let orientation = scene.orientation();
                (Kind::Tiff(scene), orientation)
            }
        };
        Ok(Self { kind, file_format: Some(name), orientation })
    }

    fn from_opened(path: &Path, opened: Opened, name: &'static str) -> Self {
        let orientation = opened.orientation;
        let kind = match opened.pixels {
            Pixels::Image(image) => Kind::Decoded(image.into()),
            Pixels::Jpeg(file, frame) => Kind::Jpeg { path: path.into(), file, frame },
        };
        Self { kind, file_format: Some(name), orientation }
    }

    /// Wraps an image whose pixels are stored uncompressed in a file.
    #[must_use]
    pub fn raster(raster: Raster) -> Self {
        let orientation = Orientation::NoTransforms;
        Self { kind: Kind::Raster(raster), file_format: None, orientation }
    }

    /// The format of the file that the image was read from, such as `JPEG`, if known.
    #[must_use]
    pub fn file_format(&self) -> Option<&'static str> {
        self.file_format
    }

    /// The orientation of the stored image, from its EXIF data or its XMP text. Decoding applies it.
    #[must_use]
    pub fn orientation(&self) -> Orientation {
        self.orientation
    }

    /// `(height, width)` of the upright image.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        match &self.kind {
            Kind::Decoded(image) => (image.height(), image.width()),
            Kind::Jpeg { frame, .. } => (frame.height, frame.width),
            Kind::Raster(raster) => raster.size,
            Kind::Tiff(scene) => scene.size(),
        }
    }

    /// Decodes the whole image.
    ///
    /// # Errors
    /// As [`decode_file`](crate::decode_file).
    pub fn decode(self) -> Result<AnyImage, ImageError> {
        let (height, width) = self.size();
        let whole = Crop { top: 0, left: 0, height, width };
        self.decode_part(whole, Vec::new()).map(|part| part.pixels)
    }

    /// Decodes at least `crop`. If the pixels are 8-bit, they may reuse the memory of `pixels`.
    ///
    /// - Upright baseline JPEG: entropy codes are decoded down to the last row of the crop, and colours are computed
    ///   only for the crop.
    /// - [`Raster`]: the rows of the crop are read.
    /// - TIFF with stored values: the strips and tiles that touch the crop are read one at a time and unpacked down to
    ///   its last row. The part is exactly the crop, and the limits apply to it.
    /// - All others: the whole image is decoded.
    ///
    /// # Errors
    /// As [`decode`](Self::decode); also [`ImageError::Argument`] if the crop is empty or reaches beyond the image.
    pub fn decode_part(self, crop: Crop, mut pixels: Vec<u8>) -> Result<Part, ImageError> {
        crop.check(self.size())?;
        match self.kind {
            Kind::Decoded(image) => Ok(Part::whole(image)),
            Kind::Jpeg { path, file, frame } => {
                let Crop { top, left, height, width } =
                    frame.decode(&file, crop, &mut pixels).map_err(|source| {
                        let bytes = file.len() as u64;
                        ImageError::Decode { path, bytes, source }
                    })?;
                Ok(Part { pixels: Image::new(height, width, 3, pixels)?.into(), top, left })
            }
            Kind::Raster(raster) => {
                let width = raster.size.1;
                raster.read(crop.top, crop.height, &mut pixels)?;
                let pixels = Image::new(crop.height, width, 3, pixels)?;
                Ok(Part { pixels: pixels.into(), top: crop.top, left: 0 })
            }
            Kind::Tiff(scene) => Ok(Part { pixels: scene.decode(crop)?, top: crop.top, left: crop.left }),
        }
    }
}

impl<I: Into<AnyImage>> From<I> for Encoded {
    fn from(image: I) -> Self {
        let orientation = Orientation::NoTransforms;
        Self { kind: Kind::Decoded(image.into()), file_format: None, orientation }
    }
}

/// Reads an image file as upright 8-bit RGB, whatever its format and pixel type.
///
/// The format is detected from the content. Of an animation, the first frame is read; of a document, the first page.
/// Grey becomes three equal channels, palette indices become their colours, and CMYK is converted as in Pillow. Alpha
/// is dropped, not blended. The EXIF orientation is applied. Colour profiles are ignored.
///
/// JPEG files of any layout match libjpeg-turbo to the bit. Deviations: Pillow clips 16-bit grey at 255; here 16-bit
/// values are divided by 257 and rounded, so that white stays white and black stays black. The colours of a CMYK TIFF
/// file are within 1 of Pillow's. The part of a GIF's canvas that its first frame does not cover is black, whatever the
/// background colour.
///
/// # Shapes
/// `[H, W, 3]`
///
/// # Errors
/// An [`ImageError`] that names the file: unreadable, empty, not an image, unsupported, truncated or damaged, or beyond
/// `limits`.
pub fn decode_file(path: impl AsRef<Path>, limits: &DecodeLimits) -> Result<Image, ImageError> {
    Encoded::read(path, PixelFormat::Rgb8, limits)?.decode()?.into_u8()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crop_beyond_the_image_is_refused() {
        let file = b"P6 3 2 255\n0123456789abcdefgh".to_vec();
        let limits = DecodeLimits::default();
        for (top, height) in [(0, 0), (0, 3), (2, 1), (usize::MAX, 2)] {
            let encoded = Encoded::new("input", file.clone(), PixelFormat::Rgb8, &limits).unwrap();
            let error = encoded.decode_part(Crop { top, left: 0, height, width: 3 }, Vec::new()).unwrap_err();
            assert!(error.to_string().ends_with("at least 1x1 and within the image of 2x3"), "{error}");
        }
    }
}
