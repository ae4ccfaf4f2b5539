//! Where on earth the pixels of a GeoTIFF file are, to be carried over to what is made of them.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use ::image::error::{DecodingError, ImageFormatHint};
use ::image::{ImageError as PixelError, ImageFormat};
use tiff::TiffError;
use tiff::decoder::Decoder;
use tiff::tags::Tag;

use crate::ImageError;

/// What a tag holds.
#[derive(Clone, Debug, PartialEq)]
pub enum GeoValue {
    /// 16-bit numbers.
    Shorts(Vec<u16>),
    /// Floats.
    Doubles(Vec<f64>),
    /// Text.
    Text(String),
}

/// The tags of a GeoTIFF file that say where its pixels are.
///
/// # Source
/// OGC GeoTIFF 1.1 (19-008r4), chapter 7.
#[derive(Clone, Debug, PartialEq)]
pub struct Georeference {
    tags: Vec<(u16, GeoValue)>,
}

/// The scale, a point of the raster and of the model, and the transformation from one to the other.
const PLACE: [u16; 3] = [33550, 33922, 34264];
/// The coordinate reference system: keys, and the numbers and the text that they point to.
const KEYS: u16 = 34735;
const KEY_NUMBERS: u16 = 34736;
const KEY_TEXT: u16 = 34737;

impl Georeference {
    /// Of the first image in a file; none if it is no TIFF file, or does not say where it is. The pixels are those of the stored image: a
    /// file with an orientation of its own has none.
    ///
    /// # Errors
    /// [`ImageError::Read`] if the file cannot be opened; [`ImageError::Decode`] if a tag is damaged.
    pub fn read(path: impl AsRef<Path>) -> Result<Option<Self>, ImageError> {
        let path = path.as_ref();
        let read = |source| ImageError::Read { path: path.into(), source };
        let file = File::open(path).map_err(read)?;
        let bytes = file.metadata().map_err(read)?.len();
        // What it is instead is told where its pixels are read.
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

    /// The tags by their numbers.
    pub fn tags(&self) -> &[(u16, GeoValue)] {
        &self.tags
    }
}
