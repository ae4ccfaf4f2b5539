//! Means, deviations and ranges of pixels.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crossbeam_channel::bounded;
use mae_image::{Pixel, of_any};

use crate::loader::worker::without_panic;
use crate::transform::crop::random_window;
use crate::{AnyImage, DataError, Image, ImageSource, View, sample_rng};

/// The pass number of the draws of windows. No training run reaches it.
const MEASURED_PASS: u64 = u64::MAX - 3;

/// Pixel statistics of a set of images, channel by channel, in the pixels' own units: 0 to 255 for bytes. NaNs and
/// infinities are left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PixelStatistics {
    /// Number of images read.
    pub images: usize,
    /// Number of NaNs and infinities, over all channels.
    pub missing: u64,
    channels: Vec<Moments>,
}

/// The statistics of one channel.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Moments {
    count: f64,
    mean: f64,
    /// The sum of squared differences from the mean.
    squares: f64,
    min: f64,
    max: f64,
    /// How often the smallest and the largest value occur.
    at_ends: [f64; 2],
}

impl PixelStatistics {
    /// Decodes the images of `source` at `indices` and measures their pixels at their own size, so that a large image
    /// weighs more than a small one. With `window`, measures instead one randomly placed square of `window` × `window`
    /// pixels per image. Unreadable images are left out. The result does not depend on the number of threads. Calls
    /// `progress(done, total)` on the caller's thread after each image.
    ///
    /// # Errors
    /// Returns the error of the first image if no image can be read, [`DataError::Argument`] if the images differ in
    /// their number of channels, and [`DataError::Workers`] if the system refuses a thread.
    pub fn measure(
        source: &dyn ImageSource,
        indices: &[usize],
        window: Option<usize>,
        threads: usize,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Self, DataError> {
        let (next, total) = (&AtomicUsize::new(0), indices.len());
        let mut all = InOrder::default();
        let mut refused = BTreeMap::new();
        thread::scope(|scope| {
            let (sender, results) = bounded(threads);
            for number in 0..threads.clamp(1, total.max(1)) {
                let sender = sender.clone();
                let work = move || {
                    let places = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
                    for place in places.take_while(|place| *place < total) {
                        let (index, name) = (indices[place], || source.name(indices[place]));
                        let measured = without_panic(name, || Self::of_sample(source, index, window));
                        if sender.send((place, measured)).is_err() {
                            return;
                        }
                    }
                };
                let builder = thread::Builder::new().name(format!("mae-pixels-{number}"));
                builder.spawn_scoped(scope, work).map_err(|source| DataError::Workers { source })?;
            }
            drop(sender);
            for (done, (place, measured)) in results.iter().enumerate() {
                let measured = measured.map_err(|error| refused.insert(place, error)).ok();
                all.put(place, measured)?;
                progress(done + 1, total);
            }
            Ok::<(), DataError>(())
        })?;
        match refused.pop_first() {
            Some((_, error)) if all.sum.images == 0 => Err(error),
            _ => Ok(all.sum),
        }
    }

    fn of_sample(source: &dyn ImageSource, index: usize, window: Option<usize>) -> Result<Self, DataError> {
        let Some(side) = window else { return source.load(index).map(|image| Self::of(&image)) };
        let encoded = source.open(index)?;
        let window = random_window(side, encoded.size(), &mut sample_rng(0, MEASURED_PASS, index));
        let part = encoded.decode_part(window, Vec::new())?;
        Ok(Self::of(&View::of_crop(window, (window.height, window.width), false).cut(&part)))
    }

    /// Measures one image.
    pub(crate) fn of(image: &AnyImage) -> Self {
        of_any!(image, image => Self::of_numbers(image))
    }

    fn of_numbers<T: Pixel>(image: &Image<T>) -> Self {
        let channels = image.channels();
        let mut missing = 0;
        let mut measured = |channel: usize| {
            let numbers = image.data()[channel..].iter().step_by(channels).map(|number| number.to_f64());
            let (mut count, mut sum, mut min, mut max) = (0_u64, 0.0, f64::INFINITY, f64::NEG_INFINITY);
            let mut at_ends = [0_u64; 2];
            for number in numbers.clone() {
                if number.is_finite() {
                    count += 1;
                    sum += number;
                    at_ends[0] = if number < min { 1 } else { at_ends[0] + u64::from(number == min) };
                    at_ends[1] = if number > max { 1 } else { at_ends[1] + u64::from(number == max) };
                    (min, max) = (min.min(number), max.max(number));
                } else {
                    missing += 1;
                }
            }
            let mean = if count == 0 { 0.0 } else { sum / count as f64 };
            let squares = numbers.filter(|number| number.is_finite()).map(|number| (number - mean).powi(2));
            Moments {
                count: count as f64,
                mean,
                squares: squares.sum(),
                min,
                max,
                at_ends: at_ends.map(|at| at as f64),
            }
        };
        let channels = (0..channels).map(&mut measured).collect();
        Self { images: 1, missing, channels }
    }

    /// Adds the statistics of other images. The last bits of the result depend on the order of the calls.
    pub(crate) fn add(&mut self, other: Self) -> Result<(), DataError> {
        if self.images == 0 {
            *self = other;
            return Ok(());
        }
        if self.channels.len() != other.channels.len() {
            let (value, bound) = (other.channels.len().to_string(), self.channels.len().to_string());
            return Err(DataError::Argument { name: "the number of channels", value, bound });
        }
        self.images += other.images;
        self.missing += other.missing;
        for (sum, other) in self.channels.iter_mut().zip(other.channels) {
            sum.add(other);
        }
        Ok(())
    }

    /// Number of channels; 0 without images.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    /// Each channel's mean; 0 for a channel without finite values.
    #[must_use]
    pub fn mean(&self) -> Vec<f64> {
        self.channels.iter().map(|channel| channel.mean).collect()
    }

    /// Each channel's population standard deviation (divided by n); 0 for a channel without finite values.
    #[must_use]
    pub fn std(&self) -> Vec<f64> {
        self.channels.iter().map(|channel| (channel.squares / channel.count.max(1.0)).sqrt()).collect()
    }

    /// The share of NaNs and infinities among all values, 0 to 1.
    #[must_use]
    pub fn missing_share(&self) -> f64 {
        let finite: f64 = self.channels.iter().map(|channel| channel.count).sum();
        self.missing as f64 / (self.missing as f64 + finite).max(1.0)
    }

    /// Each channel's share of values that equal its maximum, 0 to 1. Where a detector or a conversion clips values, it
    /// is far larger than for a continuous quantity. 0 if the maximum occurs once, or if the channel has at most two
    /// distinct values.
    #[must_use]
    pub fn saturated(&self) -> Vec<f64> {
        let share = |channel: &Moments| {
            let [smallest, largest] = channel.at_ends;
            let varies = largest > 1.0 && smallest + largest < channel.count;
            if varies { largest / channel.count } else { 0.0 }
        };
        self.channels.iter().map(share).collect()
    }

    /// Each channel's smallest and largest value; infinite for a channel without finite values.
    #[must_use]
    pub fn ranges(&self) -> Vec<(f64, f64)> {
        self.channels.iter().map(|channel| (channel.min, channel.max)).collect()
    }
}

impl Moments {
    /// # Source
    /// Chan, Golub and LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample variances".
    fn add(&mut self, other: Self) {
        let count = self.count + other.count;
        if other.count > 0.0 {
            let (difference, share) = (other.mean - self.mean, other.count / count);
            self.squares += other.squares + difference * difference * self.count * share;
            self.mean += difference * share;
        }
        let (min, max) = (self.min.min(other.min), self.max.max(other.max));
        let at_ends = [self, &other].map(|part| {
            let at = |at_end: f64, is_end: bool| if is_end { at_end } else { 0.0 };
            [at(part.at_ends[0], part.min == min), at(part.at_ends[1], part.max == max)]
        });
        let at_ends = [0, 1].map(|end| at_ends[0][end] + at_ends[1][end]);
        *self = Self { count, min, max, at_ends, ..*self };
    }
}

/// Adds statistics that arrive in any order in the order of their positions.
#[derive(Default)]
pub(crate) struct InOrder {
    pub(crate) sum: PixelStatistics,
    /// The first position that has not arrived.
    pub(crate) next: usize,
    early: BTreeMap<usize, Option<PixelStatistics>>,
}

impl InOrder {
    /// Takes the statistics at a position; `None` for an unreadable image.
    pub(crate) fn put(&mut self, place: usize, measured: Option<PixelStatistics>) -> Result<(), DataError> {
        self.early.insert(place, measured);
        while let Some(measured) = self.early.remove(&self.next) {
            self.next += 1;
            measured.map_or(Ok(()), |measured| self.sum.add(measured))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(data: Vec<f32>, channels: usize) -> PixelStatistics {
        PixelStatistics::of(&Image::new(1, data.len() / channels, channels, data).unwrap().into())
    }

    #[test]
    fn bytes_are_exact() {
        let image = |data| AnyImage::from(Image::<u8>::new(1, 2, 3, data).unwrap());
        let mut pixels = PixelStatistics::of(&image(vec![0, 255, 10, 0, 255, 20]));
        pixels.add(PixelStatistics::of(&image(vec![255, 255, 30, 255, 255, 40]))).unwrap();
        assert_eq!((pixels.mean(), &pixels.std()[..2]), (vec![127.5, 255.0, 25.0], &[127.5, 0.0][..]));
        assert!((pixels.std()[2] - 125_f64.sqrt()).abs() < 1e-13);
        assert_eq!(pixels.ranges()[2], (10.0, 40.0));
        assert_eq!((pixels.images, pixels.channels()), (2, 3));
        assert!(PixelStatistics::default().mean().is_empty());
    }

    #[test]
    fn parts_add_up_to_the_whole_and_what_is_no_number_is_left_out() {
        let numbers: Vec<f32> = (0..600).map(|i| 30000.0 + ((i * 7919) % 1009) as f32 / 16.0).collect();
        let whole = of(numbers.clone(), 2);
        let mut parts = of(numbers[..130].to_vec(), 2);
        parts.add(of(vec![f32::NAN, f32::INFINITY], 2)).unwrap();
        parts.add(of(numbers[130..].to_vec(), 2)).unwrap();
        assert_eq!((parts.images, parts.missing, whole.missing), (3, 2, 0));
        assert_eq!(parts.ranges(), whole.ranges());
        assert_eq!(parts.saturated(), whole.saturated());
        assert_eq!((parts.missing_share(), whole.missing_share()), (2.0 / 602.0, 0.0));
        let mut cut_off = of(vec![7.0, 1.0, 7.0, 2.0, 3.0, 2.0, f32::NAN, 0.0], 2);
        assert_eq!(cut_off.saturated(), [0.0, 0.5], "two different numbers, three");
        cut_off.add(of(vec![7.0, 5.0, 4.0, 1.0], 2)).unwrap();
        assert_eq!(cut_off.saturated(), [0.6, 0.0], "the largest of the second occurs once");
        for (part, whole) in [(parts.mean(), whole.mean()), (parts.std(), whole.std())] {
            assert!(part.iter().zip(&whole).all(|(a, b)| (a - b).abs() < 1e-9), "{part:?} {whole:?}");
        }
        assert!(parts.add(of(vec![1.0], 1)).unwrap_err().to_string().contains("is 1, but must be 2"));
    }

    #[test]
    fn windows_of_all_of_an_image_are_the_image() {
        let shapes = crate::Shapes::new(0, 9, (16, 24)).unwrap();
        let measure = |window| {
            let indices: Vec<usize> = (0..9).collect();
            PixelStatistics::measure(&shapes, &indices, window, 2, |_, _| {}).unwrap()
        };
        assert_eq!(measure(Some(24)), measure(None));
        let part = measure(Some(7));
        assert_eq!(part.channels[0].count, 9.0 * 49.0);
        assert_ne!(part.mean(), measure(None).mean());
    }

    #[test]
    fn threads_change_nothing() {
        let shapes = crate::Shapes::new(0, 40, (16, 16)).unwrap();
        let indices: Vec<usize> = (0..40).rev().collect();
        let measure =
            |threads| PixelStatistics::measure(&shapes, &indices, None, threads, |_, _| {}).unwrap();
        assert_eq!(measure(1), measure(7));
        assert_eq!(measure(1).images, 40);
        let error = PixelStatistics::measure(&shapes, &[99, 98], None, 2, |_, _| {}).unwrap_err();
        assert!(error.to_string().contains("no image 99"), "{error}");
    }
}
