//! The georeference of a GeoTIFF file, which can be copied to files made from it.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use ::image::error::{DecodingError, ImageFormatHint};
use ::image::{ImageError as PixelError, ImageFormat};
use tiff::TiffError;
use tiff::decoder::Decoder;
use tiff::tags::Tag;

use crate::ImageError;

/// The value of a tag.
#[derive(Clone, Debug, PartialEq)]
pub enum GeoValue {
    /// 16-bit unsigned integers.
    Shorts(Vec<u16>),
    /// 64-bit floats.
    Doubles(Vec<f64>),
    /// Text.
    Text(String),
}

/// The tags of a GeoTIFF file that locate its pixels on earth.
///
/// # Source
/// OGC GeoTIFF 1.1 (19-008r4), chapter 7.
#[derive(Clone, Debug, PartialEq)]
pub struct Georeference {
    tags: Vec<(u16, GeoValue)>,
}

/// The pixel scale, the tie points of raster and model, and the transformation from one to the other.
const PLACE: [u16; 3] = [33550, 33922, 34264];
/// The coordinate reference system: keys, and the floats and the text that they point to.
const KEYS: u16 = 34735;
const KEY_NUMBERS: u16 = 34736;
const KEY_TEXT: u16 = 34737;

impl Georeference {
    /// Reads the georeference of the first image in a file; `None` if the file is not a TIFF file or has none. It
    /// refers to the pixels as stored, so it is also `None` if the image must be turned upright.
    ///
    /// # Errors
    /// [`ImageError::Read`] if the file cannot be opened; [`ImageError::Decode`] if a tag is damaged.
    pub fn read(path: impl AsRef<Path>) -> Result<Option<Self>, ImageError> {
        let path = path.as_ref();
        let read = |source| ImageError::Read { path: path.into(), source };
        let file = File::open(path).map_err(read)?;
        let bytes = file.metadata().map_err(read)?.len();
        // If it is another kind of file, an error is reported when its pixels are read.
        let Ok(mut decoder) = Decoder::new(BufReader::new(file)) else { return Ok(None) };
        let damaged = |error: TiffError| {
            let hint = ImageFormatHint::Exact(ImageFormat::Tiff);
            let source = PixelError::Decoding(DecodingError::new(hint, error));
            ImageError::Decode { path: path.into(), bytes, source }
        };
        let turned = decoder.find_tag_unsigned::<u16>(Tag::Orientation).map_err(damaged)?;
        if turned.is_some_and(|orientation| orientation != 1) {
            return Ok(None);
        }
        let mut tags = Vec::new();
        for number in PLACE.into_iter().chain([KEYS, KEY_NUMBERS, KEY_TEXT]) {
            let Some(value) = decoder.find_tag(Tag::from_u16_exhaustive(number)).map_err(damaged)? else {
                continue;
            };
            let value = match number {
                KEYS => value.into_u16_vec().map(GeoValue::Shorts),
                KEY_TEXT => value.into_string().map(GeoValue::Text),
                _ => value.into_f64_vec().map(GeoValue::Doubles),
            };
            tags.push((number, value.map_err(damaged)?));
        }
        let placed = tags.iter().any(|(number, _)| PLACE.contains(number));
        Ok(placed.then_some(Self { tags }))
    }

    /// The tags: number and value.
    pub fn tags(&self) -> &[(u16, GeoValue)] {
        &self.tags
    }
}
