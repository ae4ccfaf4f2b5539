//! Images beside their true and predicted classes and the errors, as one sheet.

use image::RgbImage;
use image::imageops::{FilterType, resize};
use mae_data::Image;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::labels::{check_labels, check_size, error_picture, label_picture};
use super::legend::Legend;
use crate::ReportError;
use crate::draw::canvas::{INK, draw, font, px, shortened};
use crate::draw::pictures::rgb;

/// The longer side of a tile: smaller images are enlarged by a whole factor, larger ones are reduced.
const TILE_PX: std::ops::RangeInclusive<usize> = 160..=256;
const MARGIN_PX: usize = 16;
const GAP_PX: usize = 8;
const TITLE_PX: usize = 32;
const HEADING_PX: usize = 24;
/// The line above a row, with the image's name and score.
const CAPTION_PX: usize = 26;
/// The width reserved for a score.
const SCORE_PX: usize = 130;
const HEADINGS: [&str; 4] = ["image", "truth", "prediction", "errors"];

/// A row of a gallery of segmentations: one image, its true and its predicted classes.
#[derive(Clone, Debug)]
pub struct SegmentationRow {
    /// The image's name.
    pub name: String,
    /// The image, `[H, W, C]`.
    pub image: Image,
    /// The true class of each pixel, or 65535 where it is ignored, `[H, W, 1]`.
    pub truth: Image<u16>,
    /// The predicted class of each pixel, `[H, W, 1]`.
    pub predicted: Image<u16>,
    /// The image's mean IoU, 0 to 1; `None` if all its pixels are ignored.
    pub score: Option<f64>,
}

/// Draws images, their true classes, the predicted ones and the errors, in the order given, over a legend of the
/// classes that appear.
///
/// Images may differ in size. Label maps are in the colours of [`class_colour`](super::class_colour); pixels that are
/// wrong are red.
///
/// # Shapes
/// The sheet is `[H', W', 3]`.
///
/// # Errors
/// [`ReportError::Argument`] for no rows, label maps that differ in size from their image, or labels that are not
/// classes; [`ReportError::Draw`] if the drawing library fails.
pub fn draw_segmentation(
    title: &str,
    rows: &[SegmentationRow],
    classes: &[String],
) -> Result<Image, ReportError> {
    if rows.is_empty() {
        return Err(ReportError::argument("the number of images to draw", 0, "at least 1"));
    }
    let tiles = rows.iter().map(|row| tiles(row, classes.len())).collect::<Result<Vec<_>, _>>()?;
    let column =
        tiles.iter().map(|row| row[0].width() as usize).max().unwrap_or_default().max(*TILE_PX.start());
    let left = |i: usize| MARGIN_PX + i * (column + GAP_PX);
    let width = left(HEADINGS.len()) - GAP_PX + MARGIN_PX;
    let inside = width - 2 * MARGIN_PX;

    let mut bottom = MARGIN_PX + TITLE_PX + HEADING_PX;
    let mut tops = Vec::with_capacity(rows.len());
    for row in &tiles {
        tops.push(bottom + CAPTION_PX);
        bottom += CAPTION_PX + row[0].height() as usize + GAP_PX;
    }
    let legend_top = bottom + GAP_PX;
    let legend = Legend::of(rows.iter().flat_map(|row| [&row.truth, &row.predicted]), classes, inside)?;
    let height = legend_top + legend.height_px() + MARGIN_PX;

    let title = shortened(title, 17, inside)?;
    let names: Vec<String> =
        rows.iter().map(|row| shortened(&row.name, 14, inside - SCORE_PX)).collect::<Result<_, _>>()?;
    let sheet = draw("segmentations", (height, width), |sheet| {
        let at = |size, horizontal| font(size).color(&INK).pos(Pos::new(horizontal, VPos::Center));
        let middle = px(MARGIN_PX + TITLE_PX / 2 - 4);
        sheet.draw(&Text::new(title, (px(MARGIN_PX), middle), at(17, HPos::Left)))?;
        for (i, heading) in HEADINGS.into_iter().enumerate() {
            let centre = (px(left(i) + column / 2), px(MARGIN_PX + TITLE_PX + HEADING_PX / 2 - 2));
            sheet.draw(&Text::new(heading, centre, at(14, HPos::Center)))?;
        }
        for ((row, name), top) in rows.iter().zip(names).zip(&tops) {
            let line = px(top - CAPTION_PX + 1);
            let ends = [(px(MARGIN_PX), line), (px(width - MARGIN_PX), line)];
            sheet.draw(&PathElement::new(ends, INK.mix(0.2).stroke_width(px(1) as u32)))?;
            let middle = px(top - CAPTION_PX / 2);
            sheet.draw(&Text::new(name, (px(MARGIN_PX), middle), at(14, HPos::Left)))?;
            let score = match row.score {
                Some(score) => format!("mean IoU {:.1}%", 100.0 * score),
                None => "all pixels ignored".into(),
            };
            sheet.draw(&Text::new(score, (px(width - MARGIN_PX), middle), at(14, HPos::Right)))?;
        }
        legend.draw(sheet, (MARGIN_PX, legend_top))
    })?;

    let mut data = sheet.into_data();
    for (row, top) in tiles.iter().zip(&tops) {
        for (i, tile) in row.iter().enumerate() {
            let line_bytes = tile.width() as usize * 3;
            let left = left(i) + (column - tile.width() as usize) / 2;
            for (y, line) in tile.as_raw().chunks_exact(line_bytes).enumerate() {
                data[((top + y) * width + left) * 3..][..line_bytes].copy_from_slice(line);
            }
        }
    }
    Ok(Image::new(height, width, 3, data)?)
}

