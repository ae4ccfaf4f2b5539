//! The loader's worker threads: they make samples and put them into their batches.

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

/// The maximum number of images drawn as substitutes for a bad one. Ours: if half of the data set is bad, one bad image
/// in 10¹² finds no substitute; if all of it is bad, this is found soon.
const SUBSTITUTES: usize = 40;

/// Everything that determines a sample, except its index.
pub(crate) struct Work {
    pub(crate) source: Arc<dyn ImageSource>,
    pub(crate) transform: Arc<dyn Transform>,
    pub(crate) policy: BadFilePolicy,
    pub(crate) pixels: PixelFormat,
    pub(crate) repeats: usize,
    pub(crate) seed: u64,
    pub(crate) epoch: u64,
}

/// Buffers that a thread reuses from image to image.
#[derive(Default)]
struct Memory {
    pixels: Vec<u8>,
    resizing: Scratch,
    /// The pixel classes of the last samples, `[repeats, H, W]`.
    maps: Vec<u16>,
}

/// One image to make samples of.
pub(crate) struct Task {
    pub(crate) batch: Arc<Filling>,
    pub(crate) place: usize,
    /// The memory of the slot `place`.
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

    /// Processes `tasks` until there are no more or `stopped` is set.
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

    /// Fills `place`, `[repeats, C, H, W]`, with the samples of image `wanted` or of a substitute.
    ///
    /// A substitute is any image of the data set, drawn from the random stream of the wanted image. Its view is the one
    /// that it has at its own position in the same epoch, so a sample stays a function of (seed, pass, delivered
    /// index).
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
                    // Substituting another image does not help if a label map is wrong.
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

    /// The pass over the data set of the i-th samples of this epoch.
    pub(crate) fn pass(&self, i: usize) -> u64 {
        self.epoch.wrapping_mul(self.repeats as u64).wrapping_add(i as u64)
    }

    /// Makes the samples of an image and returns their shape and type. Fills `place` if these are the expected ones. A
    /// panic, such as of a decoder on hostile bytes, becomes an error.
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
            // A panic may have left the buffers half updated.
            *memory = Memory::default();
        }
        sampled
    }

    /// The view of each sample of image `index`, of size `(height, width)`, together with the sample's random generator
    /// after drawing the view. `None` if the transform has no views.
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

    /// Decodes the area that the views show and cuts them out of it. Writes them directly to their slots if the
    /// transform has nothing left to do.
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

    /// Transforms an image `repeats` times.
    fn apply(&self, index: usize, image: AnyImage, place: &mut [u8]) -> Result<Made, DataError> {
        let expected = self.expected();
        // The last repetition takes the image itself, so a single sample copies nothing.
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

    /// Transforms an image and its label map `repeats` times.
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
        // For a single sample, only the visible part is decoded; for several, the whole image.
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

/// The shape of a sample, `[C, H, W]`, and its pixel type.
type Made = ([usize; 3], PixelType);

fn made_of(image: &AnyImage) -> Made {
    ([image.channels(), image.height(), image.width()], image.pixel_type())
}

/// Calls `f` and returns a panic as an error that names the image.
pub(crate) fn without_panic<T>(
    name: impl FnOnce() -> String,
    f: impl FnOnce() -> Result<T, DataError>,
) -> Result<T, DataError> {
    // State that a panic leaves half updated is dropped here, except that of the source, which is responsible for it.
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|panic| {
        Err(DataError::Panic { name: name(), message: panic_message(&*panic).to_owned() })
    })
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}
