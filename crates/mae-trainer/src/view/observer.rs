//! Observers of training.

use crate::{Evaluation, Record};

/// Observes training, for example to draw its curves.
pub trait Observer {
    /// An update was recorded, or several that were read together.
    fn update(&mut self, _record: &Record) {}

    /// A model was evaluated.
    fn evaluation(&mut self, _evaluation: &Evaluation) {}

    /// Whether training should stop after the current update.
    fn stops(&self) -> bool {
        false
    }
}
