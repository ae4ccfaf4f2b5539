//! Sheets of labelled tiles: images and their reconstructions.

use super::canvas::{INK, draw, font, px, text_width};
use crate::ReportError;
use mae_data::Image;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// The colour of masked patches: the mid grey of the MAE paper's figures.
const MASK_GREY: u8 = 127;
/// Smaller images are enlarged to at least this height and width.
const MIN_TILE_PX: usize = 128;
const MARGIN_PX: usize = 16;
const GAP_PX: usize = 8;
const HEADING_PX: usize = 28;
const FONT_PX: usize = 15;
const LEGEND_PX: usize = 96;
/// Maximum tiles in a row of [`draw_tiles`].
const MAX_COLUMNS: usize = 5;

/// A row of a sheet of reconstructions: one image and its reconstruction.
#[derive(Clone, Debug)]
pub struct ReconstructionRow {
    /// The image that was masked, `[H, W, C]`.
    pub original: Image,
    /// The decoder's prediction for every patch, `[H, W, C]`.
    pub predicted: Image,
    /// True where a patch was masked, `[L]`, row-major over the grid of patches.
    pub mask: Vec<bool>,
}

/// The note below a sheet of reconstructions, on the visible patches in its third column.
const UNTRAINED: &str = "visible patches take no part in the loss: ignore their reconstruction";
/// The note below a sheet of grey images, on why the reconstructions have no colour.
const GREY: &str = "grey images: each reconstructed pixel is the mean of its channels";

/// Draws a row for each sample: original, masked, reconstruction, reconstruction with the visible patches. Notes below
/// say how to read them.
///
/// If all originals are grey, the reconstructions are drawn grey too: a model of RGB images predicts channels that
/// differ a little.
///
/// # Shapes
/// All images `[H, W, C]`; `patch_size` is (height, width); the sheet is `[H', W', 3]`.
///
/// # Errors
/// [`ReportError::Argument`] for no samples, images that differ in shape, patches that do not divide them or a mask of
/// another length; [`ReportError::Draw`] if the drawing library fails.
pub fn draw_reconstructions(
    samples: &[ReconstructionRow],
    patch_size: (usize, usize),
) -> Result<Image, ReportError> {
    let grey = samples.iter().all(|sample| is_grey_rgb(&sample.original));
    let row = |sample: &ReconstructionRow| match grey {
        true => {
            panels(&ReconstructionRow { predicted: grey_of(&sample.predicted), ..sample.clone() }, patch_size)
        }
        false => panels(sample, patch_size),
    };
    let rows = samples.iter().map(row).collect::<Result<Vec<_>, _>>()?;
    let patches: usize = samples.iter().map(|sample| sample.mask.len()).sum();
    let masked = samples.iter().flat_map(|sample| &sample.mask).filter(|&&masked| masked).count();
    let percent = 100.0 * masked as f64 / patches.max(1) as f64;
    let masked = format!("masked {percent:.0}%");
    let sheet = draw_grid(&["original", &masked, "reconstruction", "with visible patches"], &rows)?;
    let sheet = with_note(sheet, UNTRAINED)?;
    if grey { with_note(sheet, GREY) } else { Ok(sheet) }
}

/// Whether an image has three channels that are equal in every pixel.
fn is_grey_rgb(image: &Image) -> bool {
    let (pixels, _) = image.data().as_chunks();
    image.channels() == 3 && pixels.iter().all(|[r, g, b]| r == g && g == b)
}

/// Replaces each channel of an RGB image with the mean of its channels. Returns any other image as it is.
fn grey_of(image: &Image) -> Image {
    if image.channels() != 3 {
        return image.clone();
    }
    let mean = |pixel: &[u8; 3]| [((pixel.iter().map(|x| u32::from(*x)).sum::<u32>() + 1) / 3) as u8; 3];
    let data = image.data().as_chunks().0.iter().flat_map(mean).collect();
    Image::new(image.height(), image.width(), 3, data).expect("as large as the image that it is made of")
}

