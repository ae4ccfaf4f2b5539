//! Passes signals on to the programs that this one starts, and handles output that nobody reads any more.

use std::fmt::Display;
use std::io::{ErrorKind, Write, stderr, stdout};
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;
use signal_hook::consts::{SIGINT, SIGTERM};

/// A second Ctrl-C counts only if it comes at least this long after the first: `timeout` and terminals signal twice at
/// once.
const AGAIN: Duration = Duration::from_secs(1);

/// Signals by number, with their names for `kill`.
pub struct Signals(Vec<(i32, &'static str, Arc<AtomicBool>)>);

impl Signals {
    /// Listens to SIGINT and SIGTERM, and to SIGHUP unless it is ignored, as under `nohup`. Call this before a program
    /// is started: this process then does not end before the program, which keeps the terminal until it has exited.
    pub fn listen() -> Result<Self> {
        let mut signals = vec![(SIGINT, "-INT"), (SIGTERM, "-TERM")];
        #[cfg(unix)]
        if hears_hangups() {
            signals.push((signal_hook::consts::SIGHUP, "-HUP"));
        }
        let listen = |(signal, name)| {
            let flag = Arc::new(AtomicBool::new(false));
            signal_hook::flag::register(signal, flag.clone())?;
            Ok((signal, name, flag))
        };
        Ok(Self(signals.into_iter().map(listen).collect::<Result<_>>()?))
    }

    /// Waits for a program that handles signals, and passes them on. The program receives those of a terminal twice,
    /// from the terminal and from here, and treats them as one.
    pub fn pass_on(&self, child: Child) -> Result<ExitCode> {
        self.wait(child, |_, name| Some(name))
    }

    /// Waits for `mpirun`: the first signal asks the ranks to stop, a second and a third Ctrl-C end them.
    pub fn escalate(&self, child: Child) -> Result<ExitCode> {
        let mut steps = ["-USR1", "-TERM", "-KILL"].into_iter();
        let mut last: Option<Instant> = None;
        self.wait(child, |signal, _| {
            if last.is_some_and(|last| signal != SIGINT || last.elapsed() < AGAIN) {
                return None;
            }
            last = Some(Instant::now());
            steps.next()
        })
    }

    fn wait(
        &self,
        mut child: Child,
        mut sent: impl FnMut(i32, &'static str) -> Option<&'static str>,
    ) -> Result<ExitCode> {
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(exit_code(status));
            }
            for (signal, name, flag) in &self.0 {
                if flag.swap(false, Ordering::SeqCst)
                    && let Some(sent) = sent(*signal, name)
                {
                    Command::new("kill").args([sent, &child.id().to_string()]).status()?;
                }
            }
            sleep(Duration::from_millis(50));
        }
    }
}

/// Whether SIGHUP is known not to be ignored. Only Linux reports this; elsewhere the system's default handling stays.
#[cfg(unix)]
fn hears_hangups() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask >> (signal_hook::consts::SIGHUP - 1) & 1 == 0)
}

/// Converts a program's status to an exit code as shells do: 128 plus the number of the signal that ended it.
pub fn exit_code(status: ExitStatus) -> ExitCode {
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(&status).map(|signal| 128 + signal);
    #[cfg(not(unix))]
    let signal = None;
    ExitCode::from(status.code().or(signal).and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// Prints a text. If the reader has stopped, this program ends quietly; if the disk is full, with an error.
pub fn print(text: impl Display) {
    let mut out = stdout();
    if let Err(error) = write!(out, "{text}").and_then(|()| out.flush()) {
        let quiet = error.kind() == ErrorKind::BrokenPipe;
        if !quiet {
            let _ = writeln!(stderr(), "error: cannot write to standard output: {error}");
        }
        std::process::exit(i32::from(!quiet));
    }
}
