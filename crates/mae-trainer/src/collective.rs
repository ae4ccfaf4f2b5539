//! What processes that train one model together need of each other.

use std::sync::Arc;

use crate::TrainerError;

/// Bytes that are summed or sent at a time; PyTorch's `DistributedDataParallel` takes 25 MiB.
pub(crate) const BUCKET_BYTES: usize = 25 << 20;

/// Processes that train one model together, each on its part of the data. Each is a rank, counted from 0; rank 0 is
/// the main one, which alone writes.
///
/// Every rank calls the same methods in the same order, or all wait. A failure of the connection ends the process, so
/// that none of these returns an error.
pub trait Collective: Send + Sync {
    /// This process among all.
    fn rank(&self) -> usize;

    /// How many there are.
    fn size(&self) -> usize;

    /// This process among those on the same machine: it picks the card.
    fn local_rank(&self) -> usize;

    /// Adds the numbers of all ranks up, in place; every rank gets the same bits.
    fn sum(&self, values: &mut [f32]);

    /// Hands the main rank's bytes to all.
    fn broadcast(&self, bytes: &mut Vec<u8>);

    /// The bytes of every rank, in their order, on every rank.
    fn gather(&self, bytes: &[u8]) -> Vec<Vec<u8>>;

    /// Ends all ranks at once, with status 1.
    fn abort(&self) -> !;

    /// Whether this is the rank that writes and prints.
    fn is_main(&self) -> bool {
        self.rank() == 0
    }

    /// Whether a flag is up on one rank or more.
    fn any(&self, flag: bool) -> bool {
        let mut count = [f32::from(u8::from(flag))];
        self.sum(&mut count);
        count[0] > 0.0
    }

    /// The main rank's number.
    fn main_number(&self, value: u64) -> u64 {
        let mut bytes = value.to_le_bytes().to_vec();
        self.broadcast(&mut bytes);
        bytes.try_into().map_or(value, u64::from_le_bytes)
    }

    /// The numbers of every rank, in their order, on every rank.
    fn gather_numbers(&self, values: &[f64]) -> Vec<Vec<f64>> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let numbers =
            |bytes: Vec<u8>| bytes.as_chunks().0.iter().map(|number| f64::from_le_bytes(*number)).collect();
        self.gather(&bytes).into_iter().map(numbers).collect()
    }

    /// Waits until all ranks have come here.
    fn barrier(&self) {
        self.any(false);
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

    fn sum(&self, _: &mut [f32]) {}

    fn broadcast(&self, _: &mut Vec<u8>) {}

    fn gather(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        vec![bytes.to_vec()]
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

/// Variables that hold the number of ranks, and who sets them.
#[cfg(not(feature = "mpi"))]
const LAUNCHERS: [(&str, &str); 2] = [("OMPI_COMM_WORLD_SIZE", "Open MPI"), ("PMI_SIZE", "MPICH or srun")];
