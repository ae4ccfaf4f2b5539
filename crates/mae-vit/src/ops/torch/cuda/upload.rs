//! Uploads of image batches, which overlap with computation.

use std::sync::Arc;

use cudarc::driver::result::memcpy_htod_async;
use cudarc::driver::{CudaContext, CudaEvent, CudaStream, DriverError, PinnedHostSlice};
use tch::{Device, Kind, Tensor};

use super::address::address;

/// The maximum number of uploads of one size in flight.
const SLOTS: usize = 2;
/// The maximum number of uploads of all sizes in flight.
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

/// Host and card memory for one upload.
struct Slot {
    pinned: PinnedHostSlice<u8>,
    staged: Tensor,
    /// Recorded after the copy to the card.
    copied: CudaEvent,
    /// Recorded after the last read on the card.
    consumed: CudaEvent,
}

impl Uploads {
    /// Copies bytes to the card of `context`, and converts them to f32 on its default stream.
    pub(super) fn upload(
        &mut self,
        (context, default): (&Arc<CudaContext>, &CudaStream),
        bytes: &[u8],
        shape: &[i64],
        device: Device,
    ) -> Result<Tensor, DriverError> {
        let of_that_size = |slot: &Slot| slot.pinned.len() == bytes.len();
        if self.slots.iter().filter(|slot| of_that_size(slot)).count() < SLOTS {
            self.add_slot((context, default), bytes.len(), device)?;
        }
        let oldest = self.slots.iter().position(of_that_size).expect("there are some");
        let mut slot = self.slots.remove(oldest);
        slot.copied.synchronize()?;
        slot.pinned.as_mut_slice()?.copy_from_slice(bytes);
        self.stream.wait(&slot.consumed)?;
        let (to, stream) = (address(&slot.staged, Kind::Uint8), self.stream.cu_stream());
        #[allow(unsafe_code, reason = "it takes an address")]
        // SAFETY: both have `bytes.len()` bytes, and neither is touched or freed before the event recorded next.
        unsafe {
            memcpy_htod_async(to, slot.pinned.as_slice()?, stream)?;
        }
        slot.copied = self.stream.record_event(None)?;
        default.wait(&slot.copied)?;
        let out = slot.staged.view(shape).to_kind(Kind::Float);
        slot.consumed = default.record_event(None)?;
        self.slots.push(slot);
        Ok(out)
    }

    fn add_slot(
        &mut self,
        (context, default): (&Arc<CudaContext>, &CudaStream),
        len: usize,
        device: Device,
    ) -> Result<(), DriverError> {
        if self.slots.len() >= MAX_SLOTS {
            // The slots are for sizes that no longer come.
            context.synchronize()?;
            self.slots.clear();
        }
        #[allow(unsafe_code, reason = "it holds no bytes yet")]
        // SAFETY: it is written before it is read.
        let pinned = unsafe { context.alloc_pinned(len)? };
        let staged = Tensor::empty([len as i64], (Kind::Uint8, device));
        // PyTorch's allocator hands out memory that work on its own stream may still be using.
        context.synchronize()?;
        let [copied, consumed] = [self.stream.record_event(None)?, default.record_event(None)?];
        self.slots.push(Slot { pinned, staged, copied, consumed });
        Ok(())
    }
}
