//! The IoU of each class, as bars.

use mae_data::Image;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::palette::class_colour;
use crate::ReportError;
use crate::draw::canvas::{DrawError, INK, Sheet, draw, font, px, shortened, text_width};

/// More classes than this are drawn in two columns.
const MOST_IN_A_COLUMN: usize = 40;
/// Maximum classes drawn. If there are more, only those with the lowest IoU are drawn.
const MOST_CLASSES: usize = 150;
const MARGIN_PX: usize = 16;
const TITLE_PX: usize = 30;
const KEY_PX: usize = 26;
const HEADING_PX: usize = 20;
const LINE_PX: usize = 20;
const BAR_PX: usize = 12;
const SWATCH_PX: usize = 11;
const LONGEST_NAME_PX: usize = 150;
/// The length of a bar of 100%, with one column and with two.
const FULL_PX: [usize; 2] = [400, 200];
const NUMBER_PX: usize = 52;
const GAP_PX: usize = 8;
const BETWEEN_PX: usize = 28;
const FONT_PX: usize = 13;

const BAR: RGBColor = RGBColor(122, 168, 214);
const MARK: RGBColor = RGBColor(20, 56, 104);
const MEAN: RGBColor = RGBColor(200, 92, 28);
const GROUND: RGBColor = RGBColor(238, 239, 242);

/// Draws the IoU of each class as a bar, best first, with its accuracy as a mark and its share of the pixels as a
/// number. A dashed line is the mean IoU.
///
/// Classes without an IoU, because they are neither in the truth nor predicted, come last. If there are more than 150
/// classes, only those with the lowest IoU are drawn.
///
/// # Shapes
/// One name, IoU, accuracy and share for each class, 0 to 1; the picture is `[H, W, 3]`.
///
/// # Errors
/// [`ReportError::Argument`] for lengths that differ or no class; [`ReportError::Draw`] if the drawing library fails.
pub fn draw_class_scores(
    title: &str,
    classes: &[String],
    iou: &[Option<f64>],
    accuracy: &[Option<f64>],
    share: &[f64],
) -> Result<Image, ReportError> {
    if classes.is_empty() {
        return Err(ReportError::argument("the number of classes to draw", 0, "at least 1"));
    }
    let lengths = [
        ("the number of IoUs", iou.len()),
        ("the number of accuracies", accuracy.len()),
        ("the number of shares", share.len()),
    ];
    if let Some((name, len)) = lengths.into_iter().find(|(_, len)| *len != classes.len()) {
        let bound = format!("{}, one for each class", classes.len());
        return Err(ReportError::argument(name, len, bound));
    }
    let known: Vec<f64> = iou.iter().flatten().copied().collect();
    let mean = (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64);

    let shown = shown(iou);
    let names: Vec<String> =
        classes.iter().map(|name| shortened(name, FONT_PX, LONGEST_NAME_PX)).collect::<Result<_, _>>()?;
    let mut name_px = text_width("class", FONT_PX)?;
    for class in &shown {
        name_px = name_px.max(text_width(&names[*class], FONT_PX)?);
    }
    let columns = if shown.len() > MOST_IN_A_COLUMN { 2 } else { 1 };
    let lines = shown.len().div_ceil(columns);
    let column = Column { name_px, full_px: FULL_PX[columns - 1] };
    let width = 2 * MARGIN_PX + columns * column.width_px() + (columns - 1) * BETWEEN_PX;
    let top = MARGIN_PX + TITLE_PX + KEY_PX;
    let height = top + HEADING_PX + lines * LINE_PX + MARGIN_PX;
    let title = match shown.len() {
        all if all == classes.len() => title.to_owned(),
        some => format!("{title}: the lowest {some} of {} classes", classes.len()),
    };
    let title = shortened(&title, 17, width - 2 * MARGIN_PX)?;
    draw("scores of classes", (height, width), |sheet| {
        let style = font(17).color(&INK).pos(Pos::new(HPos::Left, VPos::Center));
        sheet.draw(&Text::new(title, (px(MARGIN_PX), px(MARGIN_PX + TITLE_PX / 2 - 4)), style))?;
        key(sheet, MARGIN_PX + TITLE_PX + KEY_PX / 2 - 4, mean)?;
        for (i, classes) in shown.chunks(lines).enumerate() {
            let left = MARGIN_PX + i * (column.width_px() + BETWEEN_PX);
            column.draw_headings(sheet, (left, top))?;
            for (line, class) in classes.iter().enumerate() {
                let scores = Scores {
                    name: &names[*class],
                    class: *class,
                    iou: iou[*class],
                    accuracy: accuracy[*class],
                    share: share[*class],
                };
                column.draw_class(sheet, (left, top + HEADING_PX + line * LINE_PX), &scores)?;
            }
            if let Some(mean) = mean {
                let (from, to) = (px(top + HEADING_PX), px(top + HEADING_PX + classes.len() * LINE_PX));
                let x = column.at(left, mean);
                for y in (from..to).step_by(px(6) as usize) {
                    let dash = [(x, y), (x, (y + px(3)).min(to))];
                    sheet.draw(&PathElement::new(dash, MEAN.stroke_width(px(1) as u32)))?;
                }
            }
        }
        Ok(())
    })
}

