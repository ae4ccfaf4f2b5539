//! What a page tells of a run that stands in no file of its folder.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use crate::Metric;

/// What is to be said of a finished run besides its records.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Lines of name and value for the terminal.
    pub lines: Vec<(&'static str, String)>,
    /// A loss to compare with, and what it is the loss of.
    pub baseline: Option<(&'static str, f64)>,
    /// Levels to compare with in charts: the chart's title, a name, a value.
    pub levels: Vec<(&'static str, &'static str, f64)>,
    /// Shares beside each other.
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
    /// Its title.
    pub title: &'static str,
    /// The PNG file; where there is none, the page has no such figure.
    pub path: PathBuf,
    /// What it shows, below it; nothing stands there if this is empty.
    pub note: String,
}

impl Figure {
    /// A picture that its title explains.
    pub fn new(title: &'static str, path: PathBuf) -> Self {
        Self { title, path, note: String::new() }
    }

    /// The same with a note below.
    #[must_use]
    pub fn with_note(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }
}

/// Shares as bars.
#[derive(Clone, Debug)]
pub struct Bars {
    /// What they are shares of.
    pub title: &'static str,
    /// Each with its name, 0 to 1.
    pub rows: Vec<(&'static str, f64)>,
    /// How they were measured.
    pub note: String,
}

/// What a page tells of a run that stands in no file of its folder.
pub struct Page<'a> {
    /// The run's folder.
    pub folder: &'a Path,
    /// What was trained for, such as `pretrain`.
    pub task: &'a str,
    /// What it is, in a line.
    pub subtitle: String,
    /// What the loss is.
    pub loss: &'a str,
    /// What was measured besides.
    pub metrics: &'a [Metric],
    /// Passes over the data set.
    pub epochs: u64,
    /// Updates to an epoch.
    pub steps_per_epoch: u64,
    /// Updates in all.
    pub total_steps: u64,
    /// Images to an update.
    pub effective_batch: usize,
    /// Numbers in the model.
    pub params: usize,
    /// Floating-point operations of a training step for one image, if they are known.
    pub flops_per_image: Option<f64>,
    /// Lines of name and value about the data.
    pub data: Vec<(&'static str, String)>,
    /// The same about the model.
    pub model: Vec<(&'static str, String)>,
    /// Where it was computed.
    pub device: String,
    /// The recipe as TOML.
    pub recipe: String,
    /// What came out.
    pub outcome: &'a Outcome,
}
