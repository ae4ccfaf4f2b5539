//! What a loader's threads do: make one sample after another and put each into its batch.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::BytesMut;
use crossbeam_channel::Receiver;

use crate::loader::bad::reason;
use crate::loader::batch::{Filling, Outcome};
use crate::transform::resize::Scratch;
use crate::{
    BadFilePolicy, Crop, DataError, Encoded, Image, ImageSource, SampleRng, Transform, View, below,
    sample_rng,
};

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

/// What a thread keeps from one image to the next.
#[derive(Default)]
struct Memory {
    pixels: Vec<u8>,
    resizing: Scratch,
}

/// One image to make samples of.
pub(crate) struct Task {
    pub(crate) batch: Arc<Filling>,
    pub(crate) place: usize,
    /// The place's memory.
    pub(crate) bytes: BytesMut,
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
        let mut memory = Memory::default();
        for Task { batch, place, mut bytes, index } in tasks {
            if stopped.load(Ordering::Relaxed) {
                return;
            }
            let outcome = self.make(index, &mut bytes, &mut memory);
            batch.put(place, bytes, outcome);
        }
    }

    /// Fills `place`, `[repeats, C, H, W]`, with the samples of image `wanted`, or of what takes its place.
    ///
    /// A substitute is any image of the data set, drawn from the wanted image's own stream. It is seen as it is in
    /// its own place of the same epoch, so that a sample stays a function of (seed, pass, delivered index).
    fn make(&self, wanted: usize, place: &mut [u8], memory: &mut Memory) -> Outcome {
        let mut draws = sample_rng(self.seed, self.pass(0), wanted);
        let mut bad: Vec<(usize, DataError)> = Vec::new();
        let mut index = wanted;
        for _ in 0..=SUBSTITUTES {
            if !bad.iter().any(|&(known, _)| known == index) {
                match self.sample(index, place, memory) {
                    Ok(shape) => return Outcome { bad, index: self.check(index, shape).map(|()| index) },
                    Err(error) if self.policy == BadFilePolicy::Strict => {
                        return Outcome { bad, index: Err(error) };
                    }
                    Err(error) => bad.push((index, error)),
                }
                if self.policy.exceeded_by(bad.len(), self.source.len()).is_some() {
                    break;
                }
            }
            index = below(&mut draws, self.source.len() as u64) as usize;
        }
        let reason = bad.first().map_or_else(String::new, |(_, error)| reason(error));
        let error = DataError::NoSubstitute { reason, others: bad.len().saturating_sub(1) };
        Outcome { bad, index: Err(error) }
    }

    /// The pass over the data set that the i-th samples of this epoch belong to.
    pub(crate) fn pass(&self, i: usize) -> u64 {
        self.epoch.wrapping_mul(self.repeats as u64).wrapping_add(i as u64)
    }

    /// Makes the samples of an image and returns their shape, `[C, H, W]`: `place` is filled if that is the shape
    /// that it should be. A panic on the way, as of a decoder on hostile bytes, is an error.
    fn sample(&self, index: usize, place: &mut [u8], memory: &mut Memory) -> Result<[usize; 3], DataError> {
        let sampled = without_panic(
            || self.source.name(index),
            || {
                let image = self.source.open(index)?;
                match self.views(index, image.size()) {
                    Some(views) => self.cut(image, views, place, memory),
                    None => self.apply(index, image.decode()?, place),
                }
            },
        );
        if sampled.is_err() {
            // A panic may have left it half done.
            *memory = Memory::default();
        }
        sampled
    }

    /// What each sample shows of image `index`, of `(height, width)`, if the transform can tell, and what the rest of
    /// its randomness comes from.
    fn views(&self, index: usize, size: (usize, usize)) -> Option<Vec<(View, SampleRng)>> {
        let view = |i| {
            let mut rng = self.rng(i, index);
            self.transform.view(size, &mut rng).map(|view| (view, rng))
        };
        (0..self.repeats).map(view).collect()
    }

    fn rng(&self, i: usize, index: usize) -> SampleRng {
        sample_rng(self.seed, self.pass(i), index)
    }

    /// Decodes what the views show and cuts them out of it, right into their places if the transform then is done.
    fn cut(
        &self,
        image: Encoded,
        views: Vec<(View, SampleRng)>,
        place: &mut [u8],
        memory: &mut Memory,
    ) -> Result<[usize; 3], DataError> {
        let seen = views.iter().map(|(view, _)| view.visible()).reduce(Crop::around);
        let seen = seen.expect("every image has at least one sample");
        let part = image.decode_part(seen, std::mem::take(&mut memory.pixels))?;
        let [_, height, width] = self.sample_shape();
        let shape = [part.pixels.channels(), height, width];
        if shape == self.sample_shape() {
            let samples = place.chunks_exact_mut(shape.iter().product());
            for ((view, mut rng), sample) in views.into_iter().zip(samples) {
                if self.transform.finishes() {
                    let image = self.transform.finish(view.cut(&part), &mut rng);
                    let finished = shape_of(&image);
                    if finished != shape {
                        return Ok(finished);
                    }
                    to_planes(&image, sample);
                } else {
                    view.cut_planes(&part, &mut memory.resizing, sample);
                }
            }
        }
        memory.pixels = part.pixels.into_data();
        Ok(shape)
    }

    /// Transforms an image as often as it is wanted.
    fn apply(&self, index: usize, image: Image, place: &mut [u8]) -> Result<[usize; 3], DataError> {
        let expected = self.sample_shape();
        // The last one takes the image itself: where there is only one, nothing is copied.
        let images = std::iter::repeat_n(image, self.repeats).enumerate();
        for ((i, image), sample) in images.zip(place.chunks_exact_mut(expected.iter().product())) {
            let image = self.transform.apply(image, &mut self.rng(i, index));
            let shape = shape_of(&image);
            if shape != expected {
                return Ok(shape);
            }
            to_planes(&image, sample);
        }
        Ok(expected)
    }

    fn check(&self, index: usize, actual: [usize; 3]) -> Result<(), DataError> {
        let expected = self.sample_shape();
        if actual == expected {
            return Ok(());
        }
        Err(DataError::SampleShape { name: self.source.name(index), actual, expected })
    }
}

/// `[C, H, W]`.
fn shape_of(image: &Image) -> [usize; 3] {
    [image.channels(), image.height(), image.width()]
}

/// `[H, W, C]` to `[C, H, W]`.
fn to_planes(image: &Image, planes: &mut [u8]) {
    let (channels, pixels) = (image.channels(), image.height() * image.width());
    for (channel, plane) in planes.chunks_exact_mut(pixels).enumerate() {
        for (byte, pixel) in plane.iter_mut().zip(image.data().chunks_exact(channels)) {
            *byte = pixel[channel];
        }
    }
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
        let mut planes = [0; 12];
        to_planes(&image, &mut planes);
        assert_eq!(planes, [1, 2, 3, 4, 5, 6, 101, 102, 103, 104, 105, 106]);
    }
}