fn panels(sample: &ReconstructionRow, patch_size: (usize, usize)) -> Result<Vec<Image>, ReportError> {
    let ReconstructionRow { original, predicted, mask } = sample;
    let (height, width, channels) = (original.height(), original.width(), original.channels());
    if (predicted.height(), predicted.width(), predicted.channels()) != (height, width, channels) {
        let value = format!("{}x{}x{}", predicted.height(), predicted.width(), predicted.channels());
        let bound = format!("{height}x{width}x{channels} as the original's");
        return Err(ReportError::argument("the shape of a reconstruction", value, bound));
    }
    let (patch_height, patch_width) = patch_size;
    if patch_height == 0 || patch_width == 0 || height % patch_height != 0 || width % patch_width != 0 {
        let bound = format!("a divisor of the image's {height}x{width}");
        return Err(ReportError::argument("the patch size", format!("{patch_height}x{patch_width}"), bound));
    }
    let columns = width / patch_width;
    let num_patches = height / patch_height * columns;
    if mask.len() != num_patches {
        let bound = format!("{num_patches}, the number of patches");
        return Err(ReportError::argument("the length of a mask", mask.len(), bound));
    }

    let hide_behind = |hidden: &[u8]| {
        let mut data = original.data().to_vec();
        for (pixel, bytes) in data.chunks_exact_mut(channels).enumerate() {
            let (row, column) = (pixel / width, pixel % width);
            if mask[row / patch_height * columns + column / patch_width] {
                bytes.copy_from_slice(&hidden[pixel * channels..][..channels]);
            }
        }
        Image::new(height, width, channels, data)
    };
    let masked = hide_behind(&vec![MASK_GREY; original.data().len()])?;
    let pasted = hide_behind(predicted.data())?;
    Ok(vec![original.clone(), masked, predicted.clone(), pasted])
}

/// Draws rows of images as tiles under headings.
///
/// Grey images are shown grey. Of two channels, the first is shown; of more than three, the first three. Small images
/// are enlarged by a whole factor, without smoothing.
///
/// # Shapes
/// Images `[H, W, C]`, the same H and W; the sheet is `[H', W', 3]`.
///
/// # Errors
/// [`ReportError::Argument`] for no rows, a row without one image per heading, or images that differ in size;
/// [`ReportError::Draw`] if the drawing library fails.
pub fn draw_grid(headings: &[&str], rows: &[Vec<Image>]) -> Result<Image, ReportError> {
    let Some(first) = rows.first().and_then(|row| row.first()) else {
        return Err(ReportError::argument("the number of images to draw", 0, "at least 1"));
    };
    let (height, width) = (first.height(), first.width());
    for row in rows {
        if row.len() != headings.len() {
            let bound = format!("{}, one for each heading", headings.len());
            return Err(ReportError::argument("the number of images in a row", row.len(), bound));
        }
        if let Some(other) = row.iter().find(|image| (image.height(), image.width()) != (height, width)) {
            let value = format!("{}x{}", other.height(), other.width());
            return Err(ReportError::argument(
                "the size of an image",
                value,
                format!("{height}x{width} as the first one's"),
            ));
        }
    }

    let factor = MIN_TILE_PX.div_ceil(height.min(width));
    let (tile_height, tile_width) = (height * factor, width * factor);
    let column_width = tile_width.max(widest(headings)?) + GAP_PX;
    let left = |column: usize| MARGIN_PX + column * column_width;
    let sheet_width = left(headings.len()) - GAP_PX + MARGIN_PX;

    let strip = draw("headings", (MARGIN_PX + HEADING_PX, sheet_width), |sheet| {
        let style = font(FONT_PX).color(&INK).pos(Pos::new(HPos::Center, VPos::Center));
        for (column, &heading) in headings.iter().enumerate() {
            let centre = (px(left(column) + (column_width - GAP_PX) / 2), px(MARGIN_PX + HEADING_PX / 2 - 2));
            sheet.draw(&Text::new(heading, centre, style.clone()))?;
        }
        Ok(())
    })?;
    let sheet_height = strip.height() + rows.len() * (tile_height + GAP_PX) - GAP_PX + MARGIN_PX;
    let mut sheet = strip.into_data();
    sheet.resize(sheet_height * sheet_width * 3, 255);

    for (row, images) in rows.iter().enumerate() {
        let top = MARGIN_PX + HEADING_PX + row * (tile_height + GAP_PX);
        for (column, image) in images.iter().enumerate() {
            let left = left(column) + (column_width - GAP_PX - tile_width) / 2;
            for y in 0..tile_height {
                let line = &mut sheet[((top + y) * sheet_width + left) * 3..][..tile_width * 3];
                for (x, pixel) in line.chunks_exact_mut(3).enumerate() {
                    pixel.copy_from_slice(&rgb(image, y / factor, x / factor));
                }
            }
        }
    }
    Ok(Image::new(sheet_height, sheet_width, 3, sheet)?)
}

/// Draws tiles, each under its own heading, in as many rows as needed.
///
/// # Errors
/// As [`draw_grid`].
pub fn draw_tiles(tiles: &[(&str, Image)]) -> Result<Image, ReportError> {
    let columns = tiles.len().div_ceil(tiles.len().div_ceil(MAX_COLUMNS).max(1)).max(1);
    let row = |tiles: &[(&str, Image)]| {
        let (headings, images): (Vec<&str>, Vec<Image>) = tiles.iter().cloned().unzip();
        draw_grid(&headings, &[images])
    };
    let rows = tiles.chunks(columns).map(row).collect::<Result<Vec<_>, _>>()?;
    stack(&rows)
}

