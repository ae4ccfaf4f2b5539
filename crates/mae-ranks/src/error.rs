//! What can go wrong between processes.

/// Why processes do not reach each other.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RanksError {
    /// A setting lies outside what it may be.
    #[error("{name} is {value}, but must be {bound}")]
    Argument {
        /// The setting's name.
        name: &'static str,
        /// What it was.
        value: String,
        /// What it may be.
        bound: &'static str,
    },
    /// Processes that train together do not reach each other.
    #[error("{reason}")]
    Ranks {
        /// What happened.
        reason: String,
    },
    /// Launched as one of several ranks, without the means to reach the others.
    #[error(
        "{launcher} launched this program as one of several ranks, but MPI is not compiled in: build with --features mpi"
    )]
    NoMpi {
        /// Who launched it.
        launcher: &'static str,
    },
}

impl RanksError {
    pub(crate) fn ranks(reason: impl Into<String>) -> Self {
        Self::Ranks { reason: reason.into() }
    }
}
