//! Which samples each of several ranks sees in an epoch, and in which order.

use mae_random::{bits, stream};

use crate::DataError;

/// Keeps the epochs' orders apart from what the samples draw from, [`sample_rng`](crate::sample_rng).
const DOMAIN: [u8; 8] = *b"mae-ordr";

/// Deals a data set out to ranks: a pure function of (length, seed, epoch, rank, world size).
///
/// Every rank gets the same number of indices. Where the length does not divide by the world size, the order is
/// continued from its start so that a few samples are seen twice, or, with
/// [`with_drop_last`](Self::with_drop_last), cut so that a few are not seen in this epoch. Rank `r` gets the
/// places `r`, `r + world_size`, `r + 2 * world_size`, … of the order; with [`with_block`](Self::with_block), blocks of places are
/// dealt out instead of single ones.
///
/// ```
/// use mae_data::DistributedSampler;
///
/// let rank = |rank| DistributedSampler::new(5, 0, rank, 2).map(|s| s.with_shuffle(false).indices(0));
/// assert_eq!(rank(0)?, [0, 2, 4]);
/// assert_eq!(rank(1)?, [1, 3, 0]);
/// # Ok::<(), mae_data::DataError>(())
/// ```
///
/// # Source
/// PyTorch `torch.utils.data.DistributedSampler`.
/// Deviation: another generator shuffles, and it is keyed by seed and epoch each, where PyTorch takes their sum, so
/// that seed 0 in epoch 1 is seed 1 in epoch 0. What does not depend on the generator is the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistributedSampler {
    len: usize,
    seed: u64,
    rank: usize,
    world_size: usize,
    shuffle: bool,
    drop_last: bool,
    block: usize,
}

impl DistributedSampler {
    /// Shuffles `len` samples and deals them to `world_size` ranks, padding the order: this is rank `rank`'s share.
    ///
    /// # Errors
    /// [`DataError::Argument`] for a `len` of 0 or of more than 32 bits, a `world_size` of 0, or a `rank` that is not below it.
    pub fn new(len: usize, seed: u64, rank: usize, world_size: usize) -> Result<Self, DataError> {
        let refuse =
            |name, value: usize, bound| DataError::Argument { name, value: value.to_string(), bound };
        if len == 0 || u32::try_from(len).is_err() {
            return Err(refuse("data set length", len, format!("1 to {}", u32::MAX)));
        }
        // A rank is a process or a device; the bound also keeps `len + world_size` from overflowing.
        if world_size == 0 || u32::try_from(world_size).is_err() {
            return Err(refuse("world_size", world_size, format!("1 to {}", u32::MAX)));
        }
        if rank >= world_size {
            return Err(refuse("rank", rank, format!("below the world_size of {world_size}")));
        }
        Ok(Self { len, seed, rank, world_size, shuffle: true, drop_last: false, block: 1 })
    }

    /// Whether each epoch has an order of its own (the default), or all of them `0, 1, 2, …`.
    #[must_use]
    pub fn with_shuffle(self, shuffle: bool) -> Self {
        Self { shuffle, ..self }
    }

    /// Whether samples that do not go round are left out of an epoch, instead of some being seen twice (the
    /// default). With fewer samples than ranks, nothing is left.
    #[must_use]
    pub fn with_drop_last(self, drop_last: bool) -> Self {
        Self { drop_last, ..self }
    }

    /// Deals out blocks of so many places, such as whole batches: what `world_size` ranks get of a block each is what one rank gets of
    /// as many blocks, one after the other.
    ///
    /// # Errors
    /// [`DataError::Argument`] for a block of 0.
    pub fn with_block(self, block: usize) -> Result<Self, DataError> {
        if block == 0 {
            let (name, bound) = ("block", "at least 1".to_owned());
            return Err(DataError::Argument { name, value: "0".to_owned(), bound });
        }
        Ok(Self { block, ..self })
    }

    /// The number of indices that each rank gets in every epoch.
    #[must_use]
    pub fn indices_per_rank(&self) -> usize {
        if self.drop_last { self.len / self.world_size } else { self.len.div_ceil(self.world_size) }
    }

    /// What this rank sees in `epoch`, in order.
    #[must_use]
    pub fn indices(&self, epoch: u64) -> Vec<usize> {
        self.first_indices(epoch, self.indices_per_rank())
    }

    /// The first `count` that this rank sees in `epoch`: fewer or more than [`indices`](Self::indices), the order being
    /// continued from its start as often as it takes.
    #[must_use]
    pub fn first_indices(&self, epoch: u64, count: usize) -> Vec<usize> {
        let order = self.order(epoch);
        // The i-th of a rank is in its block i / block, and that is block (i / block) * world_size + rank of all.
        let place = |i: usize| (i / self.block * self.world_size + self.rank) * self.block + i % self.block;
        (0..count).map(|i| order[place(i) % self.len]).collect()
    }

    /// The whole data set's order, the same on every rank.
    fn order(&self, epoch: u64) -> Vec<usize> {
        if self.shuffle { shuffled(self.len, self.seed, epoch) } else { (0..self.len).collect() }
    }
}

/// The order of `len` samples in an epoch.
pub(crate) fn shuffled(len: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut rng = stream(DOMAIN, [seed, epoch, 0]);
    // Equal draws fall in the order of their indices.
    let mut draws: Vec<(u64, usize)> = (0..len).map(|index| (bits(&mut rng), index)).collect();
    draws.sort_unstable();
    draws.into_iter().map(|(_, index)| index).collect()
}