/// Returns the classes to draw: best first, those without an IoU last. If there are too many, only the lowest of those
/// with an IoU.
fn shown(iou: &[Option<f64>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..iou.len()).collect();
    // The sort is stable: equal classes stay in order.
    order.sort_by(|a, b| iou[*b].unwrap_or(-1.0).total_cmp(&iou[*a].unwrap_or(-1.0)));
    if order.len() > MOST_CLASSES {
        order.retain(|class| iou[*class].is_some());
        order.drain(..order.len().saturating_sub(MOST_CLASSES));
    }
    order
}

/// Draws the key to bars, marks and the dashed line.
fn key(sheet: &Sheet<'_>, middle: usize, mean: Option<f64>) -> Result<(), DrawError> {
    let style = font(FONT_PX).color(&INK).pos(Pos::new(HPos::Left, VPos::Center));
    let mut left = MARGIN_PX;
    let mut entry = |name: &str, symbol: &dyn Fn(i32, i32) -> Result<(), DrawError>| {
        symbol(px(left), px(middle))?;
        left += 26;
        sheet.draw(&Text::new(name, (px(left), px(middle + 2)), style.clone()))?;
        left += text_width(name, FONT_PX)? + 20;
        Ok::<_, DrawError>(())
    };
    entry("IoU", &|x, y| bar(sheet, (x, x + px(20)), y, BAR))?;
    entry("accuracy", &|x, y| mark(sheet, x + px(10), y))?;
    let Some(mean) = mean else { return Ok(()) };
    entry(&format!("mean IoU {:.1}%", 100.0 * mean), &|x, y| {
        for x in [x, x + px(7), x + px(14)] {
            let dash = [(x, y), (x + px(4), y)];
            sheet.draw(&PathElement::new(dash, MEAN.stroke_width(px(2) as u32)))?;
        }
        Ok(())
    })
}

fn bar(sheet: &Sheet<'_>, (from, to): (i32, i32), middle: i32, colour: RGBColor) -> Result<(), DrawError> {
    let corners = [(from, middle - px(BAR_PX / 2)), (to, middle + px(BAR_PX / 2))];
    Ok(sheet.draw(&Rectangle::new(corners, colour.filled()))?)
}

fn mark(sheet: &Sheet<'_>, x: i32, middle: i32) -> Result<(), DrawError> {
    let reach = px(BAR_PX / 2 + 1);
    let corners = [(x - px(1), middle - reach), (x + px(1), middle + reach)];
    Ok(sheet.draw(&Rectangle::new(corners, MARK.filled()))?)
}

/// The scores of one class.
struct Scores<'a> {
    name: &'a str,
    class: usize,
    iou: Option<f64>,
    accuracy: Option<f64>,
    share: f64,
}

/// A column of the chart: each line has a swatch, a name, a bar and two numbers.
struct Column {
    name_px: usize,
    full_px: usize,
}

impl Column {
    fn bar_left(&self) -> usize {
        SWATCH_PX + GAP_PX + self.name_px + GAP_PX
    }

    fn width_px(&self) -> usize {
        self.bar_left() + self.full_px + 2 * NUMBER_PX
    }

    /// Returns where on the sheet a bar of a share ends.
    fn at(&self, left: usize, share: f64) -> i32 {
        px(left + self.bar_left()) + (f64::from(px(self.full_px)) * share.clamp(0.0, 1.0)).round() as i32
    }

    fn draw_headings(&self, sheet: &Sheet<'_>, (left, top): (usize, usize)) -> Result<(), DrawError> {
        let colour = INK.mix(0.65);
        let style = |horizontal| font(12).color(&colour).pos(Pos::new(horizontal, VPos::Center));
        let middle = px(top + HEADING_PX / 2 - 3);
        for share in [0.0, 0.5, 1.0] {
            let at = (self.at(left, share), middle);
            let place = [HPos::Left, HPos::Center, HPos::Right][(2.0 * share) as usize];
            sheet.draw(&Text::new(format!("{}%", 100.0 * share), at, style(place)))?;
        }
        for (i, heading) in ["IoU", "pixels"].into_iter().enumerate() {
            let right = left + self.bar_left() + self.full_px + (i + 1) * NUMBER_PX;
            sheet.draw(&Text::new(heading, (px(right), middle), style(HPos::Right)))?;
        }
        Ok(())
    }

