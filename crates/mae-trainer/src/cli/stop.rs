//! Stopping on request: a signal requests a stop, and a second Ctrl-C, a second or more later, ends the process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::register;
use signal_hook::low_level::exit;

use crate::TrainerError;

/// Exit status of a run that was asked to stop and wrote a checkpoint, 128 + SIGINT as in shells.
pub const INTERRUPTED: u8 = 130;

/// The time after the first signal from which a Ctrl-C counts as a user's second one. An earlier one may be a
/// duplicate: `timeout` signals a process and then its group, and a launcher forwards what the terminal has already
/// sent.
const AGAIN: Duration = Duration::from_secs(1);

/// The interval at which the flags are polled.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Whether the process was asked to stop.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Listens for SIGINT, SIGTERM and SIGHUP, and for SIGUSR1, by which SLURM and `mpirun` announce that time is up. A
    /// SIGINT that comes a second or more after the first signal restores the terminal and ends the process at once.
    ///
    /// SIGINT and SIGTERM are handled even if a shell has set them to be ignored, as it does for background commands.
    /// An ignored SIGHUP stays ignored, because `nohup` intends this; SIGHUP is handled on Linux only. All calls return
    /// the same flag.
    ///
    /// # Errors
    /// [`TrainerError::Signals`] if the system refuses.
    pub fn listen() -> Result<Self, TrainerError> {
        static LISTENING: Mutex<Option<StopFlag>> = Mutex::new(None);
        let mut listening = LISTENING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flag) = &*listening {
            return Ok(flag.clone());
        }
        let (flag, interrupted) = (Self::default(), Arc::new(AtomicBool::new(false)));
        let listen = || {
            let mut signals = vec![SIGINT, SIGTERM];
            #[cfg(unix)]
            signals.extend(others());
            for signal in signals {
                register(signal, flag.0.clone())?;
            }
            register(SIGINT, interrupted.clone())?;
            let flag = flag.clone();
            thread::Builder::new().name("signals".into()).spawn(move || watch(&flag, &interrupted))
        };
        listen().map_err(|source| TrainerError::Signals { source })?;
        Ok(listening.insert(flag).clone())
    }

    /// Whether to stop after the current update.
    pub fn raised(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Ends the process at the second Ctrl-C.
fn watch(flag: &StopFlag, interrupted: &AtomicBool) {
    let mut first = None;
    loop {
        thread::sleep(LOOK_EVERY);
        let again = interrupted.swap(false, Ordering::SeqCst);
        if flag.raised() && first.get_or_insert_with(Instant::now).elapsed() >= AGAIN && again {
            #[cfg(feature = "tui")]
            crate::managed::leave_screen();
            exit(i32::from(INTERRUPTED));
        }
    }
}

/// The other signals that request a stop.
#[cfg(unix)]
fn others() -> impl Iterator<Item = i32> {
    use signal_hook::consts::{SIGHUP, SIGUSR1};
    // Whether SIGHUP is ignored can only be read from the system's status file of this process.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let hangups = ignored.is_some_and(|mask| mask >> (SIGHUP - 1) & 1 == 0);
    [SIGUSR1].into_iter().chain(hangups.then_some(SIGHUP))
}
