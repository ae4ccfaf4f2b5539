//! Everything that can go wrong in a run.

use std::path::PathBuf;

/// Why a run, a file of it or a picture was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainerError {
    /// An argument lies outside what it may be.
    #[error("{name} is {value}, but must be {bound}")]
    Argument {
        /// The argument's name.
        name: &'static str,
        /// What it was.
        value: String,
        /// What it may be.
        bound: String,
    },
    /// A path in a recipe lies outside what it may be.
    #[error("{field} is {}, but must be {bound}", path.display())]
    Path {
        /// The field's name.
        field: String,
        /// What it was.
        path: PathBuf,
        /// What it may be.
        bound: &'static str,
    },
    /// An error of a task of one's own.
    #[error(transparent)]
    Task(Box<dyn std::error::Error + Send + Sync>),
    /// An image or a data set that could not be used.
    #[error(transparent)]
    Data(#[from] mae_data::DataError),
    /// A mask that cannot be drawn.
    #[error(transparent)]
    Masking(#[from] mae_masking::MaskingError),
    /// A model that cannot be built, read or written.
    #[error(transparent)]
    Model(#[from] mae_model::ModelError),
    /// Records or a picture that could not be read, drawn or written.
    #[error(transparent)]
    Report(#[from] mae_report::ReportError),
    /// Features or labels that do not fit together.
    #[error(transparent)]
    Eval(#[from] mae_eval::EvalError),
    /// A geometry that does not fit.
    #[error(transparent)]
    Vit(#[from] mae_vit::VitError),
    /// A recipe that is not TOML or has an unknown key or value.
    #[error("{} is not a recipe", path.display())]
    Recipe {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// Pixels whose means and deviations are not known.
    #[error("means and deviations of {pixels} pixels are not known: {reason}")]
    Pixels {
        /// What the images are decoded to.
        pixels: mae_data::PixelFormat,
        /// Why.
        reason: String,
    },
    /// The training and the held-out folder have different classes.
    #[error(
        "the training images have the classes [{train}], but the held-out ones [{val}]: labels would not agree"
    )]
    Classes {
        /// Classes of the training folder.
        train: String,
        /// Classes of the held-out folder.
        val: String,
    },
    /// Images lie beside the folders of the classes.
    #[error(
        "{unlabelled} of the {images} images in {} have no class: move each to the sub-folder of its class, or name classes in a table by --labels",
        path.display()
    )]
    Unlabelled {
        /// The folder.
        path: PathBuf,
        /// Images without a class.
        unlabelled: usize,
        /// All of them.
        images: usize,
    },
    /// A class has nothing to be learnt from.
    #[error("{} has no image of the class {class}", path.display())]
    EmptyClass {
        /// The folder.
        path: PathBuf,
        /// The class.
        class: String,
    },
    /// The training images are not those that the run began with.
    #[error(
        "the run began with {images} training images, but there are {len} now: its order and schedule would change"
    )]
    DataChanged {
        /// Images when it began.
        images: usize,
        /// Images now.
        len: usize,
    },
    /// A folder that holds no run.
    #[error("{} is not a run: {reason}", path.display())]
    NoRun {
        /// What was given.
        path: PathBuf,
        /// What it is.
        reason: String,
    },
    /// A run of another task.
    #[error("{} is a {found} run, but a {wanted} run is needed", path.display())]
    OtherRun {
        /// The run's folder.
        path: PathBuf,
        /// Its task.
        found: String,
        /// The task that was wanted.
        wanted: &'static str,
    },
    /// Images of a continued run have other names, classes or another order.
    #[error(
        "the {set} images are not those that the run began with: {changes}; put them back, or begin a new run with them"
    )]
    ImagesChanged {
        /// Which of them.
        set: &'static str,
        /// What differs.
        changes: String,
    },
    /// The folder with the images of a continued run, or their table of classes, is gone.
    #[error("the run's images are missing: {} does not exist ({field})", path.display())]
    ImagesGone {
        /// The folder or table.
        path: PathBuf,
        /// The field of the recipe that names it.
        field: &'static str,
    },
    /// A new run was to be made where one is.
    #[error("{} already holds a run", path.display())]
    RunExists {
        /// The folder.
        path: PathBuf,
    },
    /// Settings that cannot change while a run goes on.
    #[error("the run in {} cannot go on with another {changes}: start a new run", path.display())]
    ResumeWithOptions {
        /// The run's folder.
        path: PathBuf,
        /// What differs.
        changes: String,
    },
    /// Another process works in the run's folder.
    #[error("the run in {} is in use by another process", path.display())]
    RunInUse {
        /// The folder.
        path: PathBuf,
    },
    /// A checkpoint that is damaged or belongs elsewhere.
    #[error("{} cannot be used: {reason}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A loss or a gradient is infinite or not a number.
    #[error(
        "step {step} has the loss {loss} and the gradient norm {grad_norm}{}: training stopped; its images are named in {}, \
         and {}",
        match skipped {
            0 => String::new(),
            1 => ", after 1 such step was left out".into(),
            _ => format!(", after {skipped} such steps were left out"),
        },
        path.display(),
        last_checkpoint(*checkpoint)
    )]
    NonFinite {
        /// The loss.
        loss: f64,
        /// The gradient's norm.
        grad_norm: f64,
        /// The update that it would have been, counted from 1.
        step: u64,
        /// Updates left out before.
        skipped: usize,
        /// What was written down of it.
        path: PathBuf,
        /// The step of the last checkpoint, if there is one.
        checkpoint: Option<u64>,
    },
    /// A step does not fit in the device's memory.
    #[error("the device's memory is too small for {batch_size} images at a time ({said})")]
    OutOfMemory {
        /// Images of a forward pass.
        batch_size: usize,
        /// Forward passes of an update.
        accum_iter: usize,
        /// What the backend said.
        said: String,
    },
    /// Ranks are not about to train the same.
    #[error("rank {rank} has {what}: all ranks must train the same")]
    RanksDiffer {
        /// Who has something else than this rank.
        rank: usize,
        /// What.
        what: String,
    },
    /// Processes that train together do not reach each other.
    #[error(transparent)]
    Ranks(#[from] mae_ranks::RanksError),
    /// burn-train stopped the run; a checkpoint was written.
    #[error("burn-train stopped the run: {reason}")]
    BurnTrain {
        /// What it said.
        reason: String,
    },
    /// An epoch had fewer batches than planned.
    #[error("the epoch ended early, before update {step} had all its batches")]
    EpochTooShort {
        /// Updates done.
        step: u64,
    },

    /// No device of that name.
    #[error("unknown device '{name}': expected one of {known}")]
    UnknownDevice {
        /// The name that was given.
        name: String,
        /// The names there are.
        known: &'static str,
    },
    /// The device's backend is not in this program.
    #[error("device {name} is not compiled in: build with --features {feature}")]
    NotCompiled {
        /// The device.
        name: String,
        /// The feature that brings it.
        feature: &'static str,
    },
    /// The device is not there or does not work.
    #[error("device {name} cannot be used: {reason}")]
    Device {
        /// The device.
        name: String,
        /// What its backend said.
        reason: String,
    },

    /// The system lets no signal be listened for.
    #[error("cannot listen for signals")]
    Signals {
        /// What it said.
        #[source]
        source: std::io::Error,
    },

    /// Standard output takes no more.
    #[error("cannot write to standard output")]
    Output {
        /// What the system said; a broken pipe where its reader has stopped.
        #[source]
        source: std::io::Error,
    },

    /// A file of the run directory that could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file of the run directory that could not be written; what was there before is still there.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl TrainerError {
    pub(crate) fn argument(name: &'static str, value: impl ToString, bound: impl Into<String>) -> Self {
        Self::Argument { name, value: value.to_string(), bound: bound.into() }
    }

    /// An error of a task of one's own, or a message.
    pub fn task(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Task(error.into())
    }
}

impl From<mae_data::ImageError> for TrainerError {
    fn from(error: mae_data::ImageError) -> Self {
        Self::Data(error.into())
    }
}

fn last_checkpoint(step: Option<u64>) -> String {
    match step {
        Some(step) => format!("the last checkpoint is that of step {step}"),
        None => "there is no checkpoint yet".into(),
    }
}

/// An error with all its causes in a line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Some libraries repeat their cause in their own message.
        let next = error.to_string();
        if !text.ends_with(&next) {
            text += &format!(": {next}");
        }
        cause = error.source();
    }
    text
}
