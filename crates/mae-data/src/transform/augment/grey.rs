//! Conversion of a pixel to grey.

/// Returns the grey value of a pixel.
///
/// # Source
/// Pillow's `convert("L")`: ITU-R 601-2 luma with 16 fractional bits. For other than 3 channels, the rounded mean.
pub(super) fn grey(pixel: &[u8]) -> u8 {
    if let &[red, green, blue] = pixel {
        let luma = u32::from(red) * 19_595 + u32::from(green) * 38_470 + u32::from(blue) * 7_471;
        return ((luma + 0x8000) >> 16) as u8;
    }
    let sum: usize = pixel.iter().map(|&value| usize::from(value)).sum();
    ((sum + pixel.len() / 2) / pixel.len()) as u8
}
