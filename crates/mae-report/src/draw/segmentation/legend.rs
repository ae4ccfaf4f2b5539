//! The legend of class colours.

use std::collections::BTreeMap;

use mae_data::Image;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::labels::{CHEQUERS, RIGHT, WRONG};
use super::palette::{IGNORED, class_colour};
use crate::ReportError;
use crate::draw::canvas::{DrawError, INK, Sheet, font, px, shortened, text_width};

/// Maximum classes shown; the others are only counted.
const MOST_CLASSES: usize = 40;
const FONT_PX: usize = 13;
const LINE_PX: usize = 20;
const SWATCH_PX: usize = 12;
/// Between a swatch and its name.
const SPACE_PX: usize = 6;
/// Between a name and the next swatch.
const GAP_PX: usize = 18;
/// Maximum width of a name; longer ones are shortened.
const LONGEST_NAME_PX: usize = 170;

/// A legend in columns of equal width: the colours of errors, and the classes that rows show.
pub(super) struct Legend {
    entries: Vec<Entry>,
    columns: usize,
    column_px: usize,
}

struct Entry {
    swatch: Swatch,
    name: String,
}

enum Swatch {
    Colour([u8; 3]),
    Chequered,
    None,
}

impl Legend {
    /// Lists the classes in any of the label maps; if there are too many, those with the most pixels.
    pub(super) fn of<'a>(
        maps: impl IntoIterator<Item = &'a Image<u16>>,
        classes: &[String],
        width_px: usize,
    ) -> Result<Self, ReportError> {
        let mut pixels = BTreeMap::<u16, u64>::new();
        for label in maps.into_iter().flat_map(Image::data) {
            *pixels.entry(*label).or_default() += 1;
        }
        let ignores = pixels.remove(&IGNORED).is_some();
        let mut shown: Vec<u16> = pixels.keys().copied().collect();
        let more = shown.len().saturating_sub(MOST_CLASSES);
        shown.sort_by_key(|class| std::cmp::Reverse(pixels[class]));
        shown.truncate(MOST_CLASSES);
        shown.sort_unstable();

        let mut entries = vec![
            Entry { swatch: Swatch::Colour(RIGHT), name: "right".into() },
            Entry { swatch: Swatch::Colour(WRONG), name: "wrong".into() },
        ];
        if ignores {
            entries.push(Entry { swatch: Swatch::Chequered, name: "ignored".into() });
        }
        for class in shown {
            let name = shortened(&classes[usize::from(class)], FONT_PX, LONGEST_NAME_PX)?;
            entries.push(Entry { swatch: Swatch::Colour(class_colour(class)), name });
        }
        if more > 0 {
            let are = if more == 1 { "class has" } else { "classes have" };
            entries.push(Entry { swatch: Swatch::None, name: format!("{more} more {are} fewer pixels") });
        }
        let mut widest = 0;
        for entry in &entries {
            widest = widest.max(text_width(&entry.name, FONT_PX)?);
        }
        let column_px = SWATCH_PX + SPACE_PX + widest + GAP_PX;
        Ok(Self { entries, columns: ((width_px + GAP_PX) / column_px).max(1), column_px })
    }

    pub(super) fn height_px(&self) -> usize {
        self.entries.len().div_ceil(self.columns) * LINE_PX
    }

    /// Draws the legend with its upper left corner at (left, top), line by line.
    pub(super) fn draw(&self, sheet: &Sheet<'_>, (left, top): (usize, usize)) -> Result<(), DrawError> {
        let style = font(FONT_PX).color(&INK).pos(Pos::new(HPos::Left, VPos::Center));
        for (i, entry) in self.entries.iter().enumerate() {
            let left = left + i % self.columns * self.column_px;
            let middle = top + i / self.columns * LINE_PX + LINE_PX / 2;
            entry.swatch.draw(sheet, (left, middle - SWATCH_PX / 2))?;
            let at = (px(left + SWATCH_PX + SPACE_PX), px(middle + 2));
            sheet.draw(&Text::new(entry.name.as_str(), at, style.clone()))?;
        }
        Ok(())
    }
}

impl Swatch {
    fn draw(&self, sheet: &Sheet<'_>, (left, top): (usize, usize)) -> Result<(), DrawError> {
        let square =
            |left: usize, top: usize, side: usize| [(px(left), px(top)), (px(left + side), px(top + side))];
        let fill = |[r, g, b]: [u8; 3]| RGBColor(r, g, b).filled();
        let whole = square(left, top, SWATCH_PX);
        match self {
            Self::None => return Ok(()),
            Self::Colour(colour) => sheet.draw(&Rectangle::new(whole, fill(*colour)))?,
            Self::Chequered => {
                let side = SWATCH_PX / 3;
                for (row, column) in (0..9).map(|i| (i / 3, i % 3)) {
                    let corners = square(left + column * side, top + row * side, side);
                    sheet.draw(&Rectangle::new(corners, fill(CHEQUERS[(row + column + 1) % 2])))?;
                }
            }
        }
        // A frame, because pale colours would be invisible on white.
        sheet.draw(&Rectangle::new(whole, INK.mix(0.5).stroke_width(1)))?;
        Ok(())
    }
}
