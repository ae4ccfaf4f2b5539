//! Which ranks this process is one of.

use std::sync::Arc;

use burn::tensor::Device;

#[cfg(not(feature = "mpi"))]
use crate::Single;
use crate::{Collective, RanksError};

/// The ranks that this process was launched with: those of MPI, or itself alone. Call it before the program starts other threads:
/// it may set an environment variable.
///
/// # Errors
/// If it was launched by MPI and can do without, or cannot start it.
pub fn launched_ranks() -> Result<Arc<dyn Collective>, RanksError> {
    #[cfg(feature = "mpi")]
    return Ok(Arc::new(crate::mpi::Mpi::start()?));
    #[cfg(not(feature = "mpi"))]
    match LAUNCHERS.into_iter().find(|(name, _)| std::env::var(name).is_ok_and(|size| size != "1")) {
        Some((_, launcher)) => Err(RanksError::NoMpi { launcher }),
        None => Ok(Arc::new(Single)),
    }
}

/// Ranks that average gradients on `device` if they can: with NCCL on libtorch's NVIDIA cards, in builds with the feature `nccl`.
/// Otherwise returns the given ranks, which average them in host memory.
///
/// # Errors
/// If NCCL is not found or does not connect the cards, or if only some ranks train on a card.
pub fn ranks_on(ranks: &Arc<dyn Collective>, device: &Device) -> Result<Arc<dyn Collective>, RanksError> {
    #[cfg(feature = "nccl")]
    {
        let card = mae_vit::ops::cuda_card(device);
        let with_card = ranks.gather_numbers(&[f64::from(u8::from(card.is_some()))])?;
        if let Some(rank) = with_card.iter().position(|other| *other != with_card[0]) {
            return Err(RanksError::ranks(format!(
                "ranks 0 and {rank} differ in training on an NVIDIA card"
            )));
        }
        if let Some(card) = card {
            return Ok(Arc::new(crate::nccl::Nccl::start(ranks.clone(), card)?));
        }
    }
    let _ = device;
    Ok(ranks.clone())
}

/// Variables that hold the number of ranks, and who sets them.
#[cfg(not(feature = "mpi"))]
const LAUNCHERS: [(&str, &str); 2] = [("OMPI_COMM_WORLD_SIZE", "Open MPI"), ("PMI_SIZE", "MPICH or srun")];
