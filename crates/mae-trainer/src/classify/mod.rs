//! Classifiers on an encoder: linear probes, fine-tuning, and fine-tuning of the last blocks alone.
//!
//! A [`ClassifyRecipe`] says what to do; a [`ClassifyRun`] is that recipe with its images and its folder, and
//! [`train_classifier`] takes it to its end or to where it is asked to stop. [`score`] measures a classifier.

mod draw;
#[cfg(test)]
mod golden;
mod inputs;
mod mix;
mod named;
mod optimizer;
mod recipe;
mod run;
mod scores;
mod step;
mod train;

pub use mix::{Mix, Mixing};
pub use optimizer::{Lars, layer_scales};
pub use recipe::{ClassifyData, ClassifyEval, ClassifyModel, ClassifyOptim, ClassifyRecipe, Method};
pub use run::ClassifyRun;
pub use scores::{Scores, score};
pub use train::{Trained, train_classifier};
