//! The metrics of an evaluation.

use crate::Evaluation;

/// A metric of an evaluation, and how it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name in `evaluations.jsonl` and TensorBoard.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// The chart of the report in which it is drawn. Metrics with the same chart share it.
    pub chart: &'static str,
    /// Whether it is a share, 0 to 1, shown in percent.
    pub is_share: bool,
    /// Whether higher is better; `None` if that is unknown.
    pub higher_is_better: Option<bool>,
}

impl Metric {
    /// The mean loss on held-out images.
    pub const VAL_LOSS: Self = Self {
        name: "val_loss",
        title: "held-out loss",
        chart: "Loss",
        is_share: false,
        higher_is_better: Some(false),
    };

    /// An accuracy.
    pub const fn accuracy(name: &'static str, title: &'static str, chart: &'static str) -> Self {
        Self { name, title, chart, is_share: true, higher_is_better: Some(true) }
    }

    /// A metric known only by name.
    pub const fn named(name: &'static str) -> Self {
        Self { name, title: name, chart: name, is_share: false, higher_is_better: None }
    }

    /// An error in the unit of the predicted value.
    pub const fn error(name: &'static str, title: &'static str) -> Self {
        Self { name, title, chart: title, is_share: false, higher_is_better: Some(false) }
    }

    /// Returns its value in an evaluation, if present and finite.
    pub fn of(&self, evaluation: &Evaluation) -> Option<f64> {
        let value = match self.name {
            "val_loss" => evaluation.val_loss,
            name => evaluation.metrics.get(name).copied(),
        };
        value.filter(|value| value.is_finite())
    }

    /// Whether `value` is known to be better than `other`.
    pub fn is_better(&self, value: f64, other: f64) -> bool {
        self.higher_is_better.is_some_and(|higher| if higher { value > other } else { value < other })
    }

    /// Formats a value for people.
    pub fn text(&self, value: f64) -> String {
        if self.is_share { format!("{:.1}%", 100.0 * value) } else { format!("{value:.4}") }
    }

    /// Returns the best of the evaluations by this metric, with its value; the first one if several are equal.
    pub fn best(self, evaluations: Vec<Evaluation>) -> Option<(Evaluation, f64)> {
        let measured = evaluations.into_iter().filter_map(|evaluation| {
            let value = self.of(&evaluation)?;
            Some((evaluation, value))
        });
        measured.reduce(|best, next| if self.is_better(next.1, best.1) { next } else { best })
    }
}
