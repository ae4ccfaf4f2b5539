//! The output of a run in progress: a line every few seconds, a record per update, and one per evaluation.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use mae_model::SavedModel;
use mae_vit::ops;

use crate::run::checkpoint::TrainState;
use crate::training::StepReport;
use crate::{Run, Task, TrainerError};
use mae_report::TensorBoard;
use mae_report::duration;
use mae_report::{
    EVALUATIONS, Evaluation, EvaluationWriter, METRICS, Record, RecordWriter, read_evaluations, read_records,
};

/// Writes `metrics.jsonl`, `evaluations.jsonl`, the same for TensorBoard, and progress lines.
pub struct Progress {
    /// Only on the main rank.
    files: Option<Files>,
    /// The step of the last evaluation, 0 before the first.
    evaluated: u64,
    /// Seconds of training in earlier parts of the run, and when this part began.
    before_s: f64,
    started: Instant,
    /// Updates of this part of the run, and the run's last one.
    steps: u64,
    last_step: u64,
    last_line: Instant,
    last_record: Instant,
    waited: Duration,
    bad_files: usize,
    tell: fn(&str),
    /// `None` once the first update is recorded.
    tuning: Option<Tuning>,
}

/// The record files, which agree with each other.
struct Files {
    records: RecordWriter,
    evaluations: EvaluationWriter,
    board: TensorBoard,
}

impl Files {
    /// Opens the files to continue after the update `done`; records of later updates are dropped. Also returns the step
    /// of the last evaluation, 0 before the first.
    fn open(run: &Run<impl Task>, done: u64, elapsed_s: f64) -> Result<(Option<Self>, u64), TrainerError> {
        if !run.ranks().is_main() {
            return Ok((None, run.ranks().main_number(0)?));
        }
        let (metrics, evaluations) = (run.path(METRICS), run.path(EVALUATIONS));
        let records = RecordWriter::open(&metrics, done)?;
        let evaluation_writer = EvaluationWriter::open(&evaluations, done)?;
        let (before, evaluated) = (read_records(&metrics)?, read_evaluations(&evaluations)?);
        let folder = run.path("tensorboard");
        let board = TensorBoard::open(&folder, SystemTime::now(), elapsed_s, &before, &evaluated)?;
        let evaluated = evaluated.last().map_or(0, |evaluation| evaluation.step);
        Ok((
            Some(Self { records, evaluations: evaluation_writer, board }),
            run.ranks().main_number(evaluated)?,
        ))
    }
}

/// The interval between progress lines: short enough to show that work goes on, long enough to read.
const LINE_EVERY: Duration = Duration::from_secs(5);

impl Progress {
    /// Starts, or continues after the state's step. On the main rank, `tell` receives a progress line every few
    /// seconds.
    ///
    /// # Errors
    /// If a file of records cannot be opened.
    pub fn start<T: Task>(
        run: &Run<T>,
        state: &TrainState<T::Model>,
        tell: fn(&str),
    ) -> Result<Self, TrainerError> {
        let now = Instant::now();
        let tell = if run.ranks().is_main() { tell } else { |_: &str| () };
        let (files, evaluated) = Files::open(run, state.step, state.elapsed_s)?;
        Ok(Self {
            files,
            evaluated,
            before_s: state.elapsed_s,
            started: now,
            steps: 0,
            last_step: state.step,
            last_line: now,
            last_record: now,
            waited: Duration::ZERO,
            bad_files: 0,
            tell,
            tuning: Tuning::watch(&state.model, tell),
        })
    }

