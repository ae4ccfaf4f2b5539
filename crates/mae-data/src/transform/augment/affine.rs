//! Operations that move pixels.

use multiversion::multiversion;

use super::grey::grey;
use crate::Image;

/// Rotates by `degrees` counterclockwise about the centre.
///
/// # Source
/// Pillow `Image.rotate`, which rounds the matrix to 15 decimals.
pub(super) fn rotate(image: &Image, degrees: f64, fill: [u8; 3]) -> Image {
    let angle = -degrees.rem_euclid(360.0).to_radians();
    let rounded = |value: f64| (value * 1e15).round_ties_even() / 1e15;
    let (cos, sin) = (rounded(angle.cos()), rounded(angle.sin()));
    let (x, y) = (image.width() as f64 / 2.0, image.height() as f64 / 2.0);
    let matrix = [cos, sin, cos * -x + sin * -y + x, -sin, cos, -sin * -x + cos * -y + y];
    transform(image, matrix, fill)
}

/// Samples the image at `(ax + by + c, dx + ey + f)` for each output pixel `(x, y)`, with bicubic interpolation. Points
/// outside the image give `fill`.
///
/// # Source
/// Pillow `Image.transform(AFFINE, BICUBIC)`, in the same order of operations. Results are truncated, the pixels at the
/// edge repeat beyond it, and the filter is the cubic with a = -1, where resizing has -1/2.
pub(super) fn transform(image: &Image, matrix: [f64; 6], fill: [u8; 3]) -> Image {
    let (height, width, channels) = (image.height(), image.width(), image.channels());
    let mut moved = match channels {
        3 => fill.repeat(height * width),
        _ => vec![grey(&fill); height * width * channels],
    };
    move_pixels(image, matrix, &mut moved);
    Image::new(height, width, channels, moved).expect("as many pixels as before")
}

/// The number of channels interpolated at once.
const LANES: usize = 4;

#[multiversion(targets = "simd")]
fn move_pixels(image: &Image, [a, b, c, d, e, f]: [f64; 6], moved: &mut [u8]) {
    let (height, width, channels) = (image.height(), image.width(), image.channels());
    let (across, down) = (0.0..width as f64, 0.0..height as f64);
    for (row, moved) in moved.chunks_exact_mut(width * channels).enumerate() {
        for (column, pixel) in moved.chunks_exact_mut(channels).enumerate() {
            let (x, y) = (column as f64 + 0.5, row as f64 + 0.5);
            let (x, y) = (a * x + b * y + c, d * x + e * y + f);
            if !across.contains(&x) || !down.contains(&y) {
                continue;
            }
            let (columns, x) = neighbours(x, width);
            let (rows, y) = neighbours(y, height);
            for (group, values) in pixel.chunks_mut(LANES).enumerate() {
                let of_row = |row: usize| {
                    let lanes = |column: usize| {
                        let from = &image.data()[(row * width + column) * channels + group * LANES..];
                        as_lanes(&from[..values.len()])
                    };
                    cubic(columns.map(lanes), x)
                };
                let interpolated = cubic(rows.map(of_row), y);
                values.iter_mut().zip(interpolated).for_each(|(to, from)| *to = from as u8);
            }
        }
    }
}

#[inline(always)]
fn as_lanes(values: &[u8]) -> [f64; LANES] {
    match *values {
        [red, green, blue] => [red, green, blue, 0].map(f64::from),
        _ => std::array::from_fn(|i| values.get(i).map_or(0.0, |&value| f64::from(value))),
    }
}

/// The indices of the four pixels around `position` (0 to `length`) on one axis, and the distance of `position` past
/// the centre of the second.
#[inline(always)]
fn neighbours(position: f64, length: usize) -> ([usize; 4], f64) {
    let position = position - 0.5;
    // This rounds down, because no position is less than -1/2.
    let second = if position < 0.0 { -1 } else { position as isize };
    let within = |i: isize| i.clamp(0, length as isize - 1) as usize;
    ([-1, 0, 1, 2].map(|i| within(second + i)), position - second as f64)
}

/// The cubic through the second and the third of four values, with slopes from their neighbours.
#[inline(always)]
fn cubic([first, second, third, fourth]: [[f64; LANES]; 4], at: f64) -> [f64; LANES] {
    std::array::from_fn(|i| {
        let linear = third[i] - first[i];
        let square = 2.0 * (first[i] - second[i]) + third[i] - fourth[i];
        let cube = -first[i] + second[i] - third[i] + fourth[i];
        second[i] + at * (linear + at * (square + at * cube))
    })
}
