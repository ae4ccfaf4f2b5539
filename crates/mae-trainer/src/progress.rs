//! What a run tells while it goes: one line now and then, one record an update.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::atomic::write_atomic;
use crate::records::{Record, RecordWriter};
use crate::{Run, TrainState, TrainerError};

/// Writes `metrics.jsonl` and progress lines.
pub struct Progress {
    records: RecordWriter,
    /// Seconds of training in earlier parts of the run, and when this part began.
    before_s: f64,
    started: Instant,
    first_step: u64,
    last_line: Instant,
    last_record: Instant,
    waited: Duration,
    bad_files: usize,
    quiet: bool,
}

/// Where unreadable files are named.
pub(crate) const BAD_FILES: &str = "bad_files.log";

/// Often enough to see life, rarely enough to read.
const LINE_EVERY: Duration = Duration::from_secs(5);

impl Progress {
    /// Begins, or goes on after the state's step.
    ///
    /// # Errors
    /// If `metrics.jsonl` cannot be opened.
    pub fn start(run: &Run, state: &TrainState, quiet: bool) -> Result<Self, TrainerError> {
        let now = Instant::now();
        Ok(Self {
            records: RecordWriter::open(&run.path("metrics.jsonl"), state.step)?,
            before_s: state.elapsed_s,
            started: now,
            first_step: state.step,
            last_line: now,
            last_record: now,
            waited: Duration::ZERO,
            bad_files: 0,
            quiet,
        })
    }

    /// Records an update; `waiting` is the time spent waiting for data since the epoch's start.
    ///
    /// # Errors
    /// If the record cannot be written.
    pub fn update(
        &mut self,
        run: &Run,
        state: &mut TrainState,
        loss: f64,
        waiting: Duration,
    ) -> Result<(), TrainerError> {
        let plan = &run.plan;
        let took = self.last_record.elapsed().as_secs_f64().max(1e-9);
        let waited = waiting.saturating_sub(self.waited).as_secs_f64();
        (self.last_record, self.waited) = (Instant::now(), waiting);
        let this_part_s = self.started.elapsed().as_secs_f64();
        state.elapsed_s = self.before_s + this_part_s;
        let record = Record {
            step: state.step,
            epoch: state.step as f64 / plan.steps_per_epoch as f64,
            loss,
            lr: plan.schedule.lr(state.step - 1),
            grad_norm: None,
            images_per_s: plan.effective_batch as f64 / took,
            waiting_share: (waited / took).min(1.0),
            elapsed_s: state.elapsed_s,
        };
        self.records.write(&record)?;
        self.log_bad_files(run)?;

        let last = state.step == plan.total_steps;
        if !self.quiet && (last || self.last_line.elapsed() >= LINE_EVERY) {
            self.last_line = Instant::now();
            let rate = (state.step - self.first_step) as f64 / this_part_s;
            let left_s = (plan.total_steps - state.step) as f64 / rate;
            let mut out = std::io::stdout().lock();
            // A closed pipe is no reason to stop training.
            let _ = writeln!(
                out,
                "epoch {:.2}/{}  step {}/{}  loss {loss:.4}  lr {:.2e}  {:.0} images/s  waiting for data {:.0}%  {} left",
                record.epoch,
                run.recipe.epochs,
                state.step,
                plan.total_steps,
                record.lr,
                rate * plan.effective_batch as f64,
                100.0 * record.waiting_share,
                duration(left_s)
            );
            let _ = out.flush();
        }
        Ok(())
    }

    /// Adds files that could not be read to `bad_files.log`, once each.
    fn log_bad_files(&mut self, run: &Run) -> Result<(), TrainerError> {
        let bad = run.bad_files();
        if bad.len() == self.bad_files {
            return Ok(());
        }
        self.bad_files = bad.len();
        let path = run.path(BAD_FILES);
        let mut lines: Vec<String> =
            std::fs::read_to_string(&path).unwrap_or_default().lines().map(str::to_owned).collect();
        for file in bad {
            if !lines.contains(&file.reason) {
                lines.push(file.reason);
            }
        }
        write_atomic(&path, |file| file.write_all((lines.join("\n") + "\n").as_bytes()))
    }

    /// The next epoch's waiting time is counted from zero.
    pub fn new_epoch(&mut self) {
        self.waited = Duration::ZERO;
    }
}

/// Seconds for people: `42 s`, `3 min 20 s`, `5 h 02 min`.
pub fn duration(seconds: f64) -> String {
    let s = if seconds.is_finite() { seconds.round() as u64 } else { 0 };
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {:02} s", s / 60, s % 60),
        _ => format!("{} h {:02} min", s / 3600, s / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn durations_read_well() {
        let texts = [0.4, 59.6, 3599.0, 7385.0].map(super::duration);
        assert_eq!(texts, ["0 s", "1 min 00 s", "59 min 59 s", "2 h 03 min"]);
    }
}