    /// Records what was measured up to update `step`, and returns the record. `waiting` is the time that all updates of
    /// this rank have waited for data; the mean over ranks is recorded.
    ///
    /// If the run went back to a checkpoint, the records after it are dropped, and none is added.
    ///
    /// # Errors
    /// If the record cannot be written.
    pub fn update(
        &mut self,
        run: &Run<impl Task>,
        step: u64,
        report: StepReport,
        waiting: Duration,
    ) -> Result<Record, TrainerError> {
        self.tuning = None;
        let pace = &run.pace;
        let took = self.last_record.elapsed().as_secs_f64().max(1e-9);
        let waited = waiting.saturating_sub(self.waited).as_secs_f64();
        let of_ranks = run.ranks().gather_numbers(&[waited, run.bad_files().len() as f64])?;
        let total = |i: usize| of_ranks.iter().filter_map(|numbers| numbers.get(i)).sum::<f64>();
        let (waited, bad_files) = (total(0) / of_ranks.len() as f64, total(1) as usize);
        (self.last_record, self.waited) = (Instant::now(), waiting);
        let record = Record {
            step,
            epoch: pace.epoch(step),
            loss: report.loss,
            lr: pace.schedule.lr(step.saturating_sub(1)),
            grad_norm: Some(report.grad_norm),
            images_per_s: step.saturating_sub(self.last_step) as f64 * pace.effective_batch as f64 / took,
            waiting_share: (waited / took).min(1.0),
            elapsed_s: self.elapsed_s(),
        };
        if step <= self.last_step {
            (self.files, self.evaluated) = Files::open(run, step, self.elapsed_s())?;
            (self.tell)(&format!(
                "after step {} the loss was {} and the gradient norm {}: back to step {step}",
                self.last_step, report.loss, report.grad_norm
            ));
            self.last_step = step;
            return Ok(record);
        }
        self.steps += step - self.last_step;
        self.last_step = step;
        if let Some(files) = &mut self.files {
            files.records.write(&record)?;
            files.board.record(&record)?;
        }
        if bad_files > self.bad_files {
            self.bad_files = bad_files;
            run.log_bad_files(run.bad_files())?;
        }

        let last = step == pace.total_steps;
        if last || self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            let rate = self.steps as f64 / self.started.elapsed().as_secs_f64();
            let left_s = (pace.total_steps - step) as f64 / rate;
            (self.tell)(&format!(
                "epoch {:.2}/{}  step {step}/{}  loss {:.4}  lr {:.2e}  gradient {:.2e}  {:.0} images/s  \
                 waiting for data {:.0}%  {} left",
                record.epoch,
                pace.epochs,
                pace.total_steps,
                record.loss,
                record.lr,
                report.grad_norm,
                rate * pace.effective_batch as f64,
                100.0 * record.waiting_share,
                duration(left_s)
            ));
        }
        Ok(record)
    }

    /// Seconds of training so far, earlier parts of the run included.
    pub fn elapsed_s(&self) -> f64 {
        self.before_s + self.started.elapsed().as_secs_f64()
    }

    /// Records an evaluation.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn evaluation(&mut self, evaluation: &Evaluation) -> Result<(), TrainerError> {
        if let Some(files) = &mut self.files {
            files.evaluations.write(evaluation)?;
            files.board.evaluation(evaluation)?;
        }
        self.evaluated = evaluation.step;
        // The time that the evaluation took does not belong to the next update.
        self.last_record = Instant::now();
        Ok(())
    }

    /// Whether to evaluate the model now; false if it was already evaluated at this step.
    pub fn evaluation_due(&self, run: &Run<impl Task>, step: u64) -> bool {
        run.pace.evaluation_due(step) && step > self.evaluated
    }
}

/// Reports, if no update is done after a while, that the device is tuning its kernels by trying them.
struct Tuning {
    /// Dropped when there is nothing to report any more.
    _done: mpsc::Sender<()>,
}

impl Tuning {
    /// Starts the timer for a model on a device that tunes its kernels.
    fn watch<M: SavedModel>(model: &M, tell: fn(&str)) -> Option<Self> {
        let device = model.devices().into_iter().next()?;
        // Our own operations need no tuning.
        if ops::is_fused(&device) {
            return None;
        }
        let (done, ended) = mpsc::channel();
        thread::spawn(move || {
            if ended.recv_timeout(TUNING_AFTER) == Err(mpsc::RecvTimeoutError::Timeout) {
                tell(
                    "tuning kernels for this device and these shapes: this takes minutes once, and the result is cached",
                );
            }
        });
        Some(Self { _done: done })
    }
}

/// The delay of the report: longer than an update takes with tuned kernels.
const TUNING_AFTER: Duration = Duration::from_secs(10);
