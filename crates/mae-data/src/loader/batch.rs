//! A batch, and how several threads fill one.

use std::sync::{Mutex, PoisonError};

use bytes::BytesMut;
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::{DataError, PixelType};

/// Images that are handed to a model together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The numbers, `[B, C, H, W]`, each image plane by plane, as bytes in the machine's order.
    pub images: Vec<u8>,
    /// The numbers' type: of `U8` each is a byte.
    pub pixel_type: PixelType,
    /// `[B, C, H, W]`.
    pub shape: [usize; 4],
    /// The samples' images, by their index in the data set; in the place of a bad file, that of the image which stands
    /// in for it.
    pub indices: Vec<usize>,
    /// The pass over the data set that each sample was drawn for: with its index, what it is a function of. It is the
    /// epoch, unless the loader makes several samples of each image.
    pub passes: Vec<u64>,
    /// The images' classes, if every one of them has one.
    pub labels: Option<Vec<u32>>,
    /// The classes of the pixels, `[B, H, W]`, of images with label maps if the transform [takes them](crate::Transform::joint);
    /// [`IGNORE`](crate::IGNORE) where a pixel counts nowhere.
    pub maps: Option<Vec<u16>>,
}

impl Batch {
    /// The samples as (pass, index), which random numbers of a sample are keyed by: `mae_masking::Masker::draw_batch` takes them.
    pub fn samples(&self) -> impl Iterator<Item = (u64, usize)> {
        self.passes.iter().copied().zip(self.indices.iter().copied())
    }
}

/// What became of one image's place in a batch.
pub(crate) struct Outcome {
    /// The images that were tried and are bad.
    pub(crate) bad: Vec<(usize, DataError)>,
    /// The index of the image that takes the place.
    pub(crate) index: Result<usize, DataError>,
    /// The classes of its samples' pixels, `[repeats, H, W]`; empty if the transform takes none.
    pub(crate) maps: Vec<u16>,
}

/// A batch every place of which has been seen to.
pub(crate) struct Filled {
    /// `[B, C, H, W]`.
    pub(crate) images: Vec<u8>,
    /// By place.
    pub(crate) outcomes: Vec<Outcome>,
}

/// A batch that is being filled, in whatever order its samples are made.
pub(crate) struct Filling {
    state: Mutex<State>,
    done: Sender<Filled>,
}

struct State {
    places: Vec<Option<(BytesMut, Outcome)>>,
    missing: usize,
}

impl Filling {
    /// A batch of `places` images whose samples have `sample_bytes` together, the memory of each place, and where the
    /// batch arrives once it is filled.
    pub(crate) fn new(places: usize, sample_bytes: usize) -> (Self, Vec<BytesMut>, Receiver<Filled>) {
        let (done, filled) = bounded(1);
        // One piece of memory: every thread writes into its own places without a lock.
        let mut images = BytesMut::zeroed(places * sample_bytes);
        let memory = (0..places).map(|_| images.split_to(sample_bytes)).collect();
        let state = State { places: (0..places).map(|_| None).collect(), missing: places };
        (Self { state: Mutex::new(state), done }, memory, filled)
    }

    /// Gives a place back, filled unless there is no image for it.
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
