//! Stopping on request: the first signal asks for it, the second ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::{register, register_conditional_shutdown};

use crate::TrainerError;

/// Exit status of a run that was asked to stop and wrote a checkpoint, 128 + SIGINT as in shells.
pub const INTERRUPTED: u8 = 130;

/// Whether the process was asked to stop.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Listens for SIGINT and SIGTERM, the second of which ends the process at once, and for SIGUSR1, by which SLURM and
    /// `mpirun` pass on that time is up.
    ///
    /// Also where a shell has set them to be ignored, as it does for commands in the background.
    ///
    /// # Errors
    /// [`TrainerError::Signals`] if the system refuses.
    pub fn listen() -> Result<Self, TrainerError> {
        let flag = Self::default();
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds the flag down, and only then is it raised.
            register_conditional_shutdown(signal, i32::from(INTERRUPTED), flag.0.clone())
                .and_then(|_| register(signal, flag.0.clone()))
                .map_err(|source| TrainerError::Signals { source })?;
        }
        #[cfg(unix)]
        register(signal_hook::consts::SIGUSR1, flag.0.clone())
            .map_err(|source| TrainerError::Signals { source })?;
        Ok(flag)
    }

    /// Whether to stop after the current update.
    pub fn raised(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
