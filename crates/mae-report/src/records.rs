//! `metrics.jsonl` and `evaluations.jsonl`: one line for each recorded step, appended during the run.

use crate::ReportError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

/// The file of a run's [`Record`]s.
pub const METRICS: &str = "metrics.jsonl";
/// The file of a run's [`Evaluation`]s.
pub const EVALUATIONS: &str = "evaluations.jsonl";

/// A kind of line that a [`LineWriter`] appends.
pub trait Line: Serialize + DeserializeOwned {
    /// Updates done when it was written. Lines are ordered by step.
    fn step(&self) -> u64;
}

/// The values recorded at a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Updates done, this one included: the first is 1.
    pub step: u64,
    /// The same in epochs.
    pub epoch: f64,
    /// The mean loss over the images of the updates since the last record. JSON cannot express a loss that is not
    /// finite: it is written as `null` and read as NaN.
    #[serde(deserialize_with = "null_is_nan")]
    pub loss: f64,
    /// The learning rate that the last update used.
    pub lr: f64,
    /// The mean over these updates of the gradient norm over all parameters, if it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grad_norm: Option<f64>,
    /// Images per second since the last record.
    pub images_per_s: f64,
    /// The share of that time, 0 to 1, spent waiting for images.
    pub waiting_share: f64,
    /// Seconds since the run started, earlier parts of a continued run included.
    pub elapsed_s: f64,
}

/// The metrics of the model between two updates. Those not measured are left out of the line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Updates done.
    pub step: u64,
    /// The same in epochs.
    pub epoch: f64,
    /// The mean loss over held-out images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_loss: Option<f64>,
    /// The task's metrics by name.
    #[serde(flatten)]
    pub metrics: BTreeMap<String, f64>,
}

impl Line for Record {
    fn step(&self) -> u64 {
        self.step
    }
}

impl Line for Evaluation {
    fn step(&self) -> u64 {
        self.step
    }
}

/// Returns the mean loss over the last twentieth of a run's records; `None` without records.
pub fn last_loss(records: &[Record]) -> Option<f64> {
    let last = &records[records.len() - records.len().div_ceil(20)..];
    (!last.is_empty()).then(|| last.iter().map(|record| record.loss).sum::<f64>() / last.len() as f64)
}

fn null_is_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// Appends lines to a file. When [`write`](Self::write) returns, the operating system has the line.
#[derive(Debug)]
pub struct LineWriter<L> {
    file: File,
    path: PathBuf,
    kind: PhantomData<fn(L)>,
}

/// Writes `metrics.jsonl`.
pub type RecordWriter = LineWriter<Record>;

/// Writes `evaluations.jsonl`.
pub type EvaluationWriter = LineWriter<Evaluation>;

impl<L: Line> LineWriter<L> {
    /// Opens `path` to continue after update `done`, 0 for a new run. Creates the file if it does not exist.
    ///
    /// Cuts off lines of later updates, and a last line that a dying process left half-written: the continued run
    /// writes them again.
    ///
    /// # Errors
    /// [`ReportError::Read`] or [`ReportError::Write`] if the file cannot be read or written; [`ReportError::Record`]
    /// if a complete line up to there is not a record. The file is then left as it was.
    pub fn open(path: impl AsRef<Path>, done: u64) -> Result<Self, ReportError> {
        let path = path.as_ref();
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(|source| write_error(path, source))?;
        let mut kept_bytes = 0;
        for_each_line(path, |line: L, end| {
            let keep = line.step() <= done;
            if keep {
                kept_bytes = end;
            }
            keep
        })?;
        file.set_len(kept_bytes).map_err(|source| write_error(path, source))?;
        Ok(Self { file, path: path.to_owned(), kind: PhantomData })
    }

    /// Appends a line.
    ///
    /// # Errors
    /// [`ReportError::Write`] if the file cannot be written.
    pub fn write(&mut self, line: &L) -> Result<(), ReportError> {
        let mut append = || {
            let mut text = serde_json::to_vec(line)?;
            text.push(b'\n');
            // A single unbuffered call: nothing is left to flush, and lines are not split.
            self.file.write_all(&text)
        };
        append().map_err(|source| write_error(&self.path, source))
    }
}

/// Reads all of a run's records, except a half-written last line.
///
/// # Errors
/// [`ReportError::Read`] if the file cannot be read; [`ReportError::Record`] if a complete line is not a record.
pub fn read_records(path: impl AsRef<Path>) -> Result<Vec<Record>, ReportError> {
    read_lines(path.as_ref())
}