/// The tiles of a row, under [`HEADINGS`].
fn tiles(row: &SegmentationRow, classes: usize) -> Result<[RgbImage; 4], ReportError> {
    let size = (row.image.height(), row.image.width());
    check_labels(&row.truth, classes)?;
    check_labels(&row.predicted, classes)?;
    check_size("the size of a true label map", &row.truth, size, "the image's")?;
    check_size("the size of a predicted label map", &row.predicted, size, "the image's")?;
    Ok([
        tile(&row.image),
        tile(&label_picture(&row.truth)?),
        tile(&label_picture(&row.predicted)?),
        tile(&error_picture(&row.truth, &row.predicted)?),
    ])
}

/// Scales an image to the size of a tile. Reduced label maps have mixed colours at boundaries, which keeps errors of
/// one pixel visible.
fn tile(image: &Image) -> RgbImage {
    let (height, width) = (image.height(), image.width());
    let longer = height.max(width);
    let colour =
        RgbImage::from_fn(width as u32, height as u32, |x, y| image::Rgb(rgb(image, y as usize, x as usize)));
    if TILE_PX.contains(&longer) {
        return colour;
    }
    if longer < *TILE_PX.start() {
        let factor = TILE_PX.start().div_ceil(longer);
        return resize(&colour, (width * factor) as u32, (height * factor) as u32, FilterType::Nearest);
    }
    let reduced = |side: usize| (side * TILE_PX.end()).div_ceil(longer) as u32;
    resize(&colour, reduced(width), reduced(height), FilterType::Triangle)
}

#[cfg(test)]
mod tests {
    use super::super::labels::{RIGHT, WRONG};
    use super::super::palette::{IGNORED, class_colour};
    use super::*;

    /// An image whose prediction is wrong in its left half and whose last column is ignored.
    fn row(height: usize, width: usize) -> SegmentationRow {
        let map = |label: fn(usize, usize) -> u16| {
            let labels = (0..height * width).map(|pixel| label(pixel % width, width));
            Image::new(height, width, 1, labels.collect()).unwrap()
        };
        SegmentationRow {
            name: "photo.png".into(),
            image: Image::new(height, width, 1, vec![90; height * width]).unwrap(),
            truth: map(|x, width| if x + 1 == width { IGNORED } else { 2 }),
            predicted: map(|x, width| if x < width / 2 { 1 } else { 2 }),
            score: Some(0.25),
        }
    }

    fn classes(count: usize) -> Vec<String> {
        (0..count).map(|class| format!("class {class}")).collect()
    }

    #[test]
    fn a_row_shows_image_truth_prediction_and_errors() {
        let sheet = draw_segmentation("title", &[row(160, 200)], &classes(3)).unwrap();
        assert_eq!(sheet.width(), 2 * MARGIN_PX + 4 * 200 + 3 * GAP_PX);
        let y = MARGIN_PX + TITLE_PX + HEADING_PX + CAPTION_PX + 3;
        let at = |column: usize, x: usize| rgb(&sheet, y, MARGIN_PX + column * (200 + GAP_PX) + x);
        assert_eq!([at(0, 0), at(0, 150)], [[90; 3]; 2]);
        assert_eq!([at(1, 0), at(1, 150)], [class_colour(2); 2]);
        assert_eq!([at(2, 0), at(2, 150)], [class_colour(1), class_colour(2)]);
        assert_eq!([at(3, 0), at(3, 150)], [WRONG, RIGHT]);
    }

    #[test]
    fn images_of_any_size_become_tiles() {
        let size = |height, width| tile(&row(height, width).image).dimensions();
        assert_eq!(size(20, 28), (168, 120), "enlarged by a whole factor");
        assert_eq!(size(160, 256), (256, 160), "as it is");
        assert_eq!(size(1000, 2000), (256, 128), "reduced");
        assert_eq!(size(1, 30_000), (256, 1));
        let sheet =
            draw_segmentation("title", &[row(20, 28), row(300, 400), row(8, 8)], &classes(3)).unwrap();
        assert_eq!(sheet.width(), 2 * MARGIN_PX + 4 * 256 + 3 * GAP_PX, "as wide as the widest");
    }

    #[test]
    fn the_legend_names_the_classes_that_appear_and_of_very_many_the_largest() {
        let height = |rows: &[SegmentationRow], count| {
            draw_segmentation("title", rows, &classes(count)).unwrap().height()
        };
        assert_eq!(height(&[row(160, 160)], 3), height(&[row(160, 160)], 900), "absent classes take no room");
        let mut many = row(160, 160);
        many.truth.data_mut().iter_mut().zip(0..).for_each(|(label, pixel)| *label = pixel % 900);
        let grown = height(&[many], 900) - height(&[row(160, 160)], 900);
        assert!((20..300).contains(&grown), "{grown}");
    }

    #[test]
    fn refuses_what_does_not_fit_together() {
        let message = |row| draw_segmentation("title", &[row], &classes(2)).unwrap_err().to_string();
        assert!(message(row(4, 4)).starts_with("a label is 2 at row 0, column 0"));
        let blank = |height, width| Image::new(height, width, 1, vec![0; height * width]).unwrap();
        let fits = SegmentationRow { truth: blank(4, 4), predicted: blank(4, 4), ..row(4, 4) };
        let other = SegmentationRow { predicted: blank(4, 3), ..fits.clone() };
        assert_eq!(
            message(other),
            "the size of a predicted label map is 4x3, but must be 4x4 as the image's"
        );
        let other = SegmentationRow { truth: blank(2, 8), ..fits };
        assert_eq!(message(other), "the size of a true label map is 2x8, but must be 4x4 as the image's");
        let none = draw_segmentation("title", &[], &classes(2)).unwrap_err().to_string();
        assert_eq!(none, "the number of images to draw is 0, but must be at least 1");
    }
}
