//! A batch, and how several threads fill it.

use std::sync::{Mutex, PoisonError};

use bytes::BytesMut;
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::{DataError, PixelType};

/// A batch of samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Pixel values `[B, C, H, W]` as bytes in native byte order.
    pub images: Vec<u8>,
    /// The pixel type; a `U8` value is one byte.
    pub pixel_type: PixelType,
    /// `[B, C, H, W]`.
    pub shape: [usize; 4],
    /// The index of each sample's image in the data set. For a bad file, it is the index of its substitute.
    pub indices: Vec<usize>,
    /// The pass over the data set for which each sample was drawn. A sample is a function of its pass and its index.
    /// The pass is the epoch, unless the loader makes several samples of each image.
    pub passes: Vec<u64>,
    /// The classes of the images, if every image has exactly one.
    pub labels: Option<Vec<u32>>,
    /// The classes of the pixels, `[B, H, W]`, if the images have label maps and the transform [uses
    /// them](crate::Transform::joint). Pixels that do not count are [`IGNORE`](crate::IGNORE).
    pub maps: Option<Vec<u16>>,
}

impl Batch {
    /// The samples as (pass, index), the key of a sample's random numbers. `mae_masking::Masker::draw_batch` takes
    /// them.
    pub fn samples(&self) -> impl Iterator<Item = (u64, usize)> {
        self.passes.iter().copied().zip(self.indices.iter().copied())
    }
}

/// The result of filling one slot of a batch, which holds the samples of one image.
pub(crate) struct Outcome {
    /// The images that were tried and are bad.
    pub(crate) bad: Vec<(usize, DataError)>,
    /// The index of the image that fills the slot.
    pub(crate) index: Result<usize, DataError>,
    /// The pixel classes of its samples, `[repeats, H, W]`; empty if the transform does not use label maps.
    pub(crate) maps: Vec<u16>,
}

/// A batch whose slots have all been returned.
pub(crate) struct Filled {
    /// `[B, C, H, W]`.
    pub(crate) images: Vec<u8>,
    /// The outcome of each slot.
    pub(crate) outcomes: Vec<Outcome>,
}

/// A batch that is being filled, in any order.
pub(crate) struct Filling {
    state: Mutex<State>,
    done: Sender<Filled>,
}

struct State {
    places: Vec<Option<(BytesMut, Outcome)>>,
    missing: usize,
}

impl Filling {
    /// Creates a batch of `places` slots of `sample_bytes` bytes. Returns it, the memory of each slot, and the channel
    /// that receives the filled batch.
    pub(crate) fn new(places: usize, sample_bytes: usize) -> (Self, Vec<BytesMut>, Receiver<Filled>) {
        let (done, filled) = bounded(1);
        // One contiguous buffer: each thread writes into its own slots without a lock.
        let mut images = BytesMut::zeroed(places * sample_bytes);
        let memory = (0..places).map(|_| images.split_to(sample_bytes)).collect();
        let state = State { places: (0..places).map(|_| None).collect(), missing: places };
        (Self { state: Mutex::new(state), done }, memory, filled)
    }

    /// Returns a slot, filled unless no image could be found for it.
    pub(crate) fn put(&self, place: usize, bytes: BytesMut, outcome: Outcome) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.places[place] = Some((bytes, outcome));
        state.missing -= 1;
        if state.missing == 0 {
            let places = std::mem::take(&mut state.places).into_iter().flatten();
            let (mut images, mut outcomes) = (BytesMut::new(), Vec::with_capacity(places.size_hint().0));
            for (bytes, outcome) in places {
                images.unsplit(bytes);
                outcomes.push(outcome);
            }
            // Fails if nobody waits for the batch any more.
            let _ = self.done.send(Filled { images: images.into(), outcomes });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_joined_without_a_copy() {
        let (filling, places, filled) = Filling::new(5, 1000);
        let first = places[0].as_ptr();
        let mut places: Vec<_> = places.into_iter().enumerate().collect();
        places.swap(0, 3);
        for (place, mut bytes) in places {
            bytes.fill(place as u8);
            filling.put(place, bytes, Outcome { bad: Vec::new(), index: Ok(place), maps: Vec::new() });
        }
        let filled = filled.recv().unwrap();
        assert_eq!(filled.images.as_ptr(), first);
        assert_eq!(filled.images, (0..5).flat_map(|place| [place; 1000]).collect::<Vec<u8>>());
    }
}
