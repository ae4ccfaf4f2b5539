//! Operations that map each byte through a lookup table, one for all channels or one per channel.

use crate::Image;

type Table = [u8; 256];

/// Replaces every value `v` by `f(v)`.
pub(super) fn map(image: &mut Image, f: impl Fn(u8) -> u8) {
    let table = tabulate(|value| f(value as u8));
    image.data_mut().iter_mut().for_each(|byte| *byte = table[usize::from(*byte)]);
}

/// # Source
/// Pillow `ImageOps.posterize`.
pub(super) fn posterize(image: &mut Image, bits: u32) {
    let dropped = 8u32.saturating_sub(bits);
    map(image, |value| (u32::from(value) >> dropped << dropped) as u8);
}

/// # Source
/// Pillow `ImageOps.solarize`.
pub(super) fn solarize(image: &mut Image, threshold: u32) {
    map(image, |value| if u32::from(value) < threshold { value } else { 255 - value });
}

/// # Source
/// timm `solarize_add` with its default threshold of 128.
pub(super) fn solarize_add(image: &mut Image, add: u32) {
    map(image, |value| if value < 128 { u32::from(value).saturating_add(add).min(255) as u8 } else { value });
}

/// # Source
/// Pillow `ImageOps.autocontrast`, which truncates. A channel with a single value is unchanged.
pub(super) fn auto_contrast(image: &mut Image) {
    map_channels(image, |histogram| {
        let lowest = histogram.iter().position(|&count| count > 0)?;
        let highest = histogram.iter().rposition(|&count| count > 0)?;
        if highest <= lowest {
            return None;
        }
        let scale = 255.0 / (highest - lowest) as f64;
        let offset = -(lowest as f64) * scale;
        Some(tabulate(|value| (value as f64 * scale + offset) as u8))
    });
}

/// # Source
/// Pillow `ImageOps.equalize`, which leaves a channel unchanged if fewer than 255 of its pixels lie below its highest
/// value.
pub(super) fn equalize(image: &mut Image) {
    map_channels(image, |histogram| {
        let last = histogram.iter().rfind(|&&count| count > 0)?;
        let step = (histogram.iter().sum::<usize>() - last) / 255;
        if step == 0 {
            return None;
        }
        let mut below = step / 2;
        Some(tabulate(|value| {
            let level = below / step;
            below += histogram[value];
            level.min(255) as u8
        }))
    });
}

/// Maps each channel through the table that `table` makes of its histogram, if it returns one.
fn map_channels(image: &mut Image, table: impl Fn(&[usize; 256]) -> Option<Table>) {
    let channels = image.channels();
    for channel in 0..channels {
        let mut histogram = [0; 256];
        for &byte in image.data().iter().skip(channel).step_by(channels) {
            histogram[usize::from(byte)] += 1;
        }
        if let Some(table) = table(&histogram) {
            let bytes = image.data_mut().iter_mut().skip(channel).step_by(channels);
            bytes.for_each(|byte| *byte = table[usize::from(*byte)]);
        }
    }
}

fn tabulate(f: impl FnMut(usize) -> u8) -> Table {
    let mut values = (0..256).map(f);
    std::array::from_fn(|_| values.next().unwrap_or_default())
}
