//! Uploads of image batches, which overlap with computation.

use std::sync::{Arc, PoisonError};

use cudarc::driver::result::memcpy_htod_async;
use cudarc::driver::{CudaContext, CudaEvent, CudaStream, DriverError, PinnedHostSlice};
use tch::{Device, Kind, Tensor};

use super::{Card, address};

/// Uploads of one size that may be in flight.
const SLOTS: usize = 2;
/// Uploads of all sizes that may be in flight.
const MAX_SLOTS: usize = 8;

/// A stream for uploads, so that they overlap with what the default stream computes.
pub(super) struct Uploads {
    stream: Arc<CudaStream>,
    /// Least recently used first.
    slots: Vec<Slot>,
}

impl Uploads {
    pub(super) fn new(context: &Arc<CudaContext>) -> Result<Self, DriverError> {
        Ok(Self { stream: context.new_stream()?, slots: Vec::new() })
    }
}

/// The host's and the card's memory for one upload.
struct Slot {
    pinned: PinnedHostSlice<u8>,
    staged: Tensor,
    /// Recorded after the copy to the card.
    copied: CudaEvent,
    /// Recorded after the last read on the card.
    consumed: CudaEvent,
}

impl Card {
    /// Copies bytes to the card and converts them to f32 there. `None` if pinned memory or an event cannot be had.
    pub(in crate::ops::torch) fn upload_bytes(
        &self,
        bytes: &[u8],
        shape: &[i64],
        device: Device,
    ) -> Option<Tensor> {
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        self.upload(&mut uploads, bytes, shape, device).ok()
    }

    fn upload(
        &self,
        uploads: &mut Uploads,
        bytes: &[u8],
        shape: &[i64],
        device: Device,
    ) -> Result<Tensor, DriverError> {
        let of_that_size = |slot: &Slot| slot.pinned.len() == bytes.len();
        if uploads.slots.iter().filter(|slot| of_that_size(slot)).count() < SLOTS {
            self.add_slot(uploads, bytes.len(), device)?;
        }
        let oldest = uploads.slots.iter().position(of_that_size).expect("there are some");
        let mut slot = uploads.slots.remove(oldest);
        slot.copied.synchronize()?;
        slot.pinned.as_mut_slice()?.copy_from_slice(bytes);
        uploads.stream.wait(&slot.consumed)?;
        let (to, stream) = (address(&slot.staged, Kind::Uint8), uploads.stream.cu_stream());
        #[allow(unsafe_code, reason = "it takes an address")]
        // SAFETY: both have as many bytes, and neither is touched or freed before the event that is recorded next.
        unsafe {
            memcpy_htod_async(to, slot.pinned.as_slice()?, stream)?;
        }
        slot.copied = uploads.stream.record_event(None)?;
        self.stream.wait(&slot.copied)?;
        let out = slot.staged.view(shape).to_kind(Kind::Float);
        slot.consumed = self.stream.record_event(None)?;
        uploads.slots.push(slot);
        Ok(out)
    }

    fn add_slot(&self, uploads: &mut Uploads, len: usize, device: Device) -> Result<(), DriverError> {
        if uploads.slots.len() >= MAX_SLOTS {
            // Of sizes that no longer come.
            self.context.synchronize()?;
            uploads.slots.clear();
        }
        #[allow(unsafe_code, reason = "it holds no bytes yet")]
        // SAFETY: it is written before it is read.
        let pinned = unsafe { self.context.alloc_pinned(len)? };
        let staged = Tensor::empty([len as i64], (Kind::Uint8, device));
        // PyTorch gives out memory that work on its own stream may still be using.
        self.context.synchronize()?;
        let [copied, consumed] = [uploads.stream.record_event(None)?, self.stream.record_event(None)?];
        uploads.slots.push(Slot { pinned, staged, copied, consumed });
        Ok(())
    }
}
