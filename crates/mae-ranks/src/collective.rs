//! Communication between processes that train one model together.

#[cfg(feature = "mpi")]
use std::time::Duration;

use burn::tensor::{Device, Tensor};

use crate::RanksError;

/// The smallest bucket size, in bytes. Communication cannot start before the first bucket is full, and nothing hides
/// that of the last one. PyTorch's `DistributedDataParallel` takes 1 MiB for the first bucket and 25 MiB for the
/// others.
const BUCKET_BYTES: usize = 1 << 20;
/// The bucket size per rank for many ranks, in bytes: a ring splits a bucket into one part per rank.
const BUCKET_BYTES_OF_RANK: usize = 256 << 10;

/// Returns the bucket size for gradients, in bytes. A bucket is full when it has that many.
pub fn bucket_bytes(ranks: usize) -> usize {
    BUCKET_BYTES.max(ranks * BUCKET_BYTES_OF_RANK)
}

/// A running all-reduce. Calling it waits for the result: tensors of the same shapes on the same device.
pub type Pending = Box<dyn FnOnce() -> Result<Vec<Tensor<1>>, RanksError>>;

/// Processes that train one model together, each on its part of the data. Each is a rank, counted from 0. Rank 0 is the
/// main rank, the only one that writes.
///
/// Every rank must call the same methods in the same order, from one thread. Otherwise, all of them wait.
///
/// # Errors
/// All methods that communicate fail if a rank does not answer in time. The connection is then unusable:
/// [`abort`](Self::abort) the job.
pub trait Collective: Send + Sync {
    /// The index of this process among all ranks.
    fn rank(&self) -> usize;

    /// The number of ranks.
    fn size(&self) -> usize;

    /// The index of this process among those on the same machine, which selects its card.
    fn local_rank(&self) -> usize;

    /// Starts an all-reduce of one bucket of f32 tensors to their mean. It runs while the caller computes. All ranks
    /// get the same bits.
    fn mean(&self, tensors: Vec<Tensor<1>>) -> Result<Pending, RanksError>;

    /// Sends the main rank's bytes to all ranks.
    fn broadcast(&self, bytes: &mut Vec<u8>) -> Result<(), RanksError>;

    /// Returns the bytes of every rank, in rank order, on every rank.
    fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, RanksError>;

    /// Ends all ranks at once, with status 1.
    fn abort(&self) -> !;

    /// Whether gradients are averaged. A single rank has no need to.
    fn averages(&self) -> bool {
        self.size() > 1
    }

    /// Whether [`mean`](Self::mean) returns without waiting for the device. If it waits, gradients are averaged after
    /// the backward pass.
    fn overlaps(&self, _: &Device) -> bool {
        true
    }

    /// Whether this is the rank that writes and prints.
    fn is_main(&self) -> bool {
        self.rank() == 0
    }

    /// Whether `flag` is set on at least one rank.
    fn any(&self, flag: bool) -> Result<bool, RanksError> {
        Ok(self.gather(&[u8::from(flag)])?.iter().any(|flag| flag == &[1]))
    }

    /// Returns the main rank's `value` on every rank.
    fn main_number(&self, value: u64) -> Result<u64, RanksError> {
        let mut bytes = value.to_le_bytes().to_vec();
        self.broadcast(&mut bytes)?;
        Ok(bytes.try_into().map_or(value, u64::from_le_bytes))
    }

    /// Returns the values of every rank, in rank order, on every rank.
    fn gather_numbers(&self, values: &[f64]) -> Result<Vec<Vec<f64>>, RanksError> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let numbers =
            |bytes: Vec<u8>| bytes.as_chunks().0.iter().map(|number| f64::from_le_bytes(*number)).collect();
        Ok(self.gather(&bytes)?.into_iter().map(numbers).collect())
    }

    /// Waits until all ranks have reached this call.
    fn barrier(&self) -> Result<(), RanksError> {
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

    fn mean(&self, tensors: Vec<Tensor<1>>) -> Result<Pending, RanksError> {
        Ok(Box::new(|| Ok(tensors)))
    }

    fn broadcast(&self, _: &mut Vec<u8>) -> Result<(), RanksError> {
        Ok(())
    }

    fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, RanksError> {
        Ok(vec![bytes.to_vec()])
    }

    fn abort(&self) -> ! {
        std::process::exit(1)
    }
}

/// Returns how long a rank waits for the others: `MAE_TIMEOUT_S` seconds or, by default, 30 minutes, as PyTorch's Gloo
/// does.
///
/// # Errors
/// [`RanksError::Argument`] if `MAE_TIMEOUT_S` is not a whole number of seconds.
#[cfg(feature = "mpi")]
pub(crate) fn timeout() -> Result<Duration, RanksError> {
    const NAME: &str = "MAE_TIMEOUT_S";
    match std::env::var(NAME) {
        Ok(text) => text.parse().map(Duration::from_secs).map_err(|_| RanksError::Argument {
            name: NAME,
            value: text,
            bound: "a number of seconds",
        }),
        Err(_) => Ok(Duration::from_secs(30 * 60)),
    }
}
