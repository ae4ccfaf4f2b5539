//! Label maps as pictures: in the colours of their classes, over the image, and against the truth.

use mae_data::Image;

use super::palette::{IGNORED, class_colour};
use crate::ReportError;
use crate::draw::pictures::rgb;

/// The colour of pixels that are predicted correctly.
pub(super) const RIGHT: [u8; 3] = [213, 228, 215];
/// The colour of pixels that are predicted wrongly: far darker than [`RIGHT`], for readers who do not see red.
pub(super) const WRONG: [u8; 3] = [200, 30, 36];
/// The two colours of the chequers that mark ignored pixels.
pub(super) const CHEQUERS: [[u8; 3]; 2] = [[255; 3], [218; 3]];
/// Chequers along the shorter side of a picture.
const CHEQUERS_ACROSS: usize = 32;
/// Boundaries are one pixel wide on each side, plus one per `BOUNDARY_SIDE_PX` pixels of the shorter side.
const BOUNDARY_SIDE_PX: usize = 400;

/// Draws a label map in the colours of its classes, [`class_colour`]; ignored pixels, label 65535, are chequered.
///
/// # Shapes
/// `labels` `[H, W, 1]`, the picture `[H, W, 3]`
///
/// # Errors
/// [`ReportError::Argument`] for more than one channel.
pub fn label_picture(labels: &Image<u16>) -> Result<Image, ReportError> {
    check_channels(labels)?;
    paint(labels, |pixel| match labels.data()[pixel] {
        IGNORED => None,
        class => Some(class_colour(class)),
    })
}

/// Draws the colours of classes over an image, with opaque boundaries; ignored pixels, label 65535, show the image as
/// it is.
///
/// `alpha` is the opacity of the colours: 0 draws the boundaries alone, 1 hides the image.
///
/// # Shapes
/// `image` `[H, W, C]`, `labels` `[H, W, 1]`, the picture `[H, W, 3]`. Of two channels, the first is drawn; of more
/// than three, the first three.
///
/// # Errors
/// [`ReportError::Argument`] for labels of another size or more than one channel, or an `alpha` outside 0 to 1.
pub fn overlay_labels(image: &Image, labels: &Image<u16>, alpha: f32) -> Result<Image, ReportError> {
    check_channels(labels)?;
    check_size("the size of a label map", labels, (image.height(), image.width()), "the image's")?;
    if !(0.0..=1.0).contains(&alpha) {
        return Err(ReportError::argument("the opacity of labels", alpha, "0 to 1"));
    }
    let (height, width) = (image.height(), image.width());
    let reach = 1 + height.min(width) / BOUNDARY_SIDE_PX;
    let at = |row: usize, column: usize| labels.data()[row * width + column];
    paint(labels, |pixel| {
        let (row, column) = (pixel / width, pixel % width);
        let class = at(row, column);
        let ground = rgb(image, row, column);
        if class == IGNORED {
            return Some(ground);
        }
        let is_boundary = (1..=reach).any(|step| {
            (row >= step && at(row - step, column) != class)
                || (row + step < height && at(row + step, column) != class)
                || (column >= step && at(row, column - step) != class)
                || (column + step < width && at(row, column + step) != class)
        });
        let alpha = if is_boundary { 1.0 } else { alpha };
        let colour = class_colour(class);
        let mix = |c: usize| alpha * f32::from(colour[c]) + (1.0 - alpha) * f32::from(ground[c]);
        Some([0, 1, 2].map(|c| mix(c).round() as u8))
    })
}

/// Draws where a prediction is right (pale green), where it is wrong (red), and which pixels are ignored (chequered).
///
/// # Shapes
/// Both `[H, W, 1]`, the picture `[H, W, 3]`
///
/// # Errors
/// [`ReportError::Argument`] for more than one channel or sizes that differ.
pub fn error_picture(truth: &Image<u16>, predicted: &Image<u16>) -> Result<Image, ReportError> {
    check_channels(truth)?;
    check_channels(predicted)?;
    check_size("the size of a prediction", predicted, (truth.height(), truth.width()), "the truth's")?;
    paint(truth, |pixel| match (truth.data()[pixel], predicted.data()[pixel]) {
        (IGNORED, _) => None,
        (truth, predicted) if truth == predicted => Some(RIGHT),
        _ => Some(WRONG),
    })
}

/// Draws a picture as large as a label map, chequered where `colour` returns `None`.
fn paint(labels: &Image<u16>, colour: impl Fn(usize) -> Option<[u8; 3]>) -> Result<Image, ReportError> {
    let (height, width) = (labels.height(), labels.width());
    let side = (height.min(width) / CHEQUERS_ACROSS).max(1);
    let chequer = |pixel: usize| CHEQUERS[(pixel / width / side + pixel % width / side) % 2];
    let pixel = |pixel| colour(pixel).unwrap_or_else(|| chequer(pixel));
    Ok(Image::new(height, width, 3, (0..height * width).flat_map(pixel).collect())?)
}

