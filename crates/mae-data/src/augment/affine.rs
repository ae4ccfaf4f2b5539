//! Operations that move pixels.

use super::grey;
use crate::Image;

/// Turns by `degrees` counterclockwise about the centre.
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

/// Shows at each `(x, y)` the image at `(ax + by + c, dx + ey + f)`, interpolated bicubically; `fill` beyond it.
///
/// # Source
/// Pillow `Image.transform(AFFINE, BICUBIC)`, in its order of operations: fractions are cut off, pixels beyond the
/// edge are those at the edge, and the filter is the cubic with a = -1, where resizing has -1/2.
pub(super) fn transform(image: &Image, [a, b, c, d, e, f]: [f64; 6], fill: [u8; 3]) -> Image {
    let (height, width, channels) = (image.height(), image.width(), image.channels());
    let (across, down) = (0.0..width as f64, 0.0..height as f64);
    let mut moved = match channels {
        3 => fill.repeat(height * width),
        _ => vec![grey(&fill); height * width * channels],
    };
    for (at, pixel) in moved.chunks_exact_mut(channels).enumerate() {
        let (x, y) = ((at % width) as f64 + 0.5, (at / width) as f64 + 0.5);
        let (x, y) = (a * x + b * y + c, d * x + e * y + f);
        if !across.contains(&x) || !down.contains(&y) {
            continue;
        }
        let (columns, x) = neighbours(x, width);
        let (rows, y) = neighbours(y, height);
        let rows = rows.map(|row| &image.data()[row * width * channels..][..width * channels]);
        for (channel, value) in pixel.iter_mut().enumerate() {
            let of_row = |row: &[u8]| cubic(columns.map(|i| f64::from(row[i * channels + channel])), x);
            *value = cubic(rows.map(of_row), y) as u8;
        }
    }
    Image::new(height, width, channels, moved).expect("as many pixels as before")
}

/// The four pixels of a side that `position` on it lies between, and how far it is past the second.
fn neighbours(position: f64, length: usize) -> ([usize; 4], f64) {
    let position = position - 0.5;
    let second = position.floor();
    let within = |i: isize| i.clamp(0, length as isize - 1) as usize;
    ([-1, 0, 1, 2].map(|i| within(second as isize + i)), position - second)
}

/// The cubic through the second and the third of four values, with slopes from their neighbours.
fn cubic([first, second, third, fourth]: [f64; 4], at: f64) -> f64 {
    let linear = third - first;
    let square = 2.0 * (first - second) + third - fourth;
    let cube = -first + second - third + fourth;
    second + at * (linear + at * (square + at * cube))
}
