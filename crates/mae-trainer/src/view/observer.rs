//! Who looks on at a training.

use crate::{Evaluation, Record};

/// Looks on at a training, such as a view of its curves.
pub trait Observer {
    /// An update was recorded, or several that were read together.
    fn update(&mut self, _record: &Record) {}

    /// A model was measured.
    fn evaluation(&mut self, _evaluation: &Evaluation) {}

    /// Whether the training is to stop after the current update.
    fn stops(&self) -> bool {
        false
    }
}
