//! Ranks over MPI: one process per device, on one machine or many.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use burn::tensor::{Device, Tensor, TensorData};
use mpi::collective::SystemOperation;
use mpi::datatype::PartitionMut;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Root};
use mpi::{Count, Threading};

use crate::collective::{Pending, timeout};
use crate::{Collective, RanksError};

/// All processes of an MPI job.
///
/// One dedicated thread makes all MPI calls. All-reduces therefore run while other threads compute, and a caller waits
/// for a silent rank no longer than `MAE_TIMEOUT_S` seconds, 30 minutes by default.
///
/// MPI's default error handler ends the job. A rank that panics ends it too. If a rank is killed, the launcher notices.
pub struct Mpi {
    rank: usize,
    size: usize,
    local_rank: usize,
    link: Arc<Link>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// State shared with the thread that calls MPI.
struct Link {
    /// `None` once the connection is closing.
    calls: Mutex<Option<Sender<Call>>>,
    timeout: Duration,
    /// Whether a caller is waiting: the thread then polls without sleeping.
    waiting: AtomicBool,
    aborting: AtomicBool,
    /// Whether a call has timed out: the thread may hang in MPI.
    lost: AtomicBool,
}

enum Call {
    /// Averages f32 tensors over all ranks, in place.
    Mean(Vec<TensorData>, Sender<Vec<TensorData>>),
    Other(Box<dyn FnOnce(&SimpleCommunicator) + Send>),
}

/// The interval between two polls of an all-reduce while other threads compute. MPI sends data only while it is polled.
const NAP: Duration = Duration::from_micros(300);
/// Selects the ring algorithm for Open MPI's non-blocking all-reduce. A ring keeps both directions of each link busy.
/// For fewer than four ranks, Open MPI's default reduces everything to one rank and broadcasts the result.
const RING: (&str, &str) = ("OMPI_MCA_coll_libnbc_iallreduce_algorithm", "1");
/// Maximum bytes per message, gradients excepted. MPI counts with 32 bits.
const PIECE_BYTES: usize = 25 << 20;

impl Mpi {
    /// Starts MPI. Call it before the program starts other threads: it may set an environment variable.
    ///
    /// # Errors
    /// [`RanksError::Ranks`] if MPI was started before or does not support threads; [`RanksError::Argument`] if
    /// `MAE_TIMEOUT_S` is not a whole number of seconds.
    pub fn start() -> Result<Self, RanksError> {
        if std::env::var_os(RING.0).is_none() {
            #[allow(unsafe_code, reason = "other threads might be reading the environment")]
            // SAFETY: the caller has started no other threads, as the documentation asks.
            unsafe {
                std::env::set_var(RING.0, RING.1);
            }
        }
        let (calls, received) = channel();
        let link = Arc::new(Link {
            calls: Mutex::new(Some(calls)),
            timeout: timeout()?,
            waiting: AtomicBool::new(false),
            aborting: AtomicBool::new(false),
            lost: AtomicBool::new(false),
        });
        let (started, starting) = channel();
        let of_thread = link.clone();
        let thread = thread::spawn(move || serve(&of_thread, &received, &started));
        let (rank, size, local_rank) = starting
            .recv()
            .unwrap_or(Err("its thread ended"))
            .map_err(|reason| RanksError::ranks(format!("MPI cannot start: {reason}")))?;
        Ok(Self { rank, size, local_rank, link, thread: Mutex::new(Some(thread)) })
    }

    /// Runs `call` on the MPI thread and waits for its result, which may need the other ranks.
    fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&SimpleCommunicator) -> T + Send + 'static,
    ) -> Result<T, RanksError> {
        let (reply, replied) = channel();
        self.link.send(Call::Other(Box::new(move |world| {
            // The caller may have given up.
            let _ = reply.send(call(world));
        })))?;
        self.link.wait(&replied)
    }
}

impl Link {
    fn send(&self, call: Call) -> Result<(), RanksError> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = calls.as_ref().and_then(|calls| calls.send(call).ok());
        sent.ok_or_else(|| RanksError::ranks("the connection to the other ranks is closed"))
    }

    fn wait<T>(&self, replied: &Receiver<T>) -> Result<T, RanksError> {
        self.waiting.store(true, Ordering::Relaxed);
        let reply = replied.recv_timeout(self.timeout);
        self.waiting.store(false, Ordering::Relaxed);
        reply.map_err(|error| {
            self.lost.store(true, Ordering::Relaxed);
            RanksError::ranks(match error {
                RecvTimeoutError::Timeout => {
                    format!("another rank has not answered for {} s", self.timeout.as_secs())
                }
                RecvTimeoutError::Disconnected => "MPI has failed".to_owned(),
            })
        })
    }
}

/// Starts MPI in this thread and makes the calls of the others, until they close the connection.
fn serve(link: &Link, calls: &Receiver<Call>, started: &Sender<Result<(usize, usize, usize), &'static str>>) {
    let refuse = |reason| {
        let _ = started.send(Err(reason));
    };
    let Some((universe, threading)) = mpi::initialize_with_threading(Threading::Funneled) else {
        return refuse("it was already started");
    };
    if threading < Threading::Funneled {
        return refuse("it was built without support for threads");
    }
    let world = universe.world();
    let local_rank = world.split_shared(world.rank()).rank() as usize;
    let _ = started.send(Ok((world.rank() as usize, world.size() as usize, local_rank)));
    let mut buckets = [Vec::new(), Vec::new()];
    while let Ok(call) = calls.recv() {
        match call {
            Call::Other(call) => call(&world),
            Call::Mean(mut data, reply) => {
                average(link, &world, &mut data, &mut buckets);
                // The caller may have given up.
                let _ = reply.send(data);
            }
        }
    }
    // The universe is dropped last, which finalizes MPI.
}

