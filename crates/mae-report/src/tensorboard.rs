//! A run's records and evaluations as scalars for TensorBoard.

use std::borrow::Cow;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crc::{CRC_32_ISCSI, Crc, Table};

use crate::ReportError;
use crate::atomic::{make_folder, write_atomic};
use crate::records::{Evaluation, Record};

/// Appends to an event file with the content of `metrics.jsonl` and `evaluations.jsonl`, in TensorBoard's single
/// precision.
///
/// # Source
/// Framing: TensorFlow, `core/lib/io/record_writer.h`. Messages: TensorBoard, `compat/proto/event.proto` and
/// `summary.proto`, in the plain form with `simple_value` that every version reads.
#[derive(Debug)]
pub struct TensorBoard {
    file: File,
    path: PathBuf,
    /// When the run would have started, had it never been interrupted, in seconds since 1970.
    started_s: f64,
    /// Training time at the last record. Evaluations have no time of their own and take this one.
    elapsed_s: f64,
}

/// TensorBoard treats files with this in their name as event files.
const MARK: &str = "tfevents";

/// Name and value of each scalar at a step.
type Scalars = [(Cow<'static, str>, Option<f64>)];

impl TensorBoard {
    /// Writes all that was recorded so far to a new event file in `folder`. Removes older event files, which may go
    /// beyond the step from which the run is continued.
    ///
    /// `now` names the file. `now` minus `elapsed_s`, the seconds trained so far, is when the run started. Records and
    /// evaluations must be ordered by step.
    ///
    /// # Errors
    /// [`ReportError::Write`] if the file cannot be written.
    pub fn open(
        folder: impl AsRef<Path>,
        now: SystemTime,
        elapsed_s: f64,
        records: &[Record],
        evaluations: &[Evaluation],
    ) -> Result<Self, ReportError> {
        let folder = folder.as_ref();
        let now_s = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let path = folder.join(format!("events.out.{MARK}.{}.mae", now_s as u64));
        let started_s = now_s - elapsed_s;
        let mut history = frame(&version_event(started_s));
        // Tells a running TensorBoard to forget the content of the removed files.
        history.extend(frame(&start_event(started_s)));
        let mut elapsed_s = 0.0;
        let mut pending = evaluations.iter().peekable();
        for record in records {
            while let Some(evaluation) = pending.next_if(|evaluation| evaluation.step < record.step) {
                history.extend(event(started_s + elapsed_s, evaluation.step, &of_evaluation(evaluation)));
            }
            elapsed_s = record.elapsed_s;
            history.extend(event(started_s + elapsed_s, record.step, &of_record(record)));
        }
        for evaluation in pending {
            history.extend(event(started_s + elapsed_s, evaluation.step, &of_evaluation(evaluation)));
        }

        let refused = |source| ReportError::Write { path: path.clone(), source };
        make_folder(folder)?;
        write_atomic(&path, |file| file.write_all(&history))?;
        remove_others(folder, &path).map_err(refused)?;
        let file = OpenOptions::new().append(true).open(&path).map_err(refused)?;
        Ok(Self { file, path, started_s, elapsed_s })
    }

    /// Appends a record's scalars, under `train/`.
    ///
    /// # Errors
    /// [`ReportError::Write`] if the file cannot be written.
    pub fn record(&mut self, record: &Record) -> Result<(), ReportError> {
        self.elapsed_s = record.elapsed_s;
        self.append(record.step, &of_record(record))
    }

    /// Appends an evaluation's scalars, under `eval/`.
    ///
    /// # Errors
    /// [`ReportError::Write`] if the file cannot be written.
    pub fn evaluation(&mut self, evaluation: &Evaluation) -> Result<(), ReportError> {
        self.append(evaluation.step, &of_evaluation(evaluation))
    }

    fn append(&mut self, step: u64, scalars: &Scalars) -> Result<(), ReportError> {
        let bytes = event(self.started_s + self.elapsed_s, step, scalars);
        self.file.write_all(&bytes).map_err(|source| ReportError::Write { path: self.path.clone(), source })
    }
}

fn of_record(record: &Record) -> Vec<(Cow<'static, str>, Option<f64>)> {
    // JSON keeps an infinite loss as `null`, which is read as NaN. Both files should agree.
    let loss = if record.loss.is_finite() { record.loss } else { f64::NAN };
    vec![
        ("train/loss".into(), Some(loss)),
        ("train/lr".into(), Some(record.lr)),
        ("train/grad_norm".into(), finite(record.grad_norm)),
        ("train/images_per_s".into(), Some(record.images_per_s)),
        ("train/waiting_share".into(), Some(record.waiting_share)),
    ]
}

fn of_evaluation(evaluation: &Evaluation) -> Vec<(Cow<'static, str>, Option<f64>)> {
    let metrics =
        evaluation.metrics.iter().map(|(name, value)| (format!("eval/{name}").into(), finite(Some(*value))));
    [("eval/val_loss".into(), finite(evaluation.val_loss))].into_iter().chain(metrics).collect()
}

/// Drops values that JSON does not keep.
fn finite(value: Option<f64>) -> Option<f64> {
    value.filter(|value| value.is_finite())
}

/// Removes all event files but `kept`, including those that a dying process left half-written.
fn remove_others(folder: &Path, kept: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path != kept && path.file_name().is_some_and(|name| name.to_string_lossy().contains(MARK)) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Returns a framed event with the scalars that have a value; empty if none has.
fn event(wall_time_s: f64, step: u64, scalars: &Scalars) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, value) in scalars {
        let Some(value) = value else { continue };
        let mut scalar = Vec::new();
        bytes_field(&mut scalar, 1, tag.as_bytes()); // Summary.Value.tag
        scalar.push(2 << 3 | FIXED_32); // Summary.Value.simple_value
        scalar.extend((*value as f32).to_le_bytes());
        bytes_field(&mut summary, 1, &scalar); // Summary.value
    }
    if summary.is_empty() {
        return Vec::new();
    }
    let mut event = wall_time(wall_time_s);
    event.push(2 << 3 | VARINT); // Event.step
    varint(&mut event, step);
    bytes_field(&mut event, 5, &summary); // Event.summary
    frame(&event)
}

/// The event with which an event file begins.
fn version_event(wall_time_s: f64) -> Vec<u8> {
    let mut event = wall_time(wall_time_s);
    bytes_field(&mut event, 3, b"brain.Event:2"); // Event.file_version
    event
}

/// An event at step 0: voids what earlier files say of later steps.
fn start_event(wall_time_s: f64) -> Vec<u8> {
    let mut event = wall_time(wall_time_s);
    bytes_field(&mut event, 7, &[1 << 3 | VARINT, 1]); // Event.session_log: SessionLog.status = START
    event
}

// Protobuf's wire types: the low three bits of a field's key, below its number.
const VARINT: u8 = 0;
const FIXED_64: u8 = 1;
const BYTES: u8 = 2;
const FIXED_32: u8 = 5;

fn wall_time(seconds: f64) -> Vec<u8> {
    let mut event = vec![1 << 3 | FIXED_64]; // Event.wall_time
    event.extend(seconds.to_le_bytes());
    event
}

fn bytes_field(message: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    message.push(number << 3 | BYTES);
    varint(message, bytes.len() as u64);
    message.extend(bytes);
}

/// Appends a number, seven bits per byte, the lowest first. The high bit says that more follow.
fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

/// A TFRecord: length, its checksum, data, its checksum.
fn frame(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let checksums = [&length[..], data].map(|bytes| masked_crc(bytes).to_le_bytes());
    [&length[..], &checksums[0], data, &checksums[1]].concat()
}

/// CRC-32C, rotated and shifted as TensorFlow's `core/lib/hash/crc32c.h` does.
fn masked_crc(bytes: &[u8]) -> u32 {
    static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);
    CRC.checksum(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn record(step: u64) -> Record {
        Record {
            step,
            epoch: 0.1,
            loss: 1.0 / (step as f64 + 0.7),
            lr: 1e-3,
            grad_norm: step.is_multiple_of(2).then_some(0.3),
            images_per_s: 123.4,
            waiting_share: 0.01,
            elapsed_s: step as f64,
        }
    }

    fn evaluation(step: u64) -> Evaluation {
        Evaluation { step, epoch: 0.1, metrics: [("knn".to_owned(), 0.5)].into(), ..Evaluation::default() }
    }

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_700_000_000)
    }

    /// Name and content of the only file.
    fn only_file(folder: &Path) -> (String, Vec<u8>) {
        let files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        (files[0].file_name().into_string().unwrap(), fs::read(files[0].path()).unwrap())
    }

    #[test]
    fn writes_the_bytes_that_tensorboards_own_writer_does() {
        let scalars = [
            ("train/loss".into(), Some(0.1)),
            ("train/grad_norm".into(), None),
            ("train/lr".into(), Some(0.0)),
        ];
        let ours = [
            frame(&version_event(1.5)),
            frame(&start_event(1.5)),
            event(1_700_000_001.25, 300, &scalars),
            event(1.5, 4, &[("eval/probe".into(), None)]),
        ];
        assert_eq!(ours.concat(), include_bytes!("../tests/python/events.tfevents"));
    }

    #[test]
    fn a_continued_run_has_the_file_of_one_that_was_never_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let whole = folder.path().join("whole");
        let mut board = TensorBoard::open(&whole, now(), 0.0, &[], &[]).unwrap();
        for step in 1..=6 {
            board.record(&record(step)).unwrap();
            if step % 2 == 0 {
                board.evaluation(&evaluation(step)).unwrap();
            }
        }
        let never_stopped = only_file(&whole);
        assert_eq!(never_stopped.0, "events.out.tfevents.1700000000.mae");

        // Died after update 6, with a checkpoint of update 4, and in the middle of an earlier continuation.
        fs::write(whole.join(".events.out.tfevents.1700000001.mae.x7.tmp"), b"half").unwrap();
        let (records, evaluations) = ((1..=4).map(record).collect::<Vec<_>>(), [2, 4].map(evaluation));
        let later = now() + Duration::from_secs(4);
        let mut board = TensorBoard::open(&whole, later, 4.0, &records, &evaluations).unwrap();
        for step in 5..=6 {
            board.record(&record(step)).unwrap();
        }
        board.evaluation(&evaluation(6)).unwrap();
        let continued = only_file(&whole);
        assert_eq!(continued.0, "events.out.tfevents.1700000004.mae");
        assert!(continued.1 == never_stopped.1);
    }

    #[test]
    fn names_the_file_it_cannot_write() {
        let folder = tempfile::tempdir().unwrap();
        let occupied = folder.path().join("tensorboard");
        fs::write(&occupied, b"a file").unwrap();
        let error = TensorBoard::open(&occupied, now(), 0.0, &[], &[]).unwrap_err().to_string();
        assert!(error.starts_with("cannot write") && error.contains("events.out"), "{error}");
    }
}
