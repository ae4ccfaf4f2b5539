//! Averages gradients on NVIDIA cards with NCCL.
#![allow(unsafe_code, reason = "NCCL takes addresses")]

use std::collections::VecDeque;
use std::io::Write;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use burn::tensor::Tensor;
use cudarc::driver::{CudaContext, CudaEvent, CudaStream, DriverError};
use mae_vit::ops::CudaMemory;

use crate::collective::{Pending, timeout};
use crate::{Collective, RanksError};

mod library;

use library::{Communicator, Library, UniqueId};

/// Running all-reduces, oldest first: the event that follows each, and its launch time.
type Underway = Mutex<VecDeque<(Arc<CudaEvent>, Instant)>>;

/// Averages tensors on NVIDIA cards with NCCL; delegates everything else to other ranks.
///
/// NCCL runs on a stream of its own, so that all-reduces overlap with computation. The host does not wait for them.
pub(crate) struct Nccl {
    ranks: Arc<dyn Collective>,
    library: &'static Library,
    communicator: Communicator,
    /// The stream on which libtorch computes.
    default: Arc<CudaStream>,
    stream: Arc<CudaStream>,
    underway: Arc<Underway>,
}

impl Nccl {
    /// Connects the cards of all ranks. `card` is the index of this rank's card on its machine.
    ///
    /// # Errors
    /// [`RanksError::Ranks`] if the NCCL library is not found, or cannot connect the cards within the time limit.
    pub(crate) fn start(ranks: Arc<dyn Collective>, card: usize) -> Result<Self, RanksError> {
        let library = Library::open()?;
        let context = CudaContext::new(card).map_err(driver)?;
        let mut id = Vec::new();
        if ranks.is_main() {
            id = library.unique_id()?.to_vec();
        }
        ranks.broadcast(&mut id)?;
        let id = id.try_into().map_err(|_| RanksError::ranks("the main rank sent no NCCL identifier"))?;
        let communicator = connect(library, &context, id, ranks.rank(), ranks.size(), timeout()?)?;
        let underway = Arc::default();
        watch(ranks.rank(), timeout()?, &underway);
        let (default, stream) = (context.default_stream(), context.new_stream().map_err(driver)?);
        Ok(Self { ranks, library, communicator, default, stream, underway })
    }

    /// Launches the all-reduces of one bucket.
    fn launch(&self, memory: &[CudaMemory]) -> Result<Arc<CudaEvent>, RanksError> {
        // The work that computes the tensors was launched before this event.
        let made = self.default.record_event(None).map_err(driver)?;
        self.stream.wait(&made).map_err(driver)?;
        let stream = self.stream.cu_stream();
        self.library.together(|| {
            memory.iter().try_for_each(|CudaMemory { address, len }| {
                // SAFETY: `len` f32 values lie at `address`, and the pending average keeps the tensors until it is
                // awaited.
                unsafe { self.library.average(*address, *len, self.communicator, stream) }
            })
        })?;
        let done = Arc::new(self.stream.record_event(None).map_err(driver)?);
        let mut underway = self.underway.lock().unwrap_or_else(PoisonError::into_inner);
        underway.push_back((done.clone(), Instant::now()));
        Ok(done)
    }
}

impl Collective for Nccl {
    fn rank(&self) -> usize {
        self.ranks.rank()
    }

    fn size(&self) -> usize {
        self.ranks.size()
    }

    fn local_rank(&self) -> usize {
        self.ranks.local_rank()
    }

    /// Averages on the cards, in the tensors' own memory.
    fn mean(&self, tensors: Vec<Tensor<1>>) -> Result<Pending, RanksError> {
        let owned: Option<Vec<_>> = tensors.into_iter().map(CudaMemory::of).collect();
        let (tensors, memory): (Vec<_>, Vec<_>) = owned
            .ok_or_else(|| RanksError::ranks("gradients are not f32 on the GPU that this rank trains on"))?
            .into_iter()
            .unzip();
        let done = self.launch(&memory)?;
        let default = self.default.clone();
        Ok(Box::new(move || {
            // The card waits, not the host.
            default.wait(&done).map_err(driver)?;
            Ok(tensors)
        }))
    }

    fn broadcast(&self, bytes: &mut Vec<u8>) -> Result<(), RanksError> {
        self.ranks.broadcast(bytes)
    }

    fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, RanksError> {
        self.ranks.gather(bytes)
    }

    fn abort(&self) -> ! {
        self.ranks.abort()
    }

    /// A single rank averages too, so that one card suffices to test NCCL.
    fn averages(&self) -> bool {
        true
    }
}

impl Drop for Nccl {
    fn drop(&mut self) {
        if !thread::panicking() {
            // SAFETY: the communicator is not used any more.
            unsafe { self.library.disconnect(self.communicator) };
        }
    }
}

/// Connects all ranks. This blocks without a time limit in NCCL, hence the thread.
fn connect(
    library: &'static Library,
    context: &Arc<CudaContext>,
    id: UniqueId,
    rank: usize,
    size: usize,
    timeout: Duration,
) -> Result<Communicator, RanksError> {
    let (reply, replied) = channel();
    let context = context.clone();
    thread::spawn(move || {
        let bound = context.bind_to_thread().map_err(driver);
        // The caller may have given up.
        let _ = reply.send(bound.and_then(|()| library.connect(id, rank, size)));
    });
    replied.recv_timeout(timeout).unwrap_or_else(|_| {
        Err(RanksError::ranks(format!("another rank's GPU has not answered for {} s", timeout.as_secs())))
    })
}

/// Ends the process if an all-reduce takes longer than `timeout`. Without it, the host would wait for its card forever.
fn watch(rank: usize, timeout: Duration, underway: &Arc<Underway>) {
    let underway = Arc::downgrade(underway);
    thread::spawn(move || {
        while let Some(underway) = underway.upgrade() {
            let mut averages = underway.lock().unwrap_or_else(PoisonError::into_inner);
            while averages.front().is_some_and(|(done, _)| done.is_complete()) {
                averages.pop_front();
            }
            if averages.front().is_some_and(|(_, since)| since.elapsed() > timeout) {
                // The process ends here, so no caller can be told. A failed write to standard error is ignored.
                let _ = writeln!(
                    std::io::stderr(),
                    "error: rank {rank}: another rank's GPU has not answered for {} s",
                    timeout.as_secs()
                );
                std::process::exit(1);
            }
            drop(averages);
            thread::sleep(Duration::from_millis(200));
        }
    });
}

fn driver(error: DriverError) -> RanksError {
    RanksError::ranks(format!("CUDA: {error}"))
}
