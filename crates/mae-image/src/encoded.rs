//! An image whose size is known and whose pixels are decoded once it is known which of them are wanted.

use std::path::{Path, PathBuf};

use ::image::metadata::Orientation;

use crate::jpeg::Frame;
use crate::open::{self, Opened, Pixels, known_format};
use crate::ppm::Raster;
use crate::source::{Source, read};
use crate::stored::{self, Scene};
use crate::{AnyImage, Crop, DecodeLimits, Image, ImageError, PixelFormat};

/// An image that is not decoded yet: its file is read and its header understood.
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

/// Decoded pixels of an image, and where in it they lie.
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
    /// Understands the bytes of an image file; `path` is what errors call it.
    ///
    /// Of a TIFF file whose stored numbers are wanted, only the tags are read; the limits are checked when pixels are decoded.
    ///
    /// # Errors
    /// As [`decode_file`](crate::decode_file), for what can be told from a file's header and its markers.
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

    /// Reads an image file and understands its header.
    ///
    /// A large TIFF file whose stored numbers are wanted stays open: its tags are read here, and its pixels by
    /// [`decode_part`](Self::decode_part). Its length is not limited.
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

    /// An image whose pixels lie uncompressed in a file.
    #[must_use]
    pub fn raster(raster: Raster) -> Self {
        let orientation = Orientation::NoTransforms;
        Self { kind: Kind::Raster(raster), file_format: None, orientation }
    }

    /// The format of the file that it was read from, such as `JPEG`, if it was read from one.
    #[must_use]
    pub fn file_format(&self) -> Option<&'static str> {
        self.file_format
    }

    /// How the image of its file is turned upright, by its EXIF data or its XMP text.
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

    /// Decodes all of it.
    ///
    /// # Errors
    /// As [`decode_file`](crate::decode_file).
    pub fn decode(self) -> Result<AnyImage, ImageError> {
        let (height, width) = self.size();
        let whole = Crop { top: 0, left: 0, height, width };
        self.decode_part(whole, Vec::new()).map(|part| part.pixels)
    }

    /// Decodes at least `crop`. If the pixels are of 8 bits, they may take the memory of `pixels`.
    ///
    /// A baseline JPEG file is decoded from its first row to the last of the crop, and colours are computed for the crop alone.
    /// Of a [`Raster`], the rows of the crop are read. Of a TIFF file whose stored numbers are wanted, the strips and tiles that touch the
    /// crop are read and unpacked down to its last row, one at a time: the part is the crop, and the limits are those of the part. Other
    /// images are decoded whole.
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

/// Reads an image file as upright RGB, whatever its format and kind of pixel.
///
/// The format is told from the content. Of an animation the first frame is read, of a document the first page.
/// Grey becomes three equal channels, a palette its colours, CMYK what Pillow makes of it; alpha is dropped, not
/// blended; the EXIF orientation is applied; a colour profile is ignored.
///
/// Deviation: Pillow cuts 16-bit grey off at 255; here 16 bits are divided by 257 and rounded, so that white stays
/// white and black black. A CMYK TIFF file's colours are within 1 of Pillow's. The part of a GIF's canvas that its first frame leaves bare
/// is black, whatever the background colour. JPEG files, whatever their layout, are libjpeg-turbo's to the bit.
///
/// # Shapes
/// `[H, W, 3]`
///
/// # Errors
/// A [`ImageError`] naming the file: unreadable, empty, no image, cut short or damaged, or beyond `limits`.
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
