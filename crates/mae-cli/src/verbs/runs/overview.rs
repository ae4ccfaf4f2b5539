//! The state of a run, of any task, as its folder records it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use mae_data::path_name;
use mae_report::{EVALUATIONS, METRICS, ReportError};
use mae_trainer::{Evaluation, Finetune, Metric, Pretrain, Record, Task, read_evaluations, read_records};
use serde_json::{Value, json};
use toml::Table;

/// The file that marks a folder as a run.
pub const RECIPE: &str = "recipe.toml";

/// A run, as its files describe it.
pub struct Overview {
    pub folder: PathBuf,
    pub task: String,
    /// The folder of training images, or `None` for the built-in ones.
    pub data: Option<PathBuf>,
    /// The planned number of epochs.
    pub epochs: i64,
    /// The last record.
    pub record: Option<Record>,
    /// The last evaluation.
    pub evaluation: Option<Evaluation>,
    /// Whether weights were written after the last record.
    pub finished: bool,
    /// When the last record was written, or when the run was created if it has no record.
    pub changed: SystemTime,
    /// Its recipe.
    pub recipe: Table,
}

impl Overview {
    /// Reads a run's folder.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(RECIPE);
        let read = || format!("cannot read {}", path.display());
        let text = fs::read_to_string(&path).with_context(read)?;
        let recipe: Table = toml::from_str(&text).with_context(read)?;
        let text = |value: Option<&toml::Value>| value.and_then(|value| value.as_str()).map(str::to_owned);
        let record = last(read_records(folder.join(METRICS)))?;
        let changed = |name: &str| fs::metadata(folder.join(name)).and_then(|found| found.modified()).ok();
        let recorded = record.as_ref().and_then(|_| changed(METRICS));
        let saved = changed("model.safetensors");
        Ok(Self {
            folder: folder.to_owned(),
            task: text(recipe.get("task")).unwrap_or_default(),
            data: text(recipe.get("data").and_then(|data| data.get("path"))).map(PathBuf::from),
            epochs: recipe.get("epochs").and_then(toml::Value::as_integer).unwrap_or(0),
            record,
            evaluation: last(read_evaluations(folder.join(EVALUATIONS)))?,
            finished: saved.zip(recorded).is_some_and(|(saved, recorded)| saved >= recorded),
            changed: recorded.or_else(|| changed(RECIPE)).unwrap_or(UNIX_EPOCH),
            recipe,
        })
    }

    /// A value of the last record.
    pub fn record_of(&self, of: impl Fn(&Record) -> f64) -> Option<f64> {
        self.record.as_ref().map(of)
    }

    /// A value of the last evaluation: the held-out loss under the name `val_loss`, the metrics under their names.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let evaluation = self.evaluation.as_ref()?;
        match name {
            "val_loss" => evaluation.val_loss,
            name => evaluation.metrics.get(name).copied(),
        }
    }

    pub fn to_json(&self) -> Value {
        let seconds = self.changed.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        json!({
            // JSON must be UTF-8, which a path need not be.
            "run": path_name(&self.folder),
            "task": self.task,
            "data": self.data,
            "epochs": self.epochs,
            "finished": self.finished,
            "changed": seconds,
            "record": self.record,
            "evaluation": self.evaluation,
        })
    }
}

/// The metrics that occur in any of the evaluations, those of the built-in tasks first.
pub fn metrics<'a>(evaluations: impl Iterator<Item = &'a Evaluation> + Clone) -> Vec<Metric> {
    let known =
        [Metric::VAL_LOSS].into_iter().chain(Pretrain::METRICS.iter().chain(Finetune::METRICS).copied());
    let has = |metric: &Metric| evaluations.clone().any(|evaluation| metric.of(evaluation).is_some());
    let mut metrics: Vec<Metric> = known.filter(has).collect();
    for evaluation in evaluations.clone() {
        for name in evaluation.metrics.keys() {
            if !metrics.iter().any(|metric| metric.name == name) {
                // This is a metric of a custom task. A `Metric` needs a static name, so the name is leaked.
                metrics.push(Metric::named(name.clone().leak()));
            }
        }
    }
    metrics
}

/// The last line of a file. A run that has just begun may not have the file yet.
fn last<L>(lines: Result<Vec<L>, ReportError>) -> Result<Option<L>, ReportError> {
    match lines {
        Ok(mut lines) => Ok(lines.pop()),
        Err(ReportError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
