//! What a task measures.

use std::collections::BTreeMap;

/// What a task has measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// The mean loss on held-out images, if there are any.
    pub val_loss: Option<f64>,
    /// Other numbers by name, each one of the task's [`METRICS`](crate::Task::METRICS).
    pub metrics: BTreeMap<String, f64>,
}

impl Measured {
    /// With one number more, if it is known.
    #[must_use]
    pub fn with(mut self, name: &str, value: Option<f64>) -> Self {
        self.metrics.extend(value.map(|value| (name.to_owned(), value)));
        self
    }
}
