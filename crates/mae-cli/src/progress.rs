//! Progress lines on standard error.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mae_report::duration;
use mae_trainer::cli::output;

static QUIET: AtomicBool = AtomicBool::new(false);

/// Often enough to show that the program is alive, rarely enough to read.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Suppresses all further lines.
pub fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Prints a line on standard error unless [`be_quiet`] was called.
pub fn say(line: impl Display) {
    if !QUIET.load(Ordering::Relaxed) {
        output::warn(format_args!("{line}\n"));
    }
}

/// Prints every few seconds how much of the work is done.
pub struct Progress {
    began: Instant,
    told: Instant,
}

impl Progress {
    pub fn start() -> Self {
        let now = Instant::now();
        Self { began: now, told: now }
    }

    /// Seconds since the start.
    pub fn elapsed(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Prints a line if one is due. `done` of `todo` items have been finished since the start, `all` is the total
    /// number of items, and `more` is appended.
    pub fn tell(&mut self, done: usize, todo: usize, all: usize, what: &str, more: impl FnOnce() -> String) {
        if self.told.elapsed() < LINE_EVERY {
            return;
        }
        self.told = Instant::now();
        let rate = done as f64 / self.elapsed();
        let left = duration((todo - done) as f64 / rate);
        say(format_args!("{} of {all} {what}, {rate:.1} {what}/s, {left} left{}", all - todo + done, more()));
    }
}
