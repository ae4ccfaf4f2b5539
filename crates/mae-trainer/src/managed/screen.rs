//! burn-train's full-screen view and its terminal, which is left as it was however the process ends.

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use burn_train::Interrupter;
use burn_train::renderer::MetricsRenderer;
use burn_train::renderer::tui::TuiMetricsRendererWrapper;

/// Whether this is the thread that draws. It panics where its terminal has gone, and the training goes on without it.
pub(crate) fn draws() -> bool {
    thread::current().name() == Some("train-renderer")
}

/// Mouse reports off, the main screen, the cursor: what the view turns on, taken back.
const LEAVE: &[u8] = b"\x1b[?1006l\x1b[?1015l\x1b[?1003l\x1b[?1002l\x1b[?1000l\x1b[?1049l\x1b[?25h";

/// How long a terminal may take to be left: one that is stopped (Ctrl-S) takes nothing.
const PATIENCE: Duration = Duration::from_millis(300);

/// Opens the view.
pub(super) fn open(interrupter: &Interrupter) -> Box<dyn MetricsRenderer> {
    *modes() = terminal::modes();
    let view = TuiMetricsRendererWrapper::new(interrupter.clone(), None);
    // Its thread makes the terminal raw, at some time; before that there is nothing to be taken back.
    for _ in 0..50 {
        if terminal::is_raw() {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    hear_interrupts();
    Box::new(view)
}

/// Takes Ctrl-C for a signal again.
pub(super) fn hear_interrupts() {
    terminal::hear_interrupts();
}

/// Forgets how the terminal was.
pub(super) fn closed() {
    *modes() = None;
}

/// Leaves the terminal as it was before the view, where one is open, for a process that is about to end at once. The view
/// draws nothing any more.
pub(crate) fn leave_screen() {
    let Some(before) = modes().take() else { return };
    let (done, left) = mpsc::channel();
    let leave = move || {
        terminal::restore(&before);
        // Never given back: what the view's thread would still draw would be on the main screen.
        let mut out = io::stdout().lock();
        let _ = out.write_all(LEAVE).and_then(|()| out.flush());
        let _ = done.send(());
        loop {
            thread::park();
        }
    };
    if thread::Builder::new().spawn(leave).is_ok() {
        let _ = left.recv_timeout(PATIENCE);
    }
}

/// How the terminal was before the view, while that is open.
fn modes() -> MutexGuard<'static, Option<terminal::Modes>> {
    static BEFORE: Mutex<Option<terminal::Modes>> = Mutex::new(None);
    BEFORE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(unix)]
mod terminal {
    use std::fs::OpenOptions;
    use std::io::{self, IsTerminal};
    use std::os::fd::{AsFd, BorrowedFd};

    use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

    pub(super) type Modes = Termios;

    /// What turns a special key off.
    const DISABLED: u8 = if cfg!(target_os = "linux") { 0 } else { 0xff };

    /// Does something with the terminal that the view takes: standard input, or else the one that controls the process.
    fn with<T>(work: impl FnOnce(BorrowedFd<'_>) -> rustix::io::Result<T>) -> Option<T> {
        let stdin = io::stdin();
        match stdin.is_terminal() {
            true => work(stdin.as_fd()).ok(),
            false => work(OpenOptions::new().read(true).write(true).open("/dev/tty").ok()?.as_fd()).ok(),
        }
    }

    pub(super) fn modes() -> Option<Modes> {
        with(|fd| tcgetattr(fd))
    }

    pub(super) fn is_raw() -> bool {
        modes().is_none_or(|modes| !modes.local_modes.contains(LocalModes::ICANON))
    }

    /// Ctrl-C alone: Ctrl-Z and Ctrl-\ would leave the terminal raw.
    pub(super) fn hear_interrupts() {
        with(|fd| {
            let mut modes = tcgetattr(fd)?;
            let raw = !modes.local_modes.contains(LocalModes::ICANON);
            if raw && !modes.local_modes.contains(LocalModes::ISIG) {
                modes.local_modes.insert(LocalModes::ISIG);
                modes.special_codes[SpecialCodeIndex::VSUSP] = DISABLED;
                modes.special_codes[SpecialCodeIndex::VQUIT] = DISABLED;
                // Without it there is still `q`.
                tcsetattr(fd, OptionalActions::Now, &modes)?;
            }
            Ok(())
        });
    }

    pub(super) fn restore(before: &Modes) {
        with(|fd| tcsetattr(fd, OptionalActions::Now, before));
    }
}

/// The view restores what it changes; where there are no signals, nothing ends the process before it does.
#[cfg(not(unix))]
mod terminal {
    pub(super) type Modes = ();

    pub(super) fn modes() -> Option<Modes> {
        None
    }

    pub(super) fn is_raw() -> bool {
        true
    }

    pub(super) fn hear_interrupts() {}

    pub(super) fn restore(_: &Modes) {}
}
