//! Determines which samples each rank sees in an epoch, and in which order.

use mae_random::{bits, stream};

use crate::DataError;

/// Separates the epochs' orders from the random streams of samples, [`sample_rng`](crate::sample_rng).
const DOMAIN: [u8; 8] = *b"mae-ordr";

/// Divides a data set among ranks, as a pure function of (length, seed, epoch, rank, world size).
///
/// Every rank gets the same number of indices. If the world size does not divide the length, the order is padded from
/// its start, so a few samples are seen twice. With [`with_drop_last`](Self::with_drop_last) it is truncated instead,
/// so a few are not seen in this epoch. Rank `r` gets the positions `r`, `r + world_size`, `r + 2 * world_size`, … of
/// the order. With [`with_block`](Self::with_block), blocks of positions are dealt instead of single ones.
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
/// PyTorch `torch.utils.data.DistributedSampler`. Deviation: the random generator differs, and it is keyed by the pair
/// of seed and epoch. PyTorch uses their sum, so seed 0 in epoch 1 equals seed 1 in epoch 0. Everything that does not
/// depend on the generator is the same.
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
    /// Creates the sampler of rank `rank`, which shuffles `len` samples, pads the order and deals it to `world_size`
    /// ranks.
    ///
    /// # Errors
    /// [`DataError::Argument`] if `len` is 0 or exceeds 32 bits, if `world_size` is 0 or exceeds 32 bits, or if `rank`
    /// is not below `world_size`.
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

    /// Sets whether each epoch has its own random order (the default), or all have the order `0, 1, 2, …`.
    #[must_use]
    pub fn with_shuffle(self, shuffle: bool) -> Self {
        Self { shuffle, ..self }
    }

    /// Sets whether the samples left over after an even division are dropped from an epoch. By default, some samples
    /// are seen twice instead. With fewer samples than ranks, nothing is left.
    #[must_use]
    pub fn with_drop_last(self, drop_last: bool) -> Self {
        Self { drop_last, ..self }
    }

    /// Deals blocks of `block` positions, such as whole batches. One block on each of `world_size` ranks covers the
    /// same samples as `world_size` successive blocks on a single rank.
    ///
    /// # Errors
    /// [`DataError::Argument`] if `block` is 0.
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

    /// The indices that this rank sees in `epoch`, in order.
    #[must_use]
    pub fn indices(&self, epoch: u64) -> Vec<usize> {
        self.first_indices(epoch, self.indices_per_rank())
    }

    /// The first `count` indices that this rank sees in `epoch`. `count` may be smaller or larger than the length of
    /// [`indices`](Self::indices); the order is repeated as often as needed.
    #[must_use]
    pub fn first_indices(&self, epoch: u64, count: usize) -> Vec<usize> {
        let order = self.order(epoch);
        // A rank's i-th index is in its block i / block, which is block (i / block) * world_size + rank of the whole
        // order.
        let place = |i: usize| (i / self.block * self.world_size + self.rank) * self.block + i % self.block;
        (0..count).map(|i| order[place(i) % self.len]).collect()
    }

    /// The whole data set's order, the same on every rank.
    fn order(&self, epoch: u64) -> Vec<usize> {
        if self.shuffle { shuffled(self.len, self.seed, epoch) } else { (0..self.len).collect() }
    }
}

/// The random order of `len` samples in an epoch.
pub(crate) fn shuffled(len: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut rng = stream(DOMAIN, [seed, epoch, 0]);
    // Equal draws are sorted by index.
    let mut draws: Vec<(u64, usize)> = (0..len).map(|index| (bits(&mut rng), index)).collect();
    draws.sort_unstable();
    draws.into_iter().map(|(_, index)| index).collect()
}
