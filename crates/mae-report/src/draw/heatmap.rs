//! Maps of an image's patches, laid over the image in colour.

use super::pictures::{draw_tiles, rgb, with_legend};
use crate::ReportError;
use mae_data::Image;
use plotters::style::colors::colormaps::{ColorMap, ViridisRGB};

/// The opacity of the map's colours: the image is still recognisable, and the colours are still distinguishable.
const OPACITY: f32 = 0.65;

/// A value for each patch of an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Heatmap {
    /// The heading above the map.
    pub title: String,
    /// `[L]`, row-major over the grid of patches.
    pub values: Vec<f32>,
}

/// Draws an image and, beside it, each map over the image, from dark (lowest) to bright (highest).
///
/// Every map has its own scale, and is interpolated between the centres of patches. Colours are viridis, whose
/// brightness grows evenly, over the image in grey. `least` and `most` name the ends of the scale.
///
/// # Shapes
/// The image is `[H, W, C]`, `grid` is (rows, columns) of its patches; the sheet is `[H', W', 3]`.
///
/// # Errors
/// [`ReportError::Argument`] unless every map has one finite value per patch; [`ReportError::Draw`] if the drawing
/// library fails.
pub fn draw_heatmaps(
    original: &Image,
    maps: &[Heatmap],
    grid: (usize, usize),
    [least, most]: [&str; 2],
) -> Result<Image, ReportError> {
    let mut tiles = vec![("original", original.clone())];
    for map in maps {
        tiles.push((&map.title, overlay(original, &map.values, grid)?));
    }
    with_legend(draw_tiles(&tiles)?, [least, most], |share| ViridisRGB.get_color(share))
}

/// Draws the map's colours over the image in grey.
fn overlay(image: &Image, values: &[f32], (rows, columns): (usize, usize)) -> Result<Image, ReportError> {
    if values.len() != rows * columns {
        let bound = format!("{}, the number of patches", rows * columns);
        return Err(ReportError::argument("the length of a map", values.len(), bound));
    }
    if let Some(value) = values.iter().find(|value| !value.is_finite()) {
        return Err(ReportError::argument("a number of a map", value, "finite"));
    }
    let (height, width) = (image.height(), image.width());
    let least = values.iter().copied().fold(f32::INFINITY, f32::min);
    let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (down, across) = (between(height, rows), between(width, columns));
    let mut data = Vec::with_capacity(height * width * 3);
    for (y, (top, bottom, dy)) in down.iter().enumerate() {
        for (x, (left, right, dx)) in across.iter().enumerate() {
            let row = |row: &usize| {
                let at = |column: &usize| values[row * columns + column];
                at(left) + (at(right) - at(left)) * dx
            };
            let value = row(top) + (row(bottom) - row(top)) * dy;
            let share = (value - least) / (most - least).max(f32::MIN_POSITIVE);
            let colour = ViridisRGB.get_color(share.clamp(0.0, 1.0));
            let grey = luma(rgb(image, y, x));
            let mix = |colour: u8| (OPACITY * f32::from(colour) + (1.0 - OPACITY) * grey).round() as u8;
            data.extend([mix(colour.0), mix(colour.1), mix(colour.2)]);
        }
    }
    Ok(Image::new(height, width, 3, data)?)
}

/// Returns, for each pixel along a side, the two patches between whose centres it lies, and its relative position
/// between them.
fn between(pixels: usize, patches: usize) -> Vec<(usize, usize, f32)> {
    let place = |pixel: usize| {
        let at = (pixel as f32 + 0.5) * patches as f32 / pixels as f32 - 0.5;
        let at = at.clamp(0.0, (patches - 1) as f32);
        let first = at as usize;
        (first, (first + 1).min(patches - 1), at - first as f32)
    };
    (0..pixels).map(place).collect()
}

/// Brightness, 0 to 255.
///
/// # Source
/// ITU-R BT.601.
fn luma([r, g, b]: [u8; 3]) -> f32 {
    0.299 * f32::from(r) + 0.587 * f32::from(g) + 0.114 * f32::from(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(values: Vec<f32>) -> Heatmap {
        Heatmap { title: "map".into(), values }
    }

    #[test]
    fn a_map_is_itself_at_the_patches_centres_and_straight_between_them() {
        // A column of three patches of 5 px: centres at 2, 7 and 12.
        let places = between(15, 3);
        let values = [1.0, 3.0, 11.0];
        let at: Vec<f32> =
            places.iter().map(|(a, b, t)| values[*a] + (values[*b] - values[*a]) * t).collect();
        for (pixel, value) in [(0, 1.0), (2, 1.0), (7, 3.0), (12, 11.0), (14, 11.0)] {
            assert!((at[pixel] - value).abs() < 1e-5, "{at:?}");
        }
        let steps: Vec<f32> = at[7..=12].windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(steps.iter().all(|step| (step - 1.6).abs() < 1e-4), "{steps:?}");
    }

    #[test]
    fn the_most_is_bright_the_least_is_dark_and_the_image_shows_through() {
        let image = |grey: u8| Image::new(4, 8, 1, vec![grey; 32]).unwrap();
        let pixel = |grey, values: &[f32], x: usize| {
            let drawn = overlay(&image(grey), values, (1, 2)).unwrap();
            [0, 1, 2].map(|c| drawn.data()[x * 3 + c])
        };
        // viridis runs from (68, 1, 84) to (254, 232, 37).
        let mixed =
            |colour: [u8; 3], grey: f32| colour.map(|c| (0.65 * f32::from(c) + 0.35 * grey).round() as u8);
        assert_eq!(pixel(100, &[0.2, 0.7], 0), mixed([68, 1, 84], 100.0));
        assert_eq!(pixel(100, &[0.2, 0.7], 7), mixed([254, 232, 37], 100.0));
        assert_eq!(pixel(200, &[0.2, 0.7], 7), mixed([254, 232, 37], 200.0));
        // If all patches are equal, nothing stands out.
        assert_eq!(pixel(100, &[0.5, 0.5], 0), pixel(100, &[0.5, 0.5], 7));
    }

    #[test]
    fn maps_stand_beside_the_image_and_those_that_do_not_fit_are_refused() {
        let image = Image::new(128, 128, 3, vec![90; 128 * 128 * 3]).unwrap();
        let draw = |maps: &[Heatmap]| draw_heatmaps(&image, maps, (2, 2), ["least", "most"]);
        let one = draw(&[map(vec![0.0, 1.0, 2.0, 3.0])]).unwrap();
        let six = draw(&vec![map(vec![0.0, 1.0, 2.0, 3.0]); 6]).unwrap();
        assert!(six.width() == 2 * one.width() - 24 && six.height() > 2 * 128, "two rows of four");
        let message = |values| draw(&[map(values)]).unwrap_err().to_string();
        assert_eq!(message(vec![0.0; 3]), "the length of a map is 3, but must be 4, the number of patches");
        assert_eq!(message(vec![0.0, 1.0, f32::NAN, 0.0]), "a number of a map is NaN, but must be finite");
    }
}
