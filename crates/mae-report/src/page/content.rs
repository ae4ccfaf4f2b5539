//! The parts of a report page that are in no file of the run's folder.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use crate::Metric;

/// The results of a finished run, besides its records.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Names and values to print on the terminal.
    pub lines: Vec<(&'static str, String)>,
    /// A loss to compare with, and the name of its predictor.
    pub baseline: Option<(&'static str, f64)>,
    /// Levels to compare with in charts: the chart's title, the level's name and value.
    pub levels: Vec<(&'static str, &'static str, f64)>,
    /// Groups of shares, drawn as bars.
    pub bars: Vec<Bars>,
    /// What the pictures by step show, in a sentence.
    pub pictures_note: Option<&'static str>,
    /// Pictures of the finished run.
    pub figures: Vec<Figure>,
}

impl Outcome {
    /// Adds a line for the terminal.
    pub fn line(&mut self, name: &'static str, value: impl Display) {
        self.lines.push((name, value.to_string()));
    }
}

/// A picture of a finished run.
#[derive(Clone, Debug)]
pub struct Figure {
    /// The figure's title.
    pub title: &'static str,
    /// The PNG file. If it does not exist, the page omits the figure.
    pub path: PathBuf,
    /// A note below the picture; empty for none.
    pub note: String,
}

impl Figure {
    /// Creates a figure without a note.
    pub fn new(title: &'static str, path: PathBuf) -> Self {
        Self { title, path, note: String::new() }
    }

    /// Adds a note below the picture.
    #[must_use]
    pub fn with_note(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }
}

/// A group of shares, drawn as bars.
#[derive(Clone, Debug)]
pub struct Bars {
    /// What they are shares of.
    pub title: &'static str,
    /// Names and shares, 0 to 1.
    pub rows: Vec<(&'static str, f64)>,
    /// How they were measured.
    pub note: String,
}

/// The parts of a report page that are in no file of the run's folder.
pub struct Page<'a> {
    /// The run's folder.
    pub folder: &'a Path,
    /// The task, such as `pretrain`.
    pub task: &'a str,
    /// The run in one line.
    pub subtitle: String,
    /// The name of the loss.
    pub loss: &'a str,
    /// The other metrics.
    pub metrics: &'a [Metric],
    /// Passes over the data set.
    pub epochs: u64,
    /// Updates per epoch.
    pub steps_per_epoch: u64,
    /// Updates in total.
    pub total_steps: u64,
    /// Images per update.
    pub effective_batch: usize,
    /// Parameters of the model.
    pub params: usize,
    /// Floating-point operations of a training step per image, if known.
    pub flops_per_image: Option<f64>,
    /// Names and values that describe the data.
    pub data: Vec<(&'static str, String)>,
    /// Names and values that describe the model.
    pub model: Vec<(&'static str, String)>,
    /// The device that computed it.
    pub device: String,
    /// The recipe as TOML.
    pub recipe: String,
    /// The results.
    pub outcome: &'a Outcome,
}
