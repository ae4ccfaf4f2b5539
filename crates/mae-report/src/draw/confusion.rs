//! Confusion matrices as pictures.

use mae_data::Image;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::canvas::{INK, draw, font, px};
use crate::ReportError;

const CELL_PX: usize = 36;
const LABEL_PX: usize = 110;
const MARGIN_PX: usize = 16;
const TITLE_PX: usize = 40;
/// Maximum classes with room for names and numbers.
const MOST_NAMES: usize = 30;
/// The side of the matrix with more classes.
const SIDE_PX: usize = 1080;
const FULL: RGBColor = RGBColor(24, 88, 160);

/// Draws a confusion matrix, `[classes][classes]` counts of images or pixels. Rows are true classes, columns are
/// predicted classes, and colours are shares of a row.
///
/// # Shapes
/// `[H, W, 3]`
///
/// # Errors
/// [`ReportError::Draw`] if the drawing library fails.
pub fn draw_confusion(
    title: &str,
    classes: &[String],
    confusion: &[Vec<usize>],
) -> Result<Image, ReportError> {
    let count = classes.len();
    let named = count <= MOST_NAMES;
    let cell = if named { CELL_PX } else { (SIDE_PX / count).max(1) };
    let left = MARGIN_PX + if named { LABEL_PX } else { 0 };
    let top = MARGIN_PX + TITLE_PX;
    let side = cell * count;
    let bottom = top + side + if named { LABEL_PX / 2 } else { 0 } + MARGIN_PX;
    let size = (bottom, left + side + MARGIN_PX);
    draw("confusion matrix", size, |sheet| {
        let centred = |size, colour: RGBColor| {
            font(size).color(&colour).pos(Pos::new(HPos::Center, VPos::Center)).into_text_style(sheet)
        };
        let style = font(15).color(&INK).pos(Pos::new(HPos::Left, VPos::Center));
        sheet.draw(&Text::new(title.to_owned(), (px(MARGIN_PX), px(MARGIN_PX + 4)), style))?;
        let style = font(12).color(&INK.mix(0.7)).pos(Pos::new(HPos::Left, VPos::Center));
        let about = "rows: true classes; columns: predicted classes";
        sheet.draw(&Text::new(about, (px(MARGIN_PX), px(MARGIN_PX + 22)), style))?;
        for (row, predicted) in confusion.iter().enumerate() {
            let images = predicted.iter().sum::<usize>().max(1);
            for (column, number) in predicted.iter().enumerate() {
                let share = *number as f64 / images as f64;
                let (x, y) = (px(left + column * cell), px(top + row * cell));
                let corners = [(x, y), (x + px(cell), y + px(cell))];
                let blend = |full: u8| (255.0 - share.sqrt() * f64::from(255 - full)) as u8;
                let colour = RGBColor(blend(FULL.0), blend(FULL.1), blend(FULL.2));
                sheet.draw(&Rectangle::new(corners, colour.filled()))?;
                if named && *number > 0 {
                    let ink = if share > 0.3 { WHITE } else { INK };
                    let centre = (x + px(cell) / 2, y + px(cell) / 2);
                    sheet.draw(&Text::new(compact(*number), centre, centred(12, ink)))?;
                }
            }
        }
        let frame = [(px(left), px(top)), (px(left + side), px(top + side))];
        sheet.draw(&Rectangle::new(frame, INK.mix(0.4).stroke_width(px(1) as u32)))?;
        if named {
            for (class, name) in classes.iter().enumerate() {
                let short: String = name.chars().take(15).collect();
                let style = font(12).color(&INK).pos(Pos::new(HPos::Right, VPos::Center));
                let middle = class * cell + cell / 2;
                sheet.draw(&Text::new(short, (px(left - 6), px(top + middle)), style))?;
                let first: String = name.chars().take(4).collect();
                sheet.draw(&Text::new(first, (px(left + middle), px(top + side + 12)), centred(11, INK)))?;
            }
        }
        Ok(())
    })
}

/// Formats a count in at most four characters: a count of pixels may have more digits than fit into a cell.
fn compact(count: usize) -> String {
    if count < 10_000 {
        return count.to_string();
    }
    let mut scaled = count as f64 / 1e3;
    for unit in ["k", "M", "G"] {
        // A value that would be written as 1000 goes to the next unit.
        if scaled < 999.5 {
            let digits = usize::from(scaled < 9.95);
            return format!("{scaled:.digits$}{unit}");
        }
        scaled /= 1e3;
    }
    format!("{scaled:.0}T")
}

#[cfg(test)]
mod tests {
    use super::compact;

    #[test]
    fn counts_fit_their_cells() {
        let counts =
            [0, 9999, 10_000, 99_499, 999_499, 999_500, 1_250_000, 9_950_000, 40_000_000, 7_000_000_000];
        let written = ["0", "9999", "10k", "99k", "999k", "1.0M", "1.2M", "10M", "40M", "7.0G"];
        assert_eq!(counts.map(compact), written);
    }
}
