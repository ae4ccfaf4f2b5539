//! Pixel statistics of a report by channel, as numbers and as lines of text.

use super::warning::SaturatedChannel;
use crate::{PixelFormat, PixelStatistics, PixelType};

/// The number of channels that are listed before "and N more".
const SHOWN: usize = 16;

/// Statistics by channel, in the units of a report.
pub(crate) struct Channels {
    pub(crate) mean: Vec<f64>,
    pub(crate) std: Vec<f64>,
    pub(crate) min: Vec<f64>,
    pub(crate) max: Vec<f64>,
}

impl Channels {
    /// Converts to the units of a report: the pixels' own, but bytes divided by 255. `None` without images.
    pub(crate) fn of(statistics: &PixelStatistics, pixels: PixelFormat) -> Option<Self> {
        let unit = if pixels.pixel_type() == PixelType::U8 { 255.0 } else { 1.0 };
        let scaled = |numbers: Vec<f64>| numbers.into_iter().map(|number| number / unit).collect();
        let (min, max) = statistics.ranges().into_iter().unzip();
        (statistics.images > 0).then(|| Self {
            mean: scaled(statistics.mean()),
            std: scaled(statistics.std()),
            min: scaled(min),
            max: scaled(max),
        })
    }
}

/// The channels, counted from 1, whose values are all equal or that have no finite value.
pub(crate) fn constant(min: &[f64], max: &[f64]) -> Vec<usize> {
    let ranges = (1..).zip(min.iter().zip(max));
    ranges.filter(|(_, (min, max))| min >= max).map(|(channel, _)| channel).collect()
}

/// The largest share of a channel's values that may equal its maximum without a warning.
const SATURATED: f64 = 0.01;

/// The channels that may have been clipped: those that vary, and of whose values more than 1% equal the maximum.
pub(crate) fn saturated(min: &[f64], max: &[f64], shares: &[f64]) -> Vec<SaturatedChannel> {
    let channels = (1..).zip(min.iter().zip(max).zip(shares));
    let cut_off = channels.filter(|(_, ((min, max), share))| min < max && **share > SATURATED);
    cut_off
        .map(|(channel, ((_, max), share))| SaturatedChannel { channel, max: *max, share: *share })
        .collect()
}

/// Formats a table with one row per channel: mean, standard deviation, minimum and maximum.
pub(crate) fn table(columns: [&[f64]; 4]) -> Vec<String> {
    let row = |cells: [String; 5]| {
        let [channel, mean, std, min, max] = cells;
        format!("{channel:>7} {mean:>12} {std:>12} {min:>12} {max:>12}")
    };
    let channels = columns[0].len();
    let mut rows = vec![row(["channel", "mean", "std", "min", "max"].map(str::to_owned))];
    for channel in 0..channels.min(SHOWN) {
        let [mean, std, min, max] = columns.map(|numbers| text(numbers[channel]));
        rows.push(row([(channel + 1).to_string(), mean, std, min, max]));
    }
    if channels > SHOWN {
        rows.push(format!("and {} more", channels - SHOWN));
    }
    rows
}

/// Formats a number with six significant digits.
fn text(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return if number == 0.0 { "0".to_owned() } else { "none".to_owned() };
    }
    let exponent = number.abs().log10().floor();
    if !(-4.0..7.0).contains(&exponent) {
        return format!("{number:.5e}");
    }
    let decimals = (5.0 - exponent).max(0.0) as usize;
    let text = format!("{number:.decimals$}");
    if decimals == 0 { text } else { text.trim_end_matches('0').trim_end_matches('.').to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_channels_are_listed() {
        let rows = table([&[1.0; 18], &[0.5; 18], &[0.0; 18], &[2.0; 18]]);
        assert_eq!(rows.len(), 18);
        assert_eq!(rows[16], "     16            1          0.5            0            2");
        assert_eq!(rows[17], "and 2 more");
        assert_eq!(table([&[1.0; 16], &[0.5; 16], &[0.0; 16], &[2.0; 16]]).len(), 17);
        assert_eq!(constant(&[0.0, 1.0, f64::INFINITY], &[0.5, 1.0, f64::NEG_INFINITY]), [2, 3]);
    }

    #[test]
    fn numbers_have_six_digits() {
        for (number, expected) in [
            (0.0, "0"),
            (-0.5, "-0.5"),
            (1.0 / 3.0, "0.333333"),
            (65535.0, "65535"),
            (12345.678, "12345.7"),
            (1234567.0, "1234567"),
            (100.0, "100"),
            (-0.000_123_456_789, "-0.000123457"),
            (1.5e-7, "1.50000e-7"),
            (-3e30, "-3.00000e30"),
            (f64::INFINITY, "none"),
        ] {
            assert_eq!(text(number), expected);
        }
    }
}
