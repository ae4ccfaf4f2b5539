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
    AnyImage, BadFilePolicy, Crop, DataError, Encoded, ImageSource, JointTransform, PixelFormat, PixelType,
    SampleRng, Transform, View, below, sample_rng,
};

/// How many images are drawn to take the place of a bad one. Ours: if half of the data set is bad, one bad image in
/// 10¹² finds no substitute; if all of it is, that is soon found out.
const SUBSTITUTES: usize = 40;

/// Everything that decides what a sample is, besides its index.
pub(crate) struct Work {
    pub(crate) source: Arc<dyn ImageSource>,
    pub(crate) transform: Arc<dyn Transform>,
    pub(crate) policy: BadFilePolicy,
    pub(crate) pixels: PixelFormat,
    pub(crate) repeats: usize,
    pub(crate) seed: u64,
    pub(crate) epoch: u64,
}

/// What a thread keeps from one image to the next.
#[derive(Default)]
struct Memory {
    pixels: Vec<u8>,
    resizing: Scratch,
    /// The classes of the pixels of the samples that were made last, `[repeats, H, W]`.
    maps: Vec<u16>,
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
        [self.pixels.channels(), height, width]
    }

    pub(crate) fn sample_bytes(&self) -> usize {
        self.sample_shape().iter().product::<usize>() * self.pixels.pixel_type().bytes()
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
                    Ok(made) => {
                        let maps = std::mem::take(&mut memory.maps);
                        return Outcome { bad, index: self.check(index, made).map(|()| index), maps };
                    }
                    // No other image can stand in for a label map that is wrong.
                    Err(error) if self.policy == BadFilePolicy::Strict || error.is_of_label_maps() => {
                        return Outcome { bad, index: Err(error), maps: Vec::new() };
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
        Outcome { bad, index: Err(error), maps: Vec::new() }
    }

    /// The pass over the data set that the i-th samples of this epoch belong to.
    pub(crate) fn pass(&self, i: usize) -> u64 {
        self.epoch.wrapping_mul(self.repeats as u64).wrapping_add(i as u64)
    }

    /// Makes the samples of an image and returns what they are: `place` is filled if that is what they should be. A panic on the way, as of a decoder on hostile bytes, is an error.
    fn sample(&self, index: usize, place: &mut [u8], memory: &mut Memory) -> Result<Made, DataError> {
        let sampled = without_panic(
            || self.source.name(index),
            || {
                let image = self.source.open(index)?;
                if let Some(joint) = self.transform.joint() {
                    return self.jointly(joint, index, image, place, &mut memory.maps);
                }
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
    ) -> Result<Made, DataError> {
        let seen = views.iter().map(|(view, _)| view.visible()).reduce(Crop::around);
        let seen = seen.expect("every image has at least one sample");
        let part = image.decode_part(seen, std::mem::take(&mut memory.pixels))?;
        let [_, height, width] = self.sample_shape();
        let made = ([part.pixels.channels(), height, width], part.pixels.pixel_type());
        if made == self.expected() {
            let samples = place.chunks_exact_mut(self.sample_bytes());
            for ((view, mut rng), sample) in views.into_iter().zip(samples) {
                if self.transform.finishes() {
                    let image = self.transform.finish(view.cut(&part), &mut rng);
                    let finished = made_of(&image);
                    if finished != made {
                        return Ok(finished);
                    }
                    image.write_planes(sample);
                } else {
                    view.cut_planes(&part, &mut memory.resizing, sample);
                }
            }
        }
        if let AnyImage::U8(pixels) = part.pixels {
            memory.pixels = pixels.into_data();
        }
        Ok(made)
    }

    /// Transforms an image as often as it is wanted.
    fn apply(&self, index: usize, image: AnyImage, place: &mut [u8]) -> Result<Made, DataError> {
        let expected = self.expected();
        // The last one takes the image itself: where there is only one, nothing is copied.
        let images = std::iter::repeat_n(image, self.repeats).enumerate();
        for ((i, image), sample) in images.zip(place.chunks_exact_mut(self.sample_bytes())) {
            let image = self.transform.apply(image, &mut self.rng(i, index));
            let made = made_of(&image);
            if made != expected {
                return Ok(made);
            }
            image.write_planes(sample);
        }
        Ok(expected)
    }

    /// Transforms an image and its label map as often as they are wanted.
    fn jointly(
        &self,
        joint: &dyn JointTransform,
        index: usize,
        image: Encoded,
        place: &mut [u8],
        maps: &mut Vec<u16>,
    ) -> Result<Made, DataError> {
        let name = || self.source.name(index);
        let map =
            self.source.label_map(index, &image)?.ok_or_else(|| DataError::NoLabelMap { name: name() })?;
        let (expected, size) = (self.expected(), self.transform.output_size());
        // One sample decodes what it sees, several all.
        let images: Vec<Encoded> = match self.repeats {
            1 => vec![image],
            repeats => std::iter::repeat_n(image.decode()?, repeats).map(Encoded::from).collect(),
        };
        maps.clear();
        maps.reserve_exact(self.repeats * size.0 * size.1);
        for ((i, image), sample) in
            images.into_iter().enumerate().zip(place.chunks_exact_mut(self.sample_bytes()))
        {
            let (image, seen) = joint.apply_both(image, &map, &mut self.rng(i, index))?;
            let made = made_of(&image);
            if made != expected {
                return Ok(made);
            }
            if seen.size() != size {
                let (actual, expected) = ([1, seen.height(), seen.width()], [1, size.0, size.1]);
                return Err(DataError::SampleShape { name: name(), actual, expected });
            }
            image.write_planes(sample);
            maps.extend_from_slice(seen.labels());
        }
        Ok(expected)
    }

    fn expected(&self) -> Made {
        (self.sample_shape(), self.pixels.pixel_type())
    }

    fn check(&self, index: usize, (actual, found): Made) -> Result<(), DataError> {
        let (name, (expected, pixel_type)) = (|| self.source.name(index), self.expected());
        if actual != expected {
            return Err(DataError::SampleShape { name: name(), actual, expected });
        }
        if found != pixel_type {
            return Err(DataError::SampleType { name: name(), actual: found, expected: pixel_type });
        }
        Ok(())
    }
}

/// What a sample is: `[C, H, W]`, and the type of its numbers.
type Made = ([usize; 3], PixelType);

fn made_of(image: &AnyImage) -> Made {
    ([image.channels(), image.height(), image.width()], image.pixel_type())
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
