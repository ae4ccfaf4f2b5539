//! What a loader's threads do: make one sample after another and put each into its batch.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::Receiver;

use crate::batch::{Filling, Outcome};
use crate::{BadFilePolicy, DataError, Image, ImageSource, Transform, below, sample_rng};

/// How many images are drawn to take the place of a bad one. Ours: if half of the data set is bad, one bad image in
/// 10¹² finds no substitute; if all of it is, that is soon found out.
const SUBSTITUTES: usize = 40;

/// Everything that decides what a sample is, besides its index.
pub(crate) struct Work {
    pub(crate) source: Arc<dyn ImageSource>,
    pub(crate) transform: Arc<dyn Transform>,
    pub(crate) policy: BadFilePolicy,
    pub(crate) channels: usize,
    pub(crate) repeats: usize,
    pub(crate) seed: u64,
    pub(crate) epoch: u64,
}

/// One image to make samples of.
pub(crate) struct Task {
    pub(crate) batch: Arc<Filling>,
    pub(crate) place: usize,
    pub(crate) index: usize,
}

impl Work {
    /// `[C, H, W]`.
    pub(crate) fn sample_shape(&self) -> [usize; 3] {
        let (height, width) = self.transform.output_size();
        [self.channels, height, width]
    }

    /// Sees to `tasks` until there are no more or `stopped` is set.
    pub(crate) fn run(&self, tasks: &Receiver<Task>, stopped: &AtomicBool) {
        for Task { batch, place, index } in tasks {
            if stopped.load(Ordering::Relaxed) {
                return;
            }
            let (outcome, bytes) = self.make(index);
            batch.put(place, &bytes, outcome);
        }
    }

    /// What takes the place of image `wanted`: its samples' bytes, `[repeats, C, H, W]`.
    ///
    /// A substitute is any image of the data set, drawn from the wanted image's own stream. It is seen as it is in
    /// its own place of the same epoch, so that a sample stays a function of (seed, pass, delivered index).
    fn make(&self, wanted: usize) -> (Outcome, Vec<u8>) {
        let mut draws = sample_rng(self.seed, self.pass(0), wanted as u64);
        let mut bad: Vec<(usize, DataError)> = Vec::new();
        let mut index = wanted;
        for _ in 0..=SUBSTITUTES {
            if !bad.iter().any(|&(known, _)| known == index) {
                match self.views(index) {
                    Ok(images) => {
                        let checked = images.iter().try_for_each(|image| self.check(index, image));
                        return match checked {
                            Ok(()) => {
                                (Outcome { bad, index: Ok(index) }, images.iter().flat_map(planes).collect())
                            }
                            Err(error) => (Outcome { bad, index: Err(error) }, Vec::new()),
                        };
                    }
                    Err(error) if self.policy == BadFilePolicy::Strict => {
                        return (Outcome { bad, index: Err(error) }, Vec::new());
                    }
                    Err(error) => bad.push((index, error)),
                }
                if self.policy.exceeded_by(bad.len(), self.source.len()).is_some() {
                    break;
                }
            }
            index = below(&mut draws, self.source.len() as u64) as usize;
        }
        let error = DataError::NoSubstitute { name: self.source.name(wanted), tried: bad.len() };
        (Outcome { bad, index: Err(error) }, Vec::new())
    }

    /// The pass over the data set that the i-th samples of this epoch belong to.
    pub(crate) fn pass(&self, i: usize) -> u64 {
        self.epoch.wrapping_mul(self.repeats as u64).wrapping_add(i as u64)
    }

    /// Loads an image and transforms it as often as it is wanted. A panic on the way, as of a decoder on hostile bytes,
    /// is an error.
    fn views(&self, index: usize) -> Result<Vec<Image>, DataError> {
        let name = || self.source.name(index);
        without_panic(name, || {
            let image = self.source.load(index)?;
            // The last one takes the image itself: where there is only one, nothing is copied.
            let images = std::iter::repeat_n(image, self.repeats).enumerate();
            let view = |(i, image)| {
                self.transform.apply(image, &mut sample_rng(self.seed, self.pass(i), index as u64))
            };
            Ok(images.map(view).collect())
        })
    }

    fn check(&self, index: usize, image: &Image) -> Result<(), DataError> {
        let expected = self.sample_shape();
        let actual = [image.channels(), image.height(), image.width()];
        if actual == expected {
            return Ok(());
        }
        Err(DataError::SampleShape { name: self.source.name(index), actual, expected })
    }
}

/// `[H, W, C]` to `[C, H, W]`.
fn planes(image: &Image) -> Vec<u8> {
    let (channels, pixels) = (image.channels(), image.height() * image.width());
    let mut planes = vec![0; channels * pixels];
    for (channel, plane) in planes.chunks_exact_mut(pixels).enumerate() {
        for (byte, pixel) in plane.iter_mut().zip(image.data().chunks_exact(channels)) {
            *byte = pixel[channel];
        }
    }
    planes
}

/// What `f` makes of the image called `name`; if it panics, an error.
pub(crate) fn without_panic<T>(
    name: impl FnOnce() -> String,
    f: impl FnOnce() -> Result<T, DataError>,
) -> Result<T, DataError> {
    // What a panic leaves half done is dropped here, but for the source's own state, which is its own business.
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|panic| {
        Err(DataError::Panic { name: name(), message: panic_message(&*panic).to_owned() })
    })
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_keep_rows_and_columns() {
        let pixels = vec![1, 101, 2, 102, 3, 103, 4, 104, 5, 105, 6, 106];
        let image = Image::new(2, 3, 2, pixels).unwrap();
        assert_eq!(planes(&image), [1, 2, 3, 4, 5, 6, 101, 102, 103, 104, 105, 106]);
    }
}