/// Reads all of a run's evaluations, as [`read_records`] does its records. Without a file, there are none.
///
/// # Errors
/// As [`read_records`], except for a missing file.
pub fn read_evaluations(path: impl AsRef<Path>) -> Result<Vec<Evaluation>, ReportError> {
    match read_lines(path.as_ref()) {
        // Opened without looking for it first, because the folder may be moved at any time.
        Err(ReportError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read,
    }
}

fn read_lines<L: Line>(path: &Path) -> Result<Vec<L>, ReportError> {
    let mut lines = Vec::new();
    for_each_line(path, |line, _| {
        lines.push(line);
        true
    })?;
    Ok(lines)
}

/// Calls `visit` with each complete line and the offset of its end, until `visit` returns false.
fn for_each_line<L: Line>(path: &Path, mut visit: impl FnMut(L, u64) -> bool) -> Result<(), ReportError> {
    let read_error = |source| ReportError::Read { path: path.to_owned(), source };
    let mut reader = BufReader::new(File::open(path).map_err(read_error)?);
    let (mut text, mut number, mut end) = (Vec::new(), 0, 0);
    loop {
        text.clear();
        end += reader.read_until(b'\n', &mut text).map_err(read_error)? as u64;
        number += 1;
        if text.last() != Some(&b'\n') {
            return Ok(());
        }
        let line = serde_json::from_slice(&text).map_err(|source| ReportError::Record {
            path: path.to_owned(),
            line: number,
            source,
        })?;
        if !visit(line, end) {
            return Ok(());
        }
    }
}

fn write_error(path: &Path, source: io::Error) -> ReportError {
    ReportError::Write { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn record(step: u64) -> Record {
        Record {
            step,
            epoch: step as f64 / 7.0,
            loss: f64::from(1.0 / (step as f32 + 0.3)),
            lr: 2.4e-3,
            grad_norm: step.is_multiple_of(2).then_some(0.1 + 0.2),
            images_per_s: 1234.5,
            waiting_share: 0.01,
            elapsed_s: step as f64 * 0.1,
        }
    }

    fn written(path: &Path, done: u64, steps: impl Iterator<Item = u64>) {
        let mut writer = RecordWriter::open(path, done).unwrap();
        steps.for_each(|step| writer.write(&record(step)).unwrap());
    }

    fn file() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        (folder, path)
    }

    #[test]
    fn reads_what_was_written_to_the_last_bit() {
        let (_folder, path) = file();
        written(&path, 0, 1..=500);
        assert_eq!(read_records(&path).unwrap(), (1..=500).map(record).collect::<Vec<_>>());
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 500);
        assert!(
            text.starts_with(
                r#"{"step":1,"epoch":0.14285714285714285,"loss":0.7692307829856873,"lr":0.0024,"#
            )
        );
    }

    #[test]
    fn a_continued_run_has_the_file_of_one_that_was_never_stopped() {
        let (_folder, path) = file();
        written(&path, 0, 1..=20);
        let never_stopped = fs::read(&path).unwrap();
        let line_ends =
            never_stopped.iter().enumerate().filter(|&(_, &byte)| byte == b'\n').map(|(end, _)| end);
        let checkpoint = line_ends.clone().nth(11).unwrap();
        // The process died after any byte past the checkpoint at update 12, usually within a line.
        for died in (checkpoint + 1..=never_stopped.len()).step_by(3) {
            fs::write(&path, &never_stopped[..died]).unwrap();
            written(&path, 12, 13..=20);
            assert!(fs::read(&path).unwrap() == never_stopped, "died after byte {died}");
        }
    }

    #[test]
    fn a_half_written_line_is_neither_read_nor_in_the_way() {
        let (_folder, path) = file();
        written(&path, 0, 1..=3);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"step\":4,\"epo").unwrap();
        assert_eq!(read_records(&path).unwrap().len(), 3);
        written(&path, 5, 6..=6);
        let steps: Vec<u64> = read_records(&path).unwrap().iter().map(|record| record.step).collect();
        assert_eq!(steps, [1, 2, 3, 6]);
    }

    #[test]
    fn a_damaged_line_is_named_and_the_file_left_alone() {
        let (_folder, path) = file();
        written(&path, 0, 1..=3);
        let damaged = fs::read_to_string(&path).unwrap().replace("\"step\":2", "\"stop\":2");
        fs::write(&path, &damaged).unwrap();
        let expected = format!("line 2 of {} is not a record of metrics", path.display());
        assert_eq!(read_records(&path).unwrap_err().to_string(), expected);
        assert_eq!(RecordWriter::open(&path, 3).unwrap_err().to_string(), expected);
        assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
    }

    #[test]
    fn a_loss_that_is_not_finite_stays_readable() {
        let (_folder, path) = file();
        let mut writer = RecordWriter::open(&path, 0).unwrap();
        for loss in [f64::NAN, f64::INFINITY] {
            writer.write(&Record { loss, ..record(1) }).unwrap();
        }
        assert!(read_records(&path).unwrap().iter().all(|record| record.loss.is_nan()));
    }

    #[test]
    fn evaluations_leave_out_what_was_not_measured_and_are_cut_off_alike() {
        let (folder, _) = file();
        let path = folder.path().join(EVALUATIONS);
        assert_eq!(read_evaluations(&path).unwrap(), []);
        let evaluation = |step, name: &str, value| Evaluation {
            step,
            epoch: 0.5,
            val_loss: None,
            metrics: [(name.to_owned(), value)].into(),
        };
        let mut writer = EvaluationWriter::open(&path, 0).unwrap();
        writer.write(&Evaluation { val_loss: Some(0.25), ..evaluation(5, "probe", 1.0) }).unwrap();
        writer.write(&evaluation(10, "knn", 0.1 + 0.2)).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            [
                r#"{"step":5,"epoch":0.5,"val_loss":0.25,"probe":1.0}"#,
                r#"{"step":10,"epoch":0.5,"knn":0.30000000000000004}"#
            ]
        );
        // Continued from a checkpoint between the two.
        EvaluationWriter::open(&path, 9).unwrap().write(&evaluation(10, "knn", 0.5)).unwrap();
        let read = read_evaluations(&path).unwrap();
        assert_eq!((read.len(), read[0].metrics["probe"], &read[1]), (2, 1.0, &evaluation(10, "knn", 0.5)));
    }

    #[test]
    fn names_the_file_it_cannot_open() {
        let (folder, _) = file();
        let path = folder.path().join("missing").join("metrics.jsonl");
        let [write, read] = [RecordWriter::open(&path, 0).unwrap_err(), read_records(&path).unwrap_err()];
        assert_eq!(write.to_string(), format!("cannot write {}", path.display()));
        assert_eq!(read.to_string(), format!("cannot read {}", path.display()));
    }
}
