//! Ranks over MPI: one process a device, on one machine or many.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mpi::collective::SystemOperation;
use mpi::datatype::PartitionMut;
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Root};
use mpi::{Count, Threading};

use crate::collective::BUCKET_BYTES;
use crate::{Collective, TrainerError};

/// All processes of an MPI job.
///
/// MPI's own error handling stays as it is: it ends the job. A rank that panics ends it too; one that is killed, the
/// launcher sees; and where others wait for one that hangs, or behind a dead link, [`Self::TIMEOUT`] ends it.
pub struct Mpi {
    rank: usize,
    size: usize,
    local_rank: usize,
    waiting_since: Arc<Mutex<Option<Instant>>>,
    /// Finalizes MPI.
    _universe: Universe,
}

impl Mpi {
    /// How long a rank waits for the others: as long as PyTorch's Gloo does. `MAE_TIMEOUT_S` is another one.
    pub const TIMEOUT: Duration = Duration::from_secs(30 * 60);

    /// Starts MPI; all calls must come from this thread.
    ///
    /// # Errors
    /// [`TrainerError::Mpi`] if it runs already or knows no threads; [`TrainerError::Argument`] for a `MAE_TIMEOUT_S`
    /// that is no number of seconds.
    pub fn start() -> Result<Self, TrainerError> {
        let failed = |reason| TrainerError::Mpi { reason };
        let timeout = match std::env::var("MAE_TIMEOUT_S") {
            Ok(text) => text
                .parse()
                .map(Duration::from_secs)
                .map_err(|_| TrainerError::argument("MAE_TIMEOUT_S", text, "a number of seconds"))?,
            Err(_) => Self::TIMEOUT,
        };
        let (universe, threading) = mpi::initialize_with_threading(Threading::Funneled)
            .ok_or_else(|| failed("it was started before"))?;
        if threading < Threading::Funneled {
            return Err(failed("it was built without support for threads"));
        }
        let world = universe.world();
        let (rank, size) = (world.rank() as usize, world.size() as usize);
        let local_rank = world.split_shared(world.rank()).rank() as usize;
        let waiting_since = Arc::default();
        watch(rank, timeout, &waiting_since);
        Ok(Self { rank, size, local_rank, waiting_since, _universe: universe })
    }

    /// Calls MPI under the eye of the watchdog.
    fn call<T>(&self, call: impl FnOnce(SimpleCommunicator) -> T) -> T {
        let set = |to| *self.waiting_since.lock().unwrap_or_else(PoisonError::into_inner) = to;
        set(Some(Instant::now()));
        let result = call(SimpleCommunicator::world());
        set(None);
        result
    }
}

/// Ends the process when a call takes too long.
fn watch(rank: usize, timeout: Duration, waiting_since: &Arc<Mutex<Option<Instant>>>) {
    let waiting_since = Arc::downgrade(waiting_since);
    std::thread::spawn(move || {
        while let Some(since) = waiting_since.upgrade() {
            let since = *since.lock().unwrap_or_else(PoisonError::into_inner);
            if since.is_some_and(|since| since.elapsed() > timeout) {
                let s = timeout.as_secs();
                crate::output::warn(format_args!(
                    "error: rank {rank}: another rank has not answered for {s} s\n"
                ));
                // No way out but this one: the main thread is inside MPI.
                std::process::exit(1);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    });
}

impl Collective for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn local_rank(&self) -> usize {
        self.local_rank
    }

    fn sum(&self, values: &mut [f32]) {
        let mut sums = vec![0.0; values.len().min(BUCKET_BYTES / size_of::<f32>())];
        for bucket in values.chunks_mut(BUCKET_BYTES / size_of::<f32>()) {
            let sums = &mut sums[..bucket.len()];
            self.call(|world| world.all_reduce_into(&*bucket, &mut *sums, SystemOperation::sum()));
            bucket.copy_from_slice(sums);
        }
    }

    fn broadcast(&self, bytes: &mut Vec<u8>) {
        let mut len = bytes.len() as u64;
        self.call(|world| world.process_at_rank(0).broadcast_into(&mut len));
        bytes.resize(len as usize, 0);
        for bucket in bytes.chunks_mut(BUCKET_BYTES) {
            self.call(|world| world.process_at_rank(0).broadcast_into(bucket));
        }
    }

    fn gather(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut lens = vec![0_u64; self.size];
        self.call(|world| world.all_gather_into(&(bytes.len() as u64), &mut lens[..]));
        let most = lens.iter().max().copied().unwrap_or(0) as usize;
        let mut all: Vec<Vec<u8>> = lens.iter().map(|len| Vec::with_capacity(*len as usize)).collect();
        // In pieces, since MPI counts with 32 bits.
        let piece = (BUCKET_BYTES / self.size).max(1);
        for first in (0..most).step_by(piece) {
            let part = |len: usize| first.min(len)..(first + piece).min(len);
            let counts: Vec<Count> = lens.iter().map(|len| part(*len as usize).len() as Count).collect();
            let starts = counts.iter().scan(0, |sum, count| Some(std::mem::replace(sum, *sum + count)));
            let starts: Vec<Count> = starts.collect();
            let mut received = vec![0_u8; counts.iter().sum::<Count>() as usize];
            self.call(|world| {
                let mut to = PartitionMut::new(&mut received[..], counts.as_slice(), starts.as_slice());
                world.all_gather_varcount_into(&bytes[part(bytes.len())], &mut to);
            });
            for ((all, start), count) in all.iter_mut().zip(&starts).zip(&counts) {
                all.extend_from_slice(&received[*start as usize..][..*count as usize]);
            }
        }
        all
    }

    fn abort(&self) -> ! {
        SimpleCommunicator::world().abort(1)
    }
}

impl Drop for Mpi {
    /// A rank that ends in a panic takes the others with it: finalizing would wait for them for ever.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.abort();
        }
    }
}