/// Averages over all ranks, in place. Sends all tensors in one all-reduce, because each all-reduce has a latency.
fn average(
    link: &Link,
    world: &SimpleCommunicator,
    data: &mut [TensorData],
    [values, sums]: &mut [Vec<f32>; 2],
) {
    const EXPECT: &str = "converted to f32";
    values.clear();
    for data in &*data {
        values.extend_from_slice(data.as_slice::<f32>().expect(EXPECT));
    }
    sums.resize(values.len(), 0.0);
    add_up(link, world, values, sums);
    let scale = 1.0 / world.size() as f32;
    let mut sums = sums.iter();
    for data in data {
        for (x, sum) in data.as_mut_slice::<f32>().expect(EXPECT).iter_mut().zip(&mut sums) {
            *x = sum * scale;
        }
    }
}

/// All-reduces `values` into `sums`. MPI makes progress only while it is called, hence the polling.
fn add_up(link: &Link, world: &SimpleCommunicator, values: &[f32], sums: &mut [f32]) {
    mpi::request::scope(|scope| {
        let mut request = world.immediate_all_reduce_into(scope, values, sums, SystemOperation::sum());
        while let Err(unfinished) = request.test() {
            request = unfinished;
            if link.aborting.load(Ordering::Relaxed) {
                world.abort(1);
            }
            match link.waiting.load(Ordering::Relaxed) {
                true => thread::yield_now(),
                false => thread::sleep(NAP),
            }
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

    /// Averages in host memory: in place, if the device's memory is the host's.
    fn mean(&self, tensors: Vec<Tensor<1>>) -> Result<Pending, RanksError> {
        let devices: Vec<_> = tensors.iter().map(Tensor::device).collect();
        let data = tensors.into_iter().map(|tensor| tensor.into_data().convert::<f32>()).collect();
        let (reply, replied) = channel();
        self.link.send(Call::Mean(data, reply))?;
        let link = self.link.clone();
        Ok(Box::new(move || {
            let means = link.wait(&replied)?.into_iter().zip(devices);
            Ok(means.map(|(mean, device)| Tensor::from_data(mean, &device)).collect())
        }))
    }

    /// Copying from a card waits for it, which would stall the backward pass.
    fn overlaps(&self, device: &Device) -> bool {
        #[cfg(feature = "tch")]
        return mae_vit::ops::cuda_card(device).is_none();
        #[cfg(not(feature = "tch"))]
        {
            let _ = device;
            true
        }
    }

    fn broadcast(&self, bytes: &mut Vec<u8>) -> Result<(), RanksError> {
        let mut sent = std::mem::take(bytes);
        *bytes = self.call(move |world| {
            let main = world.process_at_rank(0);
            let mut len = sent.len() as u64;
            main.broadcast_into(&mut len);
            sent.resize(len as usize, 0);
            for piece in sent.chunks_mut(PIECE_BYTES) {
                main.broadcast_into(piece);
            }
            sent
        })?;
        Ok(())
    }

    fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, RanksError> {
        let (bytes, size) = (bytes.to_vec(), self.size);
        self.call(move |world| gather(world, &bytes, size))
    }

    fn abort(&self) -> ! {
        self.link.aborting.store(true, Ordering::Relaxed);
        let _ = self.link.send(Call::Other(Box::new(|world| world.abort(1))));
        // MPI may be waiting for a rank that is gone. The launcher ends the others when this one exits without
        // finalizing MPI.
        thread::sleep(Duration::from_secs(1));
        std::process::exit(1)
    }
}

fn gather(world: &SimpleCommunicator, bytes: &[u8], size: usize) -> Vec<Vec<u8>> {
    let mut lens = vec![0_u64; size];
    world.all_gather_into(&(bytes.len() as u64), &mut lens[..]);
    let most = lens.iter().max().copied().unwrap_or(0) as usize;
    let mut all: Vec<Vec<u8>> = lens.iter().map(|len| Vec::with_capacity(*len as usize)).collect();
    let piece = (PIECE_BYTES / size).max(1);
    for first in (0..most).step_by(piece) {
        let part = |len: usize| first.min(len)..(first + piece).min(len);
        let counts: Vec<Count> = lens.iter().map(|len| part(*len as usize).len() as Count).collect();
        let starts = counts.iter().scan(0, |sum, count| Some(std::mem::replace(sum, *sum + count)));
        let starts: Vec<Count> = starts.collect();
        let mut received = vec![0_u8; counts.iter().sum::<Count>() as usize];
        let mut to = PartitionMut::new(&mut received[..], counts.as_slice(), starts.as_slice());
        world.all_gather_varcount_into(&bytes[part(bytes.len())], &mut to);
        for ((all, start), count) in all.iter_mut().zip(&starts).zip(&counts) {
            all.extend_from_slice(&received[*start as usize..][..*count as usize]);
        }
    }
    all
}

impl Drop for Mpi {
    /// Ends all ranks if this one panics, because finalizing MPI would wait for them forever. If another rank does not
    /// answer, the process ends without finalizing MPI. The launcher notices that and ends the others.
    fn drop(&mut self) {
        if thread::panicking() {
            self.abort();
        }
        self.link.calls.lock().unwrap_or_else(PoisonError::into_inner).take();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if !self.link.lost.load(Ordering::Relaxed)
            && let Some(thread) = thread
        {
            let _ = thread.join();
        }
    }
}
