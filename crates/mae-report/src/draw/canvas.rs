//! The sheet on which pictures and curves are drawn, and its encoding as PNG.

use crate::ReportError;
use crate::atomic::write_atomic;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use mae_data::Image;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};
use std::path::Path;
use std::sync::Once;

/// The area to draw on, in oversampled pixels: [`px`] converts lengths of the picture.
pub(crate) type Sheet<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

/// An error while drawing.
pub(crate) type DrawError = Box<dyn std::error::Error + Send + Sync>;

/// The ink of titles and labels: softer than black on a white ground.
pub(crate) const INK: RGBColor = RGBColor(48, 48, 56);

/// Everything is drawn this many times larger and then averaged, which smooths the edges of lines and places letters
/// between pixels.
const OVERSAMPLING: usize = 2;

const FONT: &str = "Ubuntu";

/// Converts a length in the picture to one on the [`Sheet`].
pub(crate) const fn px(length: usize) -> i32 {
    (length * OVERSAMPLING) as i32
}

/// Returns the only typeface, with letters about `size_px` high in the picture.
pub(crate) fn font(size_px: usize) -> FontDesc<'static> {
    static REGISTER: Once = Once::new();
    // If the font cannot be registered, drawing the first letter fails.
    REGISTER.call_once(|| _ = register_font(FONT, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT));
    FontDesc::new(FontFamily::Name(FONT), f64::from(px(size_px)), FontStyle::Normal)
}

/// Returns the width of a line of text in the picture, in pixels.
///
/// # Errors
/// [`ReportError::Draw`] if the drawing library fails.
pub(crate) fn text_width(text: &str, size_px: usize) -> Result<usize, ReportError> {
    let draw_error = |source| ReportError::Draw { what: "text", source };
    let (width, _) = font(size_px).box_size(text).map_err(|source| draw_error(source.into()))?;
    Ok((width as usize).div_ceil(OVERSAMPLING))
}

/// Shortens a line of text to fit, with dots in place of its middle: names often differ at their ends.
///
/// # Errors
/// As [`text_width`].
pub(crate) fn shortened(text: &str, size_px: usize, most_px: usize) -> Result<String, ReportError> {
    let letters: Vec<char> = text.chars().collect();
    // Letters are wider than a sixth of their height, so more letters than this never fit and need not be measured.
    let mut kept = letters.len().min(6 * most_px / size_px.max(1));
    if kept == letters.len() && text_width(text, size_px)? <= most_px {
        return Ok(text.to_owned());
    }
    loop {
        let (start, end) = (kept.div_ceil(2), kept / 2);
        let short =
            letters[..start].iter().chain(&['…']).chain(&letters[letters.len() - end..]).collect::<String>();
        if kept == 0 || text_width(&short, size_px)? <= most_px {
            return Ok(short);
        }
        kept -= 1;
    }
}

