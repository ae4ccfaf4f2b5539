//! Label maps as PNG files that keep every label.

use std::io;
use std::path::Path;

use mae_data::Image;
use png::{BitDepth, ColorType, Encoder};

use super::labels::check_labels;
use super::palette::{IGNORED, class_colour};
use crate::ReportError;
use crate::atomic::write_atomic;

/// The number of colours in a palette of 8-bit labels.
pub(super) const COLOURS: u16 = 256;
/// The 8-bit label of pixels to ignore, as in VOC's files.
pub(super) const VOID: u8 = 255;

/// Writes a label map as a PNG file, completely or not at all.
///
/// With up to 255 classes, the file is like those of VOC: 8-bit labels with a palette of [`class_colour`], and 255 for
/// ignored pixels, whose label is 65535 here. With 256 classes, 255 is a class, and the file is the same if no pixel is
/// ignored. All other files are 16-bit grey with unchanged labels.
///
/// # Shapes
/// `labels` `[H, W, 1]`
///
/// # Errors
/// [`ReportError::Argument`] for more than one channel, or a label that is neither below `classes` nor 65535;
/// [`ReportError::Write`] if the file cannot be written.
pub fn save_label_png(
    labels: &Image<u16>,
    classes: usize,
    path: impl AsRef<Path>,
) -> Result<(), ReportError> {
    check_labels(labels, classes)?;
    let (pixels, palette) = (labels.data(), fits_palette(labels, classes));
    write_atomic(path, |file| {
        let mut encoder = Encoder::new(file, labels.width() as u32, labels.height() as u32);
        let data: Vec<u8> = if palette {
            encoder.set_color(ColorType::Indexed);
            encoder.set_depth(BitDepth::Eight);
            encoder.set_palette((0..COLOURS).flat_map(class_colour).collect::<Vec<_>>());
            pixels.iter().map(|label| u8::try_from(*label).unwrap_or(VOID)).collect()
        } else {
            encoder.set_color(ColorType::Grayscale);
            encoder.set_depth(BitDepth::Sixteen);
            pixels.iter().flat_map(|label| label.to_be_bytes()).collect()
        };
        let mut writer = encoder.write_header().map_err(io::Error::other)?;
        writer.write_image_data(&data).map_err(io::Error::other)?;
        writer.finish().map_err(io::Error::other)
    })
}

/// Whether labels of `classes` classes are written as 8-bit palette indices.
pub(super) fn fits_palette(labels: &Image<u16>, classes: usize) -> bool {
    classes < COLOURS.into() || (classes <= COLOURS.into() && !labels.data().contains(&IGNORED))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::BufReader;

    /// Returns what a file stores: its colour type, the bytes of its pixels and the length of its palette.
    fn stored(labels: &[u16], classes: usize) -> (ColorType, Vec<u8>, usize) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.png");
        save_label_png(&Image::new(1, labels.len(), 1, labels.to_vec()).unwrap(), classes, &path).unwrap();
        let mut decoder = png::Decoder::new(BufReader::new(File::open(&path).unwrap()));
        decoder.set_transformations(png::Transformations::IDENTITY);
        let mut reader = decoder.read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut bytes).unwrap();
        let palette = reader.info().palette.as_ref().map_or(0, |palette| palette.len());
        (reader.info().color_type, bytes, palette)
    }

    #[test]
    fn labels_are_stored_as_they_are_in_the_narrowest_form() {
        assert_eq!(stored(&[0, 20, IGNORED], 21), (ColorType::Indexed, vec![0, 20, 255], 768));
        assert_eq!(stored(&[254, IGNORED], 255), (ColorType::Indexed, vec![254, 255], 768));
        assert_eq!(stored(&[254, 255], 256), (ColorType::Indexed, vec![254, 255], 768));
        let grey = |bytes: &[u8]| (ColorType::Grayscale, bytes.to_vec(), 0);
        assert_eq!(stored(&[255, IGNORED], 256), grey(&[0, 255, 255, 255]));
        assert_eq!(stored(&[258, 1], 300), grey(&[1, 2, 0, 1]));
    }

    #[test]
    fn a_label_that_is_no_class_is_refused_and_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let save = |labels: Image<u16>, name: &str| save_label_png(&labels, 3, folder.path().join(name));
        let error = save(Image::new(2, 2, 1, vec![0, 1, 2, 3]).unwrap(), "a.png").unwrap_err();
        assert_eq!(
            error.to_string(),
            "a label is 3 at row 1, column 1, but must be below the 3 classes, or 65535 to be ignored"
        );
        let error = save(Image::new(1, 1, 2, vec![0, 1]).unwrap(), "b.png").unwrap_err();
        assert_eq!(error.to_string(), "the number of channels of a label map is 2, but must be 1");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