/// Adds a line of text beneath a sheet, which becomes wider if the text needs it.
pub fn with_note(sheet: Image, note: &str) -> Result<Image, ReportError> {
    let width = widest(&[note])? + 2 * MARGIN_PX;
    let strip = draw("note", (HEADING_PX, width), |sheet| {
        let style = font(FONT_PX).color(&INK).pos(Pos::new(HPos::Left, VPos::Center));
        sheet.draw(&Text::new(note, (px(MARGIN_PX), px(HEADING_PX / 2 - 2)), style))?;
        Ok(())
    })?;
    stack(&[sheet, strip])
}

/// Adds a scale of colours beneath a sheet: `colour` from 0 to 1, and names for its ends.
pub(crate) fn with_legend(
    sheet: Image,
    [low, high]: [&str; 2],
    colour: impl Fn(f32) -> RGBColor,
) -> Result<Image, ReportError> {
    let left = MARGIN_PX + widest(&[low])? + GAP_PX;
    let width = left + LEGEND_PX + GAP_PX + widest(&[high])? + MARGIN_PX;
    let strip = draw("legend", (HEADING_PX, width), |sheet| {
        let style = font(FONT_PX).color(&INK).pos(Pos::new(HPos::Left, VPos::Center));
        let middle = px(HEADING_PX / 2 - 2);
        sheet.draw(&Text::new(low, (px(MARGIN_PX), middle), style.clone()))?;
        sheet.draw(&Text::new(high, (px(left + LEGEND_PX + GAP_PX), middle), style))?;
        for x in 0..px(LEGEND_PX) {
            let colour = colour(x as f32 / (px(LEGEND_PX) - 1) as f32);
            // A rectangle without a width would not be drawn.
            let column = [(px(left) + x, middle - px(5)), (px(left) + x + 1, middle + px(5))];
            sheet.draw(&Rectangle::new(column, colour.filled()))?;
        }
        Ok(())
    })?;
    stack(&[sheet, strip])
}

/// Stacks sheets vertically, as wide as the widest of them.
fn stack(sheets: &[Image]) -> Result<Image, ReportError> {
    let width = sheets.iter().map(Image::width).max().unwrap_or(0);
    let height = sheets.iter().map(Image::height).sum();
    let mut data = Vec::with_capacity(height * width * 3);
    for sheet in sheets {
        for line in sheet.data().chunks_exact(sheet.width() * 3) {
            data.extend_from_slice(line);
            data.resize(data.len() + (width - sheet.width()) * 3, 255);
        }
    }
    Ok(Image::new(height, width, 3, data)?)
}

fn widest(headings: &[&str]) -> Result<usize, ReportError> {
    headings.iter().try_fold(0, |widest, heading| Ok(text_width(heading, FONT_PX)?.max(widest)))
}