/// Fails if a label is neither a class nor ignored.
pub(super) fn check_labels(labels: &Image<u16>, classes: usize) -> Result<(), ReportError> {
    check_channels(labels)?;
    let is_label = |label: u16| usize::from(label) < classes || label == IGNORED;
    let Some(pixel) = labels.data().iter().position(|label| !is_label(*label)) else { return Ok(()) };
    let (row, column) = (pixel / labels.width(), pixel % labels.width());
    let value = format!("{} at row {row}, column {column}", labels.data()[pixel]);
    let bound = format!("below the {classes} classes, or {IGNORED} to be ignored");
    Err(ReportError::argument("a label", value, bound))
}

fn check_channels(labels: &Image<u16>) -> Result<(), ReportError> {
    match labels.channels() {
        1 => Ok(()),
        channels => Err(ReportError::argument("the number of channels of a label map", channels, "1")),
    }
}

/// Fails if the label map has another size.
pub(super) fn check_size(
    name: &'static str,
    labels: &Image<u16>,
    (height, width): (usize, usize),
    whose: &str,
) -> Result<(), ReportError> {
    if (labels.height(), labels.width()) == (height, width) {
        return Ok(());
    }
    let value = format!("{}x{}", labels.height(), labels.width());
    Err(ReportError::argument(name, value, format!("{height}x{width} as {whose}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(height: usize, width: usize, labels: impl IntoIterator<Item = u16>) -> Image<u16> {
        Image::new(height, width, 1, labels.into_iter().collect()).unwrap()
    }

    #[test]
    fn labels_have_their_colours_and_ignored_pixels_are_chequered() {
        let picture = label_picture(&map(2, 2, [0, 3, IGNORED, IGNORED])).unwrap();
        let expected = [[0; 3], [128, 128, 0], CHEQUERS[1], CHEQUERS[0]];
        assert_eq!(picture.data(), expected.as_flattened());
        // In a larger picture, the chequers are larger.
        let large = label_picture(&map(128, 130, [IGNORED; 128 * 130])).unwrap();
        let at = |row, column| rgb(&large, row, column);
        assert_eq!(
            [at(0, 3), at(3, 0), at(0, 4), at(4, 0), at(4, 4)].map(|pixel| pixel == [255; 3]),
            [true, true, false, false, true]
        );
    }

    #[test]
    fn right_wrong_and_ignored_pixels_are_told_apart() {
        let truth = map(2, 3, [1, 1, 2, 0, IGNORED, IGNORED]);
        let picture = error_picture(&truth, &map(2, 3, [1, 2, 2, 1, 0, 1])).unwrap();
        let expected = [RIGHT, WRONG, RIGHT, WRONG, CHEQUERS[0], CHEQUERS[1]];
        assert_eq!(picture.data(), expected.as_flattened());
        let error = error_picture(&truth, &map(3, 2, [0; 6])).unwrap_err().to_string();
        assert_eq!(error, "the size of a prediction is 3x2, but must be 2x3 as the truth's");
    }

    #[test]
    fn colours_are_mixed_inside_a_region_and_opaque_at_its_boundary() {
        let image = Image::new(3, 6, 1, vec![100; 18]).unwrap();
        let labels = map(3, 6, [1, 1, 1, 2, 2, IGNORED].repeat(3));
        let picture = overlay_labels(&image, &labels, 0.25).unwrap();
        let row: Vec<[u8; 3]> = (0..6).map(|column| rgb(&picture, 1, column)).collect();
        // (128, 0, 0) and (0, 128, 0) over (100, 100, 100).
        assert_eq!(row, [[107, 75, 75], [107, 75, 75], [128, 0, 0], [0, 128, 0], [0, 128, 0], [100; 3]]);
        let hidden = overlay_labels(&image, &map(3, 6, [2; 18]), 1.0).unwrap();
        assert_eq!(hidden, label_picture(&map(3, 6, [2; 18])).unwrap());
        let shown = overlay_labels(&image, &map(3, 6, [2; 18]), 0.0).unwrap();
        assert!(shown.data().iter().all(|byte| *byte == 100));
    }

    #[test]
    fn boundaries_are_wider_in_larger_pictures() {
        let side = 2 * BOUNDARY_SIDE_PX;
        let image = Image::new(side, side, 1, vec![100; side * side]).unwrap();
        let labels = map(side, side, (0..side * side).map(|pixel| u16::from(pixel % side >= side / 2)));
        let picture = overlay_labels(&image, &labels, 0.0).unwrap();
        let opaque = (0..side).filter(|column| rgb(&picture, 7, *column) != [100; 3]).count();
        assert_eq!(opaque, 6, "three on each side");
    }

    #[test]
    fn refuses_what_does_not_fit_the_image() {
        let image = Image::new(2, 3, 3, vec![0; 18]).unwrap();
        let message =
            |labels: &Image<u16>, alpha| overlay_labels(&image, labels, alpha).unwrap_err().to_string();
        let turned = map(3, 2, [0; 6]);
        assert_eq!(message(&turned, 0.5), "the size of a label map is 3x2, but must be 2x3 as the image's");
        let fits = map(2, 3, [0; 6]);
        assert_eq!(message(&fits, 1.5), "the opacity of labels is 1.5, but must be 0 to 1");
        assert!(message(&fits, f32::NAN).contains("is NaN"));
    }
}
