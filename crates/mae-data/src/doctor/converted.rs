//! Finds image files that lose information when they are converted to 8-bit RGB.

use super::warning::FormatCount;
use crate::{DataWarning, ImageSource, PixelFormat};

/// The number of files whose headers are read: as many as `PixelFormat::common` reads.
const LOOKED_AT: usize = 32;

/// Warns about files whose pixels are not 8-bit RGB if they are decoded to that. Reads only the headers of some files
/// spread over all.
pub(crate) fn warning(source: &dyn ImageSource) -> Option<DataWarning> {
    if source.pixels() != PixelFormat::Rgb8 {
        return None;
    }
    let (len, looked_at) = (source.len(), source.len().min(LOOKED_AT));
    let mut formats: Vec<FormatCount> = Vec::new();
    for index in (0..looked_at).map(|i| i * len / looked_at) {
        let Some(format) = source.stored_format(index).filter(|format| *format != PixelFormat::Rgb8) else {
            continue;
        };
        match formats.iter_mut().find(|known| known.format == format) {
            Some(known) => known.files += 1,
            None => formats.push(FormatCount { format, files: 1, first: source.name(index) }),
        }
    }
    (!formats.is_empty()).then_some(DataWarning::Converted { looked_at, formats })
}
