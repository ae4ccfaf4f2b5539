//! Gradients averaged on NVIDIA cards, by NCCL.
#![allow(unsafe_code, reason = "NCCL takes addresses")]

use std::collections::VecDeque;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use burn::tensor::Tensor;
use cudarc::driver::{CudaContext, CudaEvent, CudaStream, DriverError};
use mae_vit::ops::CudaMemory;

use crate::collective::{Pending, timeout};
use crate::{Collective, TrainerError};

mod library;

use library::{Communicator, Library, UniqueId};

/// Averages under way, oldest first: what the card does when they are done, and when they were launched.
type Underway = Mutex<VecDeque<(Arc<CudaEvent>, Instant)>>;

/// Ranks that average tensors on their cards, and else reach each other as before.
///
/// NCCL has a stream of its own, so that gradients travel while the card computes. No host waits for them.
pub(crate) struct Nccl {
    ranks: Arc<dyn Collective>,
    library: &'static Library,
    communicator: Communicator,
    /// Where PyTorch computes.
    default: Arc<CudaStream>,
    stream: Arc<CudaStream>,
    underway: Arc<Underway>,
}

impl Nccl {
    /// Connects the cards of all ranks; this one's has the number `card` on its machine.
    ///
    /// # Errors
    /// [`TrainerError::Ranks`] if NCCL is not among the libraries, or cannot connect them within the time limit.
    pub(crate) fn start(ranks: Arc<dyn Collective>, card: usize) -> Result<Self, TrainerError> {
        let library = Library::open()?;
        let context = CudaContext::new(card).map_err(driver)?;
        let mut id = Vec::new();
        if ranks.is_main() {
            id = library.unique_id()?.to_vec();
        }
        ranks.broadcast(&mut id)?;
        let id = id.try_into().map_err(|_| TrainerError::ranks("the main rank sent no NCCL identifier"))?;
        let communicator = connect(library, &context, id, ranks.rank(), ranks.size(), timeout()?)?;
        let underway = Arc::default();
        watch(ranks.rank(), timeout()?, &underway);
        let (default, stream) = (context.default_stream(), context.new_stream().map_err(driver)?);
        Ok(Self { ranks, library, communicator, default, stream, underway })
    }

    /// Starts to average on the cards what is there.
    fn launch(&self, memory: &[CudaMemory]) -> Result<Arc<CudaEvent>, TrainerError> {
        // What makes the tensors was launched before.
        let made = self.default.record_event(None).map_err(driver)?;
        self.stream.wait(&made).map_err(driver)?;
        let stream = self.stream.cu_stream();
        self.library.together(|| {
            memory.iter().try_for_each(|CudaMemory { address, len }| {
                // SAFETY: as many numbers lie there, and whoever waits for the average keeps them until then.
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

    /// On the cards, in the tensors' own memory.
    fn mean(&self, tensors: Vec<Tensor<1>>) -> Result<Pending, TrainerError> {
        let owned: Option<Vec<_>> = tensors.into_iter().map(CudaMemory::of).collect();
        let (tensors, memory): (Vec<_>, Vec<_>) = owned
            .ok_or_else(|| TrainerError::ranks("gradients are not f32 on the card that this rank trains on"))?
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

    fn broadcast(&self, bytes: &mut Vec<u8>) -> Result<(), TrainerError> {
        self.ranks.broadcast(bytes)
    }

    fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, TrainerError> {
        self.ranks.gather(bytes)
    }

    fn abort(&self) -> ! {
        self.ranks.abort()
    }

    /// A rank alone as well: it is NCCL's to say that there is nothing to do.
    fn averages(&self) -> bool {
        true
    }
}

impl Drop for Nccl {
    fn drop(&mut self) {
        if !thread::panicking() {
            // SAFETY: nothing uses it any more.
            unsafe { self.library.disconnect(self.communicator) };
        }
    }
}

/// Waits for all ranks in a thread of its own, since NCCL knows no time limit.
fn connect(
    library: &'static Library,
    context: &Arc<CudaContext>,
    id: UniqueId,
    rank: usize,
    size: usize,
    timeout: Duration,
) -> Result<Communicator, TrainerError> {
    let (reply, replied) = channel();
    let context = context.clone();
    thread::spawn(move || {
        let bound = context.bind_to_thread().map_err(driver);
        // Who asked may have given up.
        let _ = reply.send(bound.and_then(|()| library.connect(id, rank, size)));
    });
    replied.recv_timeout(timeout).unwrap_or_else(|_| {
        Err(TrainerError::ranks(format!("another rank's card has not answered for {} s", timeout.as_secs())))
    })
}

/// Ends the process when an average takes too long: the host would wait for its card without end.
fn watch(rank: usize, timeout: Duration, underway: &Arc<Underway>) {
    let underway = Arc::downgrade(underway);
    thread::spawn(move || {
        while let Some(underway) = underway.upgrade() {
            let mut averages = underway.lock().unwrap_or_else(PoisonError::into_inner);
            while averages.front().is_some_and(|(done, _)| done.is_complete()) {
                averages.pop_front();
            }
            if averages.front().is_some_and(|(_, since)| since.elapsed() > timeout) {
                crate::output::warn(format_args!(
                    "error: rank {rank}: another rank's card has not answered for {} s\n",
                    timeout.as_secs()
                ));
                std::process::exit(1);
            }
            drop(averages);
            thread::sleep(Duration::from_millis(200));
        }
    });
}

fn driver(error: DriverError) -> TrainerError {
    TrainerError::ranks(format!("CUDA: {error}"))
}
