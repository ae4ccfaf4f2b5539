//! Errors of communication between processes.

/// An error of communication between processes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RanksError {
    /// A setting is out of bounds.
    #[error("{name} is {value}, but must be {bound}")]
    Argument {
        /// The setting's name.
        name: &'static str,
        /// Its value.
        value: String,
        /// The values it may have.
        bound: &'static str,
    },
    /// Processes that train together cannot communicate.
    #[error("{reason}")]
    Ranks {
        /// What happened.
        reason: String,
    },
    /// The program was launched as one of several ranks, but built without MPI.
    #[error(
        "{launcher} launched this program as one of several ranks, but MPI is not compiled in: build with --features mpi"
    )]
    NoMpi {
        /// The launcher's name.
        launcher: &'static str,
    },
}

impl RanksError {
    pub(crate) fn ranks(reason: impl Into<String>) -> Self {
        Self::Ranks { reason: reason.into() }
    }
}
