//! Label maps as GeoTIFF files.

use std::io::{self, Cursor};
use std::path::Path;

use mae_data::{GeoValue, Georeference, Image};
use tiff::TiffError;
use tiff::encoder::colortype::{ColorType, Gray8, Gray16};
use tiff::encoder::{Compression, DeflateLevel, ImageEncoder, TiffEncoder, TiffKindStandard};
use tiff::tags::Tag;

use super::label_png::{COLOURS, VOID, fits_palette};
use super::labels::check_labels;
use super::palette::class_colour;
use crate::ReportError;
use crate::atomic::write_atomic;

/// The photometric interpretation of palette indices.
const PALETTE: u16 = 3;

/// Writes a label map as a GeoTIFF file with the georeference of its image, completely or not at all. The labels, and
/// the palette if there is one, are those of [`save_label_png`](super::save_label_png).
///
/// # Shapes
/// `labels` `[H, W, 1]`
///
/// # Errors
/// As [`save_label_png`](super::save_label_png).
pub fn save_label_tiff(
    labels: &Image<u16>,
    classes: usize,
    georeference: &Georeference,
    path: impl AsRef<Path>,
) -> Result<(), ReportError> {
    check_labels(labels, classes)?;
    write_atomic(path, |file| {
        let bytes = encode(labels, classes, georeference).map_err(|error| match error {
            TiffError::IoError(error) => error,
            other => io::Error::other(other),
        })?;
        file.write_all(&bytes)
    })
}

fn encode(labels: &Image<u16>, classes: usize, georeference: &Georeference) -> Result<Vec<u8>, TiffError> {
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder =
        TiffEncoder::new(&mut bytes)?.with_compression(Compression::Deflate(DeflateLevel::Balanced));
    let (width, height) = (labels.width() as u32, labels.height() as u32);
    if fits_palette(labels, classes) {
        let mut image = encoder.new_image::<Gray8>(width, height)?;
        image.encoder().write_tag(Tag::PhotometricInterpretation, PALETTE)?;
        // All reds, then all greens, then all blues, with 16 bits each.
        let colours: Vec<[u8; 3]> = (0..COLOURS).map(class_colour).collect();
        let map: Vec<u16> = (0..3)
            .flat_map(|channel| colours.iter().map(move |colour| u16::from(colour[channel]) * 257))
            .collect();
        image.encoder().write_tag(Tag::ColorMap, map.as_slice())?;
        place(&mut image, georeference)?;
        let labels = labels.data().iter().map(|label| u8::try_from(*label).unwrap_or(VOID));
        image.write_data(&labels.collect::<Vec<_>>())?;
    } else {
        let mut image = encoder.new_image::<Gray16>(width, height)?;
        place(&mut image, georeference)?;
        image.write_data(labels.data())?;
    }
    Ok(bytes.into_inner())
}

/// Writes the tags of the georeference.
fn place<W: io::Write + io::Seek, C: ColorType>(
    image: &mut ImageEncoder<'_, W, C, TiffKindStandard>,
    georeference: &Georeference,
) -> Result<(), TiffError> {
    for (number, value) in georeference.tags() {
        let tag = Tag::from_u16_exhaustive(*number);
        match value {
            GeoValue::Shorts(numbers) => image.encoder().write_tag(tag, numbers.as_slice())?,
            GeoValue::Doubles(numbers) => image.encoder().write_tag(tag, numbers.as_slice())?,
            GeoValue::Text(text) => image.encoder().write_tag(tag, text.as_str())?,
        }
    }
    Ok(())
}
