//! Stopping on request: the first signal asks for it, the second ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Exit status of a run that was asked to stop and wrote a checkpoint, 128 + SIGINT as in shells.
pub const INTERRUPTED: u8 = 130;

/// Whether the process was asked to stop.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Listens for SIGINT, SIGTERM and SIGHUP; the second one ends the process at once.
    ///
    /// Where a handler is installed already, that one stays and this flag is never raised.
    pub fn listen() -> Self {
        let flag = Self::default();
        let raised = flag.clone();
        let _ = ctrlc::try_set_handler(move || {
            if raised.0.swap(true, Ordering::SeqCst) {
                std::process::exit(i32::from(INTERRUPTED));
            }
        });
        flag
    }

    /// Whether to stop after the current update.
    pub fn raised(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
