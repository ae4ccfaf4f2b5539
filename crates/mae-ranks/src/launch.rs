//! The ranks that this process was launched with.

use std::sync::Arc;

use burn::tensor::Device;

#[cfg(not(feature = "mpi"))]
use crate::Single;
use crate::{Collective, RanksError};

/// Returns the ranks that this process was launched with: those of MPI, or the process alone. Call it before the
/// program starts other threads, because it may set an environment variable.
///
/// # Errors
/// If MPI cannot start, or if an MPI launcher started several ranks but MPI is not compiled in.
pub fn launched_ranks() -> Result<Arc<dyn Collective>, RanksError> {
    #[cfg(feature = "mpi")]
    return Ok(Arc::new(crate::mpi::Mpi::start()?));
    #[cfg(not(feature = "mpi"))]
    match LAUNCHERS.into_iter().find(|(name, _)| std::env::var(name).is_ok_and(|size| size != "1")) {
        Some((_, launcher)) => Err(RanksError::NoMpi { launcher }),
        None => Ok(Arc::new(Single)),
    }
}

/// Returns ranks that average gradients with NCCL if `device` is an NVIDIA card of libtorch and the build has the
/// feature `nccl`. Otherwise returns the given ranks, which average gradients in host memory.
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
                "only one of the ranks 0 and {rank} trains on an NVIDIA GPU"
            )));
        }
        if let Some(card) = card {
            return Ok(Arc::new(crate::nccl::Nccl::start(ranks.clone(), card)?));
        }
    }
    let _ = device;
    Ok(ranks.clone())
}

/// Environment variables that hold the number of ranks, and the launchers that set them.
#[cfg(not(feature = "mpi"))]
const LAUNCHERS: [(&str, &str); 2] = [("OMPI_COMM_WORLD_SIZE", "Open MPI"), ("PMI_SIZE", "MPICH or srun")];
