//! Shifting the hue of an image.

use crate::Image;

/// Shifts the hue by `turn`, a fraction of the colour circle from -0.5 to 0.5.
///
/// # Shapes
/// `[H, W, 3]`
///
/// # Source
/// torchvision v2 `adjust_hue` on Pillow images: the same bytes.
pub(super) fn shift_hue(image: &mut Image, turn: f64) {
    // Truncated. The circle has 256 steps.
    let steps = (turn * 255.0) as i32 as u8;
    for pixel in image.data_mut().as_chunks_mut().0 {
        let [hue, saturation, value] = to_hsv(*pixel);
        *pixel = to_rgb([hue.wrapping_add(steps), saturation, value]);
    }
}

/// # Source
/// Pillow `src/libImaging/Convert.c`, `rgb2hsv_row`: hue and saturation are scaled to 255. The arithmetic is in single
/// precision, except for the hue's position on the circle.
fn to_hsv([red, green, blue]: [u8; 3]) -> [u8; 3] {
    let (most, least) = (red.max(green).max(blue), red.min(green).min(blue));
    if most == least {
        return [0, 0, most];
    }
    let range = f32::from(most - least);
    let saturation = range / f32::from(most);
    let [r, g, b] = [red, green, blue].map(|channel| f32::from(most - channel) / range);
    let sixth = if red == most {
        b - g
    } else if green == most {
        (2.0 + f64::from(r) - f64::from(b)) as f32
    } else {
        (4.0 + f64::from(g) - f64::from(r)) as f32
    };
    let hue = ((f64::from(sixth) / 6.0 + 1.0) % 1.0) as f32;
    [(f64::from(hue) * 255.0) as u8, (f64::from(saturation) * 255.0) as u8, most]
}

/// # Source
/// Pillow `src/libImaging/Convert.c`, `hsv2rgb`.
fn to_rgb([hue, saturation, value]: [u8; 3]) -> [u8; 3] {
    if saturation == 0 {
        return [value; 3];
    }
    let sixths = f64::from(f32::from(hue)) * 6.0 / 255.0;
    let sector = sixths.floor();
    let within = f64::from((sixths - f64::from(sector as f32)) as f32);
    let share = f64::from((f64::from(f32::from(saturation)) / 255.0) as f32);
    // C's `round`: halves away from 0.
    let part = |of: f64| (f64::from(value) * (1.0 - of)).round() as u8;
    let (low, falling, rising) = (part(share), part(share * within), part(share * (1.0 - within)));
    match sector as u8 % 6 {
        0 => [value, rising, low],
        1 => [falling, value, low],
        2 => [low, value, rising],
        3 => [low, falling, value],
        4 => [rising, low, value],
        _ => [value, low, falling],
    }
}
