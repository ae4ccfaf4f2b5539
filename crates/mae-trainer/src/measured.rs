//! The result of an evaluation.

use std::collections::BTreeMap;

/// The values that a task has measured in an evaluation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// The mean loss on held-out images, if there are any.
    pub val_loss: Option<f64>,
    /// Other values by name, each one of the task's [`METRICS`](crate::Task::METRICS).
    pub metrics: BTreeMap<String, f64>,
}

impl Measured {
    /// Adds a value, if it is known.
    #[must_use]
    pub fn with(mut self, name: &str, value: Option<f64>) -> Self {
        self.metrics.extend(value.map(|value| (name.to_owned(), value)));
        self
    }
}
