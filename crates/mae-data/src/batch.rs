//! A batch, and how several threads fill one.

use std::sync::{Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::DataError;

/// Images that are handed to a model together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The bytes, `[B, C, H, W]`: each image plane by plane.
    pub images: Vec<u8>,
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
}

/// What became of one image's place in a batch.
pub(crate) struct Outcome {
    /// The images that were tried and are bad.
    pub(crate) bad: Vec<(usize, DataError)>,
    /// The index of the image that takes the place.
    pub(crate) index: Result<usize, DataError>,
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
    images: Vec<u8>,
    outcomes: Vec<Option<Outcome>>,
    missing: usize,
}

impl Filling {
    /// A batch of `places` images whose samples have `sample_bytes` together, and where it arrives once it is filled.
    pub(crate) fn new(places: usize, sample_bytes: usize) -> (Self, Receiver<Filled>) {
        let (done, filled) = bounded(1);
        let outcomes = std::iter::repeat_with(|| None).take(places).collect();
        let state = State { images: vec![0; places * sample_bytes], outcomes, missing: places };
        (Self { state: Mutex::new(state), done }, filled)
    }

    /// Puts the bytes of an image's samples into its place: none where there is no image for it.
    pub(crate) fn put(&self, place: usize, bytes: &[u8], outcome: Outcome) {
        // Only copying is done under the lock, some microseconds for an image that took milliseconds to decode.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.images[place * bytes.len()..][..bytes.len()].copy_from_slice(bytes);
        state.outcomes[place] = Some(outcome);
        state.missing -= 1;
        if state.missing == 0 {
            let images = std::mem::take(&mut state.images);
            let outcomes = std::mem::take(&mut state.outcomes).into_iter().flatten().collect();
            // Fails if nobody waits for the batch any more.
            let _ = self.done.send(Filled { images, outcomes });
        }
    }
}