/// Returns a pixel as RGB, whatever its channels.
pub(crate) fn rgb(image: &Image, row: usize, column: usize) -> [u8; 3] {
    let channels = image.channels();
    let pixel = &image.data()[(row * image.width() + column) * channels..][..channels];
    match *pixel {
        [r, g, b, ..] => [r, g, b],
        _ => [pixel[0]; 3],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::slice;

    /// 4x6 pixels, each with a value of its own, in a 2x2 grid of 2x3 patches.
    fn sample(channels: usize, mask: [bool; 4]) -> ReconstructionRow {
        let image = |from: u8| Image::new(4, 6, channels, (from..).take(24 * channels).collect()).unwrap();
        ReconstructionRow { original: image(0), predicted: image(128), mask: mask.to_vec() }
    }

    #[test]
    fn a_note_stands_beneath_and_the_sheet_is_as_it_was() {
        let sheet = Image::new(4, 6, 3, (0..72).collect()).unwrap();
        let noted = with_note(sheet.clone(), "a note that is wider than the sheet").unwrap();
        assert_eq!(noted.height(), 4 + HEADING_PX);
        assert!(noted.width() > 100);
        for (before, after) in sheet.data().chunks(18).zip(noted.data().chunks(noted.width() * 3)) {
            assert!(&after[..18] == before && after[18..].iter().all(|byte| *byte == 255));
        }
        assert!(noted.data()[4 * noted.width() * 3..].iter().any(|byte| *byte < 128), "there is ink");
    }

    #[test]
    fn masks_and_pastes_by_patch() {
        let panels = panels(&sample(1, [true, false, false, true]), (2, 3)).unwrap();
        let masked = [
            [127, 127, 127, 3, 4, 5],
            [127, 127, 127, 9, 10, 11],
            [12, 13, 14, 127, 127, 127],
            [18, 19, 20, 127, 127, 127],
        ];
        assert_eq!(panels[1].data(), masked.as_flattened());
        let pasted = [
            [128, 129, 130, 3, 4, 5],
            [134, 135, 136, 9, 10, 11],
            [12, 13, 14, 143, 144, 145],
            [18, 19, 20, 149, 150, 151],
        ];
        assert_eq!(panels[3].data(), pasted.as_flattened());
    }

    #[test]
    fn grey_images_are_reconstructed_in_grey_and_others_in_colour() {
        let image = |bytes: [u8; 3], channels: usize| Image::new(1, 1, channels, bytes[..channels].to_vec());
        let row = |original: [u8; 3]| ReconstructionRow {
            original: image(original, 3).unwrap(),
            predicted: image([10, 20, 33], 3).unwrap(),
            mask: vec![true],
        };
        let reconstructed = |samples: &[ReconstructionRow], notes: usize| {
            let sheet = draw_reconstructions(samples, (1, 1)).unwrap();
            let x = MARGIN_PX + 2 * (sheet.width() - 2 * MARGIN_PX + GAP_PX) / 4 + MIN_TILE_PX / 2;
            let y = sheet.height() - notes * HEADING_PX - MARGIN_PX - 1;
            rgb(&sheet, y, x)
        };
        assert_eq!(reconstructed(&[row([7, 7, 7]), row([9, 9, 9])], 2), [21, 21, 21]);
        assert_eq!(reconstructed(&[row([7, 7, 7]), row([9, 9, 8])], 1), [10, 20, 33]);
        assert_eq!(grey_of(&image([5, 6, 7], 1).unwrap()).data(), [5]);
    }

    #[test]
    fn tiles_are_the_images_enlarged() {
        for channels in [1, 2, 3, 4] {
            let sample = sample(channels, [true, false, true, true]);
            let sheet = draw_reconstructions(&[sample.clone(), sample.clone()], (2, 3)).unwrap();
            // 4 pixels high: enlarged 32 times, to 128x192. The tiles end with the margin above the note, and start a
            // gap apart.
            let (tile_height, tile_width) = (128, 192);
            let top = sheet.height() - HEADING_PX - MARGIN_PX - tile_height;
            let panels = panels(&sample, (2, 3)).unwrap();
            assert_eq!(sheet.width(), 2 * MARGIN_PX + 4 * tile_width + 3 * GAP_PX);
            for (column, panel) in panels.iter().enumerate() {
                let left = MARGIN_PX + column * (tile_width + GAP_PX);
                for y in 0..tile_height {
                    for x in 0..tile_width {
                        let expected = rgb(panel, y / 32, x / 32);
                        for row_top in [top, top - GAP_PX - tile_height] {
                            let at = ((row_top + y) * sheet.width() + left + x) * 3;
                            assert_eq!(sheet.data()[at..at + 3], expected);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn headings_are_written_and_never_overlap() {
        let grey = Image::new(200, 40, 1, vec![127; 8000]).unwrap();
        let heading = "a heading wider than its image";
        let sheet = draw_grid(&[heading; 2], &[vec![grey.clone(), grey]]).unwrap();
        assert!(sheet.width() >= 2 * widest(&[heading]).unwrap() + GAP_PX);
        let strip = &sheet.data()[..(MARGIN_PX + HEADING_PX) * sheet.width() * 3];
        assert!(strip.iter().any(|&byte| byte < 120), "no ink in the headings");
    }

    #[test]
    fn refuses_what_does_not_fit_together() {
        let message = |samples: &[ReconstructionRow], patch_size| {
            draw_reconstructions(samples, patch_size).unwrap_err().to_string()
        };
        let fits = sample(1, [true; 4]);
        assert_eq!(message(&[], (2, 3)), "the number of images to draw is 0, but must be at least 1");
        assert_eq!(
            message(slice::from_ref(&fits), (3, 2)),
            "the patch size is 3x2, but must be a divisor of the image's 4x6"
        );
        assert!(message(slice::from_ref(&fits), (0, 3)).starts_with("the patch size is 0x3"));
        assert_eq!(
            message(slice::from_ref(&fits), (2, 2)),
            "the length of a mask is 4, but must be 6, the number of patches"
        );
        let other = ReconstructionRow { predicted: sample(3, [true; 4]).predicted, ..fits.clone() };
        assert_eq!(
            message(&[other], (2, 3)),
            "the shape of a reconstruction is 4x6x3, but must be 4x6x1 as the original's"
        );
        let large = Image::new(8, 6, 1, vec![0; 48]).unwrap();
        let larger = ReconstructionRow { original: large.clone(), predicted: large, mask: vec![true; 8] };
        assert_eq!(
            message(&[fits, larger], (2, 3)),
            "the size of an image is 8x6, but must be 4x6 as the first one's"
        );
    }
}
