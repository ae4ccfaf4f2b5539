//! Converts rows of luma and chroma samples to rows of RGB, bit for bit as libjpeg does.

use multiversion::multiversion;

/// Number of pixels converted at once.
const N: usize = 16;

/// Interpolates between two rows of chroma, three parts of `near` to one of `far`, and doubles the columns.
///
/// # Source
/// libjpeg's `h2v2_fancy_upsample`.
#[multiversion(targets = "simd")]
pub(crate) fn double_both(near: &[u8], far: &[u8], sums: &mut [u16], out: &mut [u8]) {
    let n = near.len();
    for ((sum, near), far) in sums.iter_mut().zip(near).zip(far) {
        *sum = 3 * u16::from(*near) + u16::from(*far);
    }
    let sums = &sums[..n];
    out[0] = ((4 * sums[0] + 8) >> 4) as u8;
    for ((pair, left), right) in out[1..2 * n - 1].as_chunks_mut::<2>().0.iter_mut().zip(sums).zip(&sums[1..])
    {
        *pair = [((3 * left + right + 7) >> 4) as u8, ((3 * right + left + 8) >> 4) as u8];
    }
    out[2 * n - 1] = ((4 * sums[n - 1] + 7) >> 4) as u8;
}

/// Doubles the columns of a row of chroma.
///
/// # Source
/// libjpeg's `h2v1_fancy_upsample`.
#[multiversion(targets = "simd")]
pub(crate) fn double_columns(row: &[u8], out: &mut [u8]) {
    let n = row.len();
    out[0] = row[0];
    for ((pair, left), right) in out[1..2 * n - 1].as_chunks_mut::<2>().0.iter_mut().zip(row).zip(&row[1..]) {
        let (left, right) = (u16::from(*left), u16::from(*right));
        *pair = [((3 * left + right + 2) >> 2) as u8, ((3 * right + left + 1) >> 2) as u8];
    }
    out[2 * n - 1] = row[n - 1];
}

/// Interpolates between two rows of chroma, three parts of `near` to one of `far`. `upper` is true for the upper of the
/// two rows of pixels that `near` covers.
///
/// # Source
/// libjpeg-turbo's `h1v2_fancy_upsample`.
#[multiversion(targets = "simd")]
pub(crate) fn double_rows(near: &[u8], far: &[u8], upper: bool, out: &mut [u8]) {
    let bias = if upper { 1 } else { 2 };
    for ((out, near), far) in out.iter_mut().zip(near).zip(far) {
        *out = ((3 * u16::from(*near) + u16::from(*far) + bias) >> 2) as u8;
    }
}

/// Converts YCbCr to RGB.
///
/// # Source
/// libjpeg's `ycc_rgb_convert`: JFIF's matrix in 16 fractional bits.
#[multiversion(targets = "simd")]
pub(crate) fn to_rgb(luma: &[u8], blue: &[u8], red: &[u8], out: &mut [u8]) {
    let (luma, luma_end) = luma.as_chunks();
    let (blue, blue_end) = blue.as_chunks();
    let (red, red_end) = red.as_chunks();
    let (out, out_end) = out.as_chunks_mut();
    for (((luma, blue), red), out) in luma.iter().zip(blue).zip(red).zip(out) {
        *out = pixels(luma, blue, red);
    }
    let padded = |end: &[u8]| {
        let mut all = [0; N];
        all[..end.len()].copy_from_slice(end);
        all
    };
    let pixels = pixels(&padded(luma_end), &padded(blue_end), &padded(red_end));
    out_end.copy_from_slice(&pixels[..out_end.len()]);
}

#[inline(always)]
fn pixels(luma: &[u8; N], blue: &[u8; N], red: &[u8; N]) -> [u8; 3 * N] {
    // A factor's fractional part times a value, rounded: such a factor fits into 16 bits.
    let part = |value: i16, factor: i16| ((i32::from(value) * i32::from(factor) + 32768) >> 16) as i16;
    let byte = |value: i16| value.clamp(0, 255) as u8;
    let (mut r, mut g, mut b) = ([0; N], [0; N], [0; N]);
    for i in 0..N {
        let (y, cb, cr) = (i16::from(luma[i]), i16::from(blue[i]) - 128, i16::from(red[i]) - 128);
        // 1.40200, -0.34414 and -0.71414, 1.77200.
        r[i] = byte(y + cr + part(cr, 26345));
        let green = (i32::from(cb) * -22554 + i32::from(cr) * 18734 + 32768) >> 16;
        g[i] = byte(y - cr + green as i16);
        b[i] = byte(y + 2 * cb + part(cb, -14942));
    }
    let mut out = [0; 3 * N];
    for i in 0..N {
        out[3 * i] = r[i];
        out[3 * i + 1] = g[i];
        out[3 * i + 2] = b[i];
    }
    out
}
