//! Decodes the requested part of a JPEG image's pixels.

use ::image::error::{DecodingError, ImageFormatHint};
use ::image::{ImageError, ImageFormat};

use super::baseline::Baseline;
use super::colour::colour;
use super::frame::Frame;
use super::scans;
use crate::Crop;

impl Frame {
    /// Decodes `crop`, or more, into `pixels` and returns the rectangle that was decoded. Pixels are not turned
    /// upright.
    ///
    /// # Shapes
    /// `[H, W, 3]` of the returned rectangle
    pub(crate) fn decode(&self, file: &[u8], crop: Crop, pixels: &mut Vec<u8>) -> Result<Crop, ImageError> {
        if let Some(image) = Baseline::new(file, self) {
            image.decode(crop, pixels).ok_or_else(|| damaged("the data of its scan is damaged"))?;
            return Ok(crop);
        }
        let whole = Crop { top: 0, left: 0, height: self.height, width: self.width };
        let planes = scans::decode(file, self).map_err(damaged)?;
        colour(&planes, self.colours, whole, pixels);
        Ok(whole)
    }
}

/// The error for a damaged file.
pub(crate) fn damaged(message: &str) -> ImageError {
    ImageError::Decoding(DecodingError::new(ImageFormatHint::Exact(ImageFormat::Jpeg), message))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Markers;
    use super::*;

    /// Golden files of every usual chroma subsampling, and one whose scans are decoded as a whole.
    #[test]
    fn a_crop_is_that_of_the_whole_image() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/decode");
        for name in ["full-chroma", "half-chroma", "quarter-chroma", "progressive", "orientation-1"] {
            let file = std::fs::read(folder.join(name).with_extension("jpg")).unwrap();
            let frame = Markers::find(&file).frame(&file).unwrap();
            let (mut whole, mut part) = (Vec::new(), Vec::new());
            let all = Crop { top: 0, left: 0, height: frame.height, width: frame.width };
            assert_eq!(frame.decode(&file, all, &mut whole).unwrap(), all);
            let mut rng = mae_random::stream(*b"mae-jpeg", [0, 0, 0]);
            let mut below = |bound: usize| mae_random::below(&mut rng, bound as u64) as usize;
            for _ in 0..500 {
                let (top, left) = (below(all.height), below(all.width));
                let (height, width) = (1 + below(all.height - top), 1 + below(all.width - left));
                let crop = Crop { top, left, height, width };
                let decoded = frame.decode(&file, crop, &mut part).unwrap();
                assert_eq!(decoded, if name == "progressive" { all } else { crop });
                for row in 0..decoded.height {
                    let from = 3 * ((decoded.top + row) * all.width + decoded.left);
                    let (part, whole) = (&part[3 * row * decoded.width..], &whole[from..]);
                    assert!(part[..3 * decoded.width] == whole[..3 * decoded.width], "{name}: {crop:?}");
                }
            }
        }
    }

    /// Any bytes give an image of the size in the frame, or an error.
    #[test]
    fn damaged_files_are_decoded_or_refused() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/decode");
        let mut rng = mae_random::stream(*b"mae-jpeg", [1, 0, 0]);
        let mut below = |bound: usize| mae_random::below(&mut rng, bound as u64) as usize;
        let (mut decoded, mut refused) = (0, 0);
        for name in ["full-chroma", "half-chroma", "quarter-chroma", "progressive", "grey", "ycck"] {
            let whole = std::fs::read(folder.join(name).with_extension("jpg")).unwrap();
            for _ in 0..300 {
                let mut file = whole.clone();
                for _ in 0..1 + below(4) {
                    let at = below(file.len());
                    file[at] = below(256) as u8;
                }
                let Some(frame) = Markers::find(&file)
                    .frame(&file)
                    .ok()
                    .filter(|frame| frame.height * frame.width < 1 << 16)
                else {
                    continue;
                };
                let crop =
                    Crop { top: frame.height / 4, left: 0, height: frame.height / 2 + 1, width: frame.width };
                let crop = Crop { height: crop.height.min(frame.height - crop.top), ..crop };
                let mut pixels = Vec::new();
                match frame.decode(&file, crop, &mut pixels) {
                    Ok(part) => {
                        assert_eq!(pixels.len(), 3 * part.height * part.width);
                        decoded += 1;
                    }
                    Err(_) => refused += 1,
                }
            }
        }
        assert!(decoded > 100 && refused > 10, "{decoded} decoded, {refused} refused");
    }
}
