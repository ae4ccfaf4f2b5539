//! What processes that train one model together need of each other.

use std::sync::Arc;
#[cfg(feature = "mpi")]
use std::time::Duration;

use burn::tensor::{Device, Tensor};

use crate::TrainerError;

/// Bytes of a bucket at the least. Nothing travels before the first one is full, and nothing hides the last one. PyTorch's
/// `DistributedDataParallel` begins with 1 MiB and goes on with 25.
const BUCKET_BYTES: usize = 1 << 20;
/// As many bytes for each rank, on many: a ring sends each rank's part of a bucket by itself.
const BUCKET_BYTES_OF_RANK: usize = 256 << 10;

/// Bytes after which a bucket of gradients is full.
pub fn bucket_bytes(ranks: usize) -> usize {
    BUCKET_BYTES.max(ranks * BUCKET_BYTES_OF_RANK)
}

/// Averages under way: waits for them. They have the shapes of what was given, and are on the same device.
pub type Pending = Box<dyn FnOnce() -> Result<Vec<Tensor<1>>, TrainerError>>;

/// Processes that train one model together, each on its part of the data. Each is a rank, counted from 0; rank 0 is
/// the main one, which alone writes.
///
/// Every rank calls the same methods in the same order, from one thread, or all wait.
///
/// # Errors
/// All methods that reach others fail if one of them does not answer in time. What is under way is then lost, and so is the
/// connection: what is left to do is [`abort`](Self::abort).
pub trait Collective: Send + Sync {
    /// This process among all.
    fn rank(&self) -> usize;

    /// How many there are.
    fn size(&self) -> usize;

    /// This process among those on the same machine: it picks the card.
    fn local_rank(&self) -> usize;

    /// Starts to average tensors of f32 over all ranks; each gets the same bits. It goes on while the caller computes. What is
    /// given at once travels together.
    fn mean(&self, tensors: Vec<Tensor<1>>) -> Result<Pending, TrainerError>;

    /// Hands the main rank's bytes to all.
    fn broadcast(&self, bytes: &mut Vec<u8>) -> Result<(), TrainerError>;

    /// The bytes of every rank, in their order, on every rank.
    fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, TrainerError>;

    /// Ends all ranks at once, with status 1.
    fn abort(&self) -> !;

    /// Whether gradients are averaged: a rank alone has no need to.
    fn averages(&self) -> bool {
        self.size() > 1
    }

    /// Whether [`mean`](Self::mean) returns before a device is done with what it was told before. Where it waits instead, it is better
    /// called once the device has been told everything.
    fn overlaps(&self, _: &Device) -> bool {
        true
    }

    /// Whether this is the rank that writes and prints.
    fn is_main(&self) -> bool {
        self.rank() == 0
    }

    /// Whether a flag is up on one rank or more.
    fn any(&self, flag: bool) -> Result<bool, TrainerError> {
        Ok(self.gather(&[u8::from(flag)])?.iter().any(|flag| flag == &[1]))
    }

    /// The main rank's number.
    fn main_number(&self, value: u64) -> Result<u64, TrainerError> {
        let mut bytes = value.to_le_bytes().to_vec();
        self.broadcast(&mut bytes)?;
        Ok(bytes.try_into().map_or(value, u64::from_le_bytes))
    }

    /// The numbers of every rank, in their order, on every rank.
    fn gather_numbers(&self, values: &[f64]) -> Result<Vec<Vec<f64>>, TrainerError> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let numbers =
            |bytes: Vec<u8>| bytes.as_chunks().0.iter().map(|number| f64::from_le_bytes(*number)).collect();
        Ok(self.gather(&bytes)?.into_iter().map(numbers).collect())
    }

    /// Waits until all ranks have come here.
    fn barrier(&self) -> Result<(), TrainerError> {
        self.any(false).map(drop)
    }
}

/// One process alone.
#[derive(Clone, Copy, Debug)]
pub struct Single;

impl Collective for Single {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn local_rank(&self) -> usize {
        0
    }

    fn mean(&self, tensors: Vec<Tensor<1>>) -> Result<Pending, TrainerError> {
        Ok(Box::new(|| Ok(tensors)))
    }

    fn broadcast(&self, _: &mut Vec<u8>) -> Result<(), TrainerError> {
        Ok(())
    }

    fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, TrainerError> {
        Ok(vec![bytes.to_vec()])
    }

    fn abort(&self) -> ! {
        std::process::exit(1)
    }
}

/// The ranks that this process was launched with: those of MPI, or itself alone.
///
/// # Errors
/// If it was launched by MPI and can do without, or cannot start it.
pub fn launched_ranks() -> Result<Arc<dyn Collective>, TrainerError> {
    #[cfg(feature = "mpi")]
    return Ok(Arc::new(crate::mpi::Mpi::start()?));
    #[cfg(not(feature = "mpi"))]
    match LAUNCHERS.into_iter().find(|(name, _)| std::env::var(name).is_ok_and(|size| size != "1")) {
        Some((_, launcher)) => Err(TrainerError::NoMpi { launcher }),
        None => Ok(Arc::new(Single)),
    }
}

/// The same ranks, which average gradients on the device that they train on where they can: by NCCL on NVIDIA cards of libtorch,
/// in builds with the feature `nccl`. Else gradients go through the host's memory.
///
/// # Errors
/// If NCCL is not found or does not connect the cards.
pub fn ranks_on(ranks: &Arc<dyn Collective>, device: &Device) -> Result<Arc<dyn Collective>, TrainerError> {
    #[cfg(feature = "nccl")]
    if let Some(card) = mae_vit::ops::cuda_card(device) {
        return Ok(Arc::new(crate::nccl::Nccl::start(ranks.clone(), card)?));
    }
    let _ = device;
    Ok(ranks.clone())
}

/// How long a rank waits for the others: as long as PyTorch's Gloo does, or what the environment says.
///
/// # Errors
/// [`TrainerError::Argument`] for a `MAE_TIMEOUT_S` that is no number of seconds.
#[cfg(feature = "mpi")]
pub(crate) fn timeout() -> Result<Duration, TrainerError> {
    const NAME: &str = "MAE_TIMEOUT_S";
    match std::env::var(NAME) {
        Ok(text) => text
            .parse()
            .map(Duration::from_secs)
            .map_err(|_| TrainerError::argument(NAME, text, "a number of seconds")),
        Err(_) => Ok(Duration::from_secs(30 * 60)),
    }
}

/// Variables that hold the number of ranks, and who sets them.
#[cfg(not(feature = "mpi"))]
const LAUNCHERS: [(&str, &str); 2] = [("OMPI_COMM_WORLD_SIZE", "Open MPI"), ("PMI_SIZE", "MPICH or srun")];