    fn draw_class(
        &self,
        sheet: &Sheet<'_>,
        (left, top): (usize, usize),
        scores: &Scores<'_>,
    ) -> Result<(), DrawError> {
        let middle = top + LINE_PX / 2;
        let style = |horizontal| font(FONT_PX).color(&INK).pos(Pos::new(horizontal, VPos::Center));
        // Labels have 16 bits, and code that takes labels refuses more classes than that.
        let [r, g, b] = class_colour(scores.class as u16);
        let swatch_top = middle - SWATCH_PX / 2;
        let swatch = [(px(left), px(swatch_top)), (px(left + SWATCH_PX), px(swatch_top + SWATCH_PX))];
        sheet.draw(&Rectangle::new(swatch, RGBColor(r, g, b).filled()))?;
        let at = |x: usize| (px(left + x), px(middle + 2));
        sheet.draw(&Text::new(scores.name, at(SWATCH_PX + GAP_PX), style(HPos::Left)))?;
        let start = self.at(left, 0.0);
        bar(sheet, (start, self.at(left, 1.0)), px(middle), GROUND)?;
        bar(sheet, (start, self.at(left, scores.iou.unwrap_or(0.0))), px(middle), BAR)?;
        if let Some(accuracy) = scores.accuracy {
            mark(sheet, self.at(left, accuracy), px(middle))?;
        }
        let numbers =
            [scores.iou.map_or("–".to_owned(), |iou| format!("{:.1}%", 100.0 * iou)), percent(scores.share)];
        for (i, number) in numbers.into_iter().enumerate() {
            let right = self.bar_left() + self.full_px + (i + 1) * NUMBER_PX;
            sheet.draw(&Text::new(number, at(right), style(HPos::Right)))?;
        }
        Ok(())
    }
}

/// Formats a share of pixels, with more digits for rare classes.
fn percent(share: f64) -> String {
    match 100.0 * share {
        0.0 => "–".into(),
        percent if percent < 0.01 => "<0.01%".into(),
        percent if percent < 1.0 => format!("{percent:.2}%"),
        percent => format!("{percent:.1}%"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::pictures::rgb;

    fn classes(count: usize) -> Vec<String> {
        (0..count).map(|class| format!("class {class}")).collect()
    }

    /// Returns the width of the bar in a line of a picture of one column: the number of pixels in its middle with the
    /// colour of bars.
    fn bar_px(picture: &Image, line: usize) -> usize {
        let y = MARGIN_PX + TITLE_PX + KEY_PX + HEADING_PX + line * LINE_PX + LINE_PX / 2;
        (0..picture.width()).filter(|x| rgb(picture, y, *x) == [BAR.0, BAR.1, BAR.2]).count()
    }

    #[test]
    fn bars_are_as_long_as_the_iou_and_the_best_comes_first() {
        let iou = [Some(0.25), None, Some(0.75), Some(0.0)];
        let accuracy = [Some(1.0), None, Some(1.0), None];
        let picture =
            draw_class_scores("title", &classes(4), &iou, &accuracy, &[0.5, 0.0, 0.5, 0.0]).unwrap();
        let bars = [0, 1, 2, 3].map(|line| bar_px(&picture, line));
        // The dashed line of the mean, at one third, runs through the first bar and hides a pixel or two.
        assert!((297..=300).contains(&bars[0]), "{bars:?}");
        assert_eq!(bars[1..], [100, 0, 0]);
    }

    #[test]
    fn classes_are_in_two_columns_or_only_the_worst_where_they_are_many() {
        let size = |count: usize| {
            let iou: Vec<_> = (0..count).map(|class| Some(class as f64 / count as f64)).collect();
            let shares = vec![1.0 / count as f64; count];
            let picture = draw_class_scores("title", &classes(count), &iou, &iou, &shares).unwrap();
            (picture.height(), picture.width())
        };
        assert_eq!(size(40).0, size(80).0);
        assert!(size(80).1 > size(40).1);
        assert_eq!(size(150).0, size(400).0);
        let iou: Vec<_> = (0..200).map(|class| (class != 7).then_some(class as f64 / 200.0)).collect();
        let shown = shown(&iou);
        assert_eq!((shown.len(), shown[0], shown[149]), (150, 150, 0));
        assert!(!shown.contains(&7), "a class without an IoU is the first to go");
    }

    #[test]
    fn shares_of_rare_classes_have_more_digits() {
        assert_eq!([0.0, 0.00001, 0.0012, 0.123].map(percent), ["–", "<0.01%", "0.12%", "12.3%"]);
    }

    #[test]
    fn refuses_what_does_not_fit_together() {
        let message = |count, iou: &[Option<f64>], share: &[f64]| {
            draw_class_scores("title", &classes(count), iou, iou, share).unwrap_err().to_string()
        };
        assert_eq!(message(0, &[], &[]), "the number of classes to draw is 0, but must be at least 1");
        assert_eq!(
            message(2, &[None], &[0.0; 2]),
            "the number of IoUs is 1, but must be 2, one for each class"
        );
        assert_eq!(message(1, &[None], &[]), "the number of shares is 0, but must be 1, one for each class");
    }
}