/// Draws on a white sheet of (height, width) pixels.
///
/// # Shapes
/// The image is `[H, W, 3]`.
///
/// # Errors
/// [`ReportError::Draw`] if the drawing library fails.
pub(crate) fn draw(
    what: &'static str,
    (height, width): (usize, usize),
    paint: impl FnOnce(&Sheet<'_>) -> Result<(), DrawError>,
) -> Result<Image, ReportError> {
    let (fine_height, fine_width) = (height * OVERSAMPLING, width * OVERSAMPLING);
    let mut fine = vec![255; fine_height * fine_width * 3];
    let draw_error = |source| ReportError::Draw { what, source };
    {
        let sheet = BitMapBackend::with_buffer(&mut fine, (fine_width as u32, fine_height as u32))
            .into_drawing_area();
        paint(&sheet).map_err(draw_error)?;
        sheet.present().map_err(|source| draw_error(source.into()))?;
    }
    let pixels = average(&fine, (height, width));
    Ok(Image::new(height, width, 3, pixels)?)
}

fn average(fine: &[u8], (height, width): (usize, usize)) -> Vec<u8> {
    const AREA: u32 = (OVERSAMPLING * OVERSAMPLING) as u32;
    let at = |row: usize, column: usize, channel: usize| {
        u32::from(fine[(row * width * OVERSAMPLING + column) * 3 + channel])
    };
    let mut pixels = Vec::with_capacity(height * width * 3);
    for row in 0..height {
        for column in 0..width {
            for channel in 0..3 {
                let cell = (0..OVERSAMPLING * OVERSAMPLING).map(|i| {
                    at(
                        row * OVERSAMPLING + i / OVERSAMPLING,
                        column * OVERSAMPLING + i % OVERSAMPLING,
                        channel,
                    )
                });
                pixels.push(((cell.sum::<u32>() + AREA / 2) / AREA) as u8);
            }
        }
    }
    pixels
}

/// Writes an image as a PNG file, completely or not at all.
///
/// # Shapes
/// `[H, W, C]` with 1 (grey), 3 (RGB) or 4 channels (RGB and alpha).
///
/// # Errors
/// [`ReportError::Argument`] for another number of channels, [`ReportError::Write`] if the file cannot be written.
pub fn save_png(image: &Image, path: impl AsRef<Path>) -> Result<(), ReportError> {
    let path = path.as_ref();
    let color = match image.channels() {
        1 => ExtendedColorType::L8,
        3 => ExtendedColorType::Rgb8,
        4 => ExtendedColorType::Rgba8,
        channels => {
            return Err(ReportError::argument("the number of channels of a PNG file", channels, "1, 3 or 4"));
        }
    };
    write_atomic(path, |file| {
        PngEncoder::new(file)
            .write_image(image.data(), image.width() as u32, image.height() as u32, color)
            .map_err(std::io::Error::other)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_is_what_is_read_back() {
        let sheet = draw("square", (4, 6), |sheet| {
            sheet.draw(&Rectangle::new([(px(1), px(1)), (px(3), px(2))], RED.filled()))?;
            Ok(())
        })
        .unwrap();
        let red: Vec<usize> = sheet
            .data()
            .chunks(3)
            .enumerate()
            .filter(|(_, pixel)| *pixel == [255, 0, 0])
            .map(|(i, _)| i)
            .collect();
        assert_eq!(red, [7, 8], "row 1, columns 1 and 2");
        assert_eq!(sheet.data().iter().filter(|&&byte| byte == 255).count(), 4 * 6 * 3 - 4);

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("square.png");
        save_png(&sheet, &path).unwrap();
        let read = image::open(&path).unwrap().into_rgb8();
        assert_eq!((read.height(), read.width()), (4, 6));
        assert_eq!(read.as_raw(), sheet.data());
    }

    #[test]
    fn letters_leave_ink() {
        let blank = draw("text", (20, 60), |_| Ok(())).unwrap();
        assert!(blank.data().iter().all(|&byte| byte == 255));
        let text = draw("text", (20, 60), |sheet| {
            sheet.draw(&Text::new("loss", (px(2), px(2)), font(14).color(&INK)))?;
            Ok(())
        });
        assert!(text.unwrap().data().iter().any(|&byte| byte < 120));
    }

    #[test]
    fn text_that_is_too_long_loses_its_middle() {
        let text = "a_street_in_a_town_that_has_a_long_name_000123.png";
        assert_eq!(shortened(text, 14, 1000).unwrap(), text);
        let short = shortened(text, 14, 120).unwrap();
        assert!(short.starts_with("a_str") && short.contains('…') && short.ends_with(".png"), "{short}");
        let width = text_width(&short, 14).unwrap();
        assert!((100..=120).contains(&width), "{width}");
        assert_eq!(shortened(&"x".repeat(100_000), 14, 0).unwrap(), "…");
    }

    #[test]
    fn refuses_what_png_cannot_hold() {
        let image = Image::new(1, 1, 2, vec![0; 2]).unwrap();
        let error = save_png(&image, Path::new("never.png")).unwrap_err();
        assert_eq!(error.to_string(), "the number of channels of a PNG file is 2, but must be 1, 3 or 4");
    }
}
