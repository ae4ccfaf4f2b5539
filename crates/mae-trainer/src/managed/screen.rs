//! burn-train's full-screen view and its terminal, which is restored however the process ends.

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use burn_train::Interrupter;
use burn_train::renderer::MetricsRenderer;
use burn_train::renderer::tui::TuiMetricsRendererWrapper;

/// Whether this is the thread that draws. It panics if its terminal is gone; training goes on without it.
pub(crate) fn draws() -> bool {
    thread::current().name() == Some("train-renderer")
}

/// Undoes what the view turns on: mouse reports off, back to the main screen, cursor visible.
const LEAVE: &[u8] = b"\x1b[?1006l\x1b[?1015l\x1b[?1003l\x1b[?1002l\x1b[?1000l\x1b[?1049l\x1b[?25h";

/// How long restoring the terminal may take. A terminal that is stopped (Ctrl-S) accepts no output.
const PATIENCE: Duration = Duration::from_millis(300);

/// Opens the view.
pub(super) fn open(interrupter: &Interrupter) -> Box<dyn MetricsRenderer> {
    *modes() = terminal::modes();
    let view = TuiMetricsRendererWrapper::new(interrupter.clone(), None);
    // The view's thread sets raw mode some time later. Before that, `hear_interrupts` has no effect.
    for _ in 0..50 {
        if terminal::is_raw() {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    hear_interrupts();
    Box::new(view)
}

/// Makes Ctrl-C a signal again.
pub(super) fn hear_interrupts() {
    terminal::hear_interrupts();
}

/// Discards the saved modes of the terminal.
pub(super) fn closed() {
    *modes() = None;
}

/// Restores the terminal to its state before the view, if one is open, for a process that is about to end at once. The
/// view draws nothing after that.
pub(crate) fn leave_screen() {
    let Some(before) = modes().take() else { return };
    let (done, left) = mpsc::channel();
    let leave = move || {
        terminal::restore(&before);
        // The lock is never released: otherwise, the view's thread would draw on the main screen.
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

/// The terminal's modes before the view, while the view is open.
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

    /// The value that disables a special key.
    const DISABLED: u8 = if cfg!(target_os = "linux") { 0 } else { 0xff };

    /// Runs `work` on the terminal that the view uses: standard input, or else the process's controlling terminal.
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

    /// Enables Ctrl-C only: Ctrl-Z and Ctrl-\ would leave the terminal raw.
    pub(super) fn hear_interrupts() {
        with(|fd| {
            let mut modes = tcgetattr(fd)?;
            let raw = !modes.local_modes.contains(LocalModes::ICANON);
            if raw && !modes.local_modes.contains(LocalModes::ISIG) {
                modes.local_modes.insert(LocalModes::ISIG);
                modes.special_codes[SpecialCodeIndex::VSUSP] = DISABLED;
                modes.special_codes[SpecialCodeIndex::VQUIT] = DISABLED;
                // If this fails, the key `q` still works.
                tcsetattr(fd, OptionalActions::Now, &modes)?;
            }
            Ok(())
        });
    }

    pub(super) fn restore(before: &Modes) {
        with(|fd| tcsetattr(fd, OptionalActions::Now, before));
    }
}

/// Without signals, nothing ends the process before the view restores what it changes.
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
