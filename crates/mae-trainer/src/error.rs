//! Everything that can go wrong in a run.

use std::path::PathBuf;

/// An error of a run, its data, its files or its device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainerError {
    /// An argument is out of bounds.
    #[error("{name} is {value}, but must be {bound}")]
    Argument {
        /// The argument's name.
        name: &'static str,
        /// Its value.
        value: String,
        /// Its bound.
        bound: String,
    },
    /// A path in a recipe does not meet a requirement.
    #[error("{field} is {}, but must be {bound}", path.display())]
    Path {
        /// The field's name.
        field: String,
        /// The path.
        path: PathBuf,
        /// The requirement.
        bound: &'static str,
    },
    /// An error of a user-defined task.
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
        /// The parser's error.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// The means and standard deviations of the pixels are unknown.
    #[error("means and standard deviations of {pixels} pixels are unknown: {reason}")]
    Pixels {
        /// The format that the images are decoded to.
        pixels: mae_data::PixelFormat,
        /// The reason.
        reason: String,
    },
    /// The training and the held-out folder have different classes.
    #[error(
        "the training images have the classes [{train}], but the held-out ones have [{val}]: both need the same"
    )]
    Classes {
        /// Classes of the training folder.
        train: String,
        /// Classes of the held-out folder.
        val: String,
    },
    /// Some images have no class.
    #[error(
        "{unlabelled} of the {images} images in {} have no class: move each to the sub-folder of its class, or give a table of classes with --labels",
        path.display()
    )]
    Unlabelled {
        /// The folder.
        path: PathBuf,
        /// Images without a class.
        unlabelled: usize,
        /// All images in the folder.
        images: usize,
    },
    /// A class has no training images.
    #[error("{} has no image of the class {class}", path.display())]
    EmptyClass {
        /// The folder.
        path: PathBuf,
        /// The class.
        class: String,
    },
    /// The number of training images differs from when the run began.
    #[error(
        "the run began with {images} training images, but there are {len} now: its order and schedule would change"
    )]
    DataChanged {
        /// The number of images when the run began.
        images: usize,
        /// The number of images now.
        len: usize,
    },
    /// A path that is not a run's folder.
    #[error("{} is not a run: {reason}", path.display())]
    NoRun {
        /// The path.
        path: PathBuf,
        /// What the path is instead.
        reason: String,
    },
    /// A run of another task.
    #[error("{} is a {found} run, but a {wanted} run is needed", path.display())]
    OtherRun {
        /// The run's folder.
        path: PathBuf,
        /// Its task.
        found: String,
        /// The required task.
        wanted: &'static str,
    },
    /// The names, classes or order of a resumed run's images have changed.
    #[error(
        "the {set} images are not those that the run began with: {changes}; restore them, or start a new run with these"
    )]
    ImagesChanged {
        /// Which images: the training or the held-out ones.
        set: &'static str,
        /// What differs.
        changes: String,
    },
    /// The image folder or class table of a resumed run no longer exists.
    #[error("the run's images are missing: {} does not exist ({field})", path.display())]
    ImagesGone {
        /// The folder or table.
        path: PathBuf,
        /// The field of the recipe that names it.
        field: &'static str,
    },
    /// The folder of a new run already contains a run.
    #[error("{} already holds a run", path.display())]
    RunExists {
        /// The folder.
        path: PathBuf,
    },
    /// The folder of a new run contains no run, but something that a run would replace.
    #[error("{} contains {name}, which a new run would replace", path.display())]
    Occupied {
        /// The folder.
        path: PathBuf,
        /// The name in it.
        name: &'static str,
    },
    /// Settings that cannot change when a run is resumed.
    #[error("the run in {} cannot continue with another {changes}: start a new run", path.display())]
    ResumeWithOptions {
        /// The run's folder.
        path: PathBuf,
        /// What differs.
        changes: String,
    },
    /// Another process is using the run's folder.
    #[error("the run in {} is in use by another process", path.display())]
    RunInUse {
        /// The folder.
        path: PathBuf,
    },
    /// A file of a run, such as a checkpoint's, that is damaged or belongs to another step or model.
    #[error("{} cannot be used: {reason}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A loss or a gradient is infinite or NaN.
    #[error(
        "step {step} has the loss {loss} and the gradient norm {grad_norm}{}: training stopped; its images are named in {}, \
         and {}",
        match skipped {
            0 => String::new(),
            1 => ", after 1 such step was skipped".into(),
            _ => format!(", after {skipped} such steps were skipped"),
        },
        path.display(),
        last_checkpoint(*checkpoint)
    )]
    NonFinite {
        /// The loss.
        loss: f64,
        /// The gradient's norm.
        grad_norm: f64,
        /// The update that failed, counted from 1.
        step: u64,
        /// The number of updates skipped before it.
        skipped: usize,
        /// The file with the details of the update.
        path: PathBuf,
        /// The step of the last checkpoint, if there is one.
        checkpoint: Option<u64>,
    },
    /// A step does not fit in the device's memory.
    #[error("out of device memory with {batch_size} images per forward pass ({said})")]
    OutOfMemory {
        /// Images of one forward pass.
        batch_size: usize,
        /// Forward passes per update.
        accum_iter: usize,
        /// The backend's message.
        said: String,
    },
    /// The ranks would not train the same run.
    #[error("rank {rank} has {what}: all ranks must train the same run")]
    RanksDiffer {
        /// The rank that differs from this one.
        rank: usize,
        /// What it has instead.
        what: String,
    },
    /// Ranks cannot reach each other.
    #[error(transparent)]
    Ranks(#[from] mae_ranks::RanksError),
    /// burn-train stopped the run; a checkpoint was written.
    #[error("burn-train stopped the run: {reason}")]
    BurnTrain {
        /// The reason that it gave.
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
        /// The known names.
        known: &'static str,
    },
    /// The device's backend was not compiled into this program.
    #[error("device {name} is not compiled in: build with --features {feature}")]
    NotCompiled {
        /// The device.
        name: String,
        /// The Cargo feature that enables it.
        feature: &'static str,
    },
    /// The device is missing or does not work.
    #[error("device {name} cannot be used: {reason}")]
    Device {
        /// The device.
        name: String,
        /// The backend's message.
        reason: String,
    },

    /// The system does not allow listening for a signal.
    #[error("cannot listen for signals")]
    Signals {
        /// The system's error.
        #[source]
        source: std::io::Error,
    },

    /// Standard output cannot be written to.
    #[error("cannot write to standard output")]
    Output {
        /// The system's error; a broken pipe if the reader has stopped.
        #[source]
        source: std::io::Error,
    },

    /// A file that could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// A file or folder that could not be written; what was there before is still there.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
}

impl TrainerError {
    pub(crate) fn argument(name: &'static str, value: impl ToString, bound: impl Into<String>) -> Self {
        Self::Argument { name, value: value.to_string(), bound: bound.into() }
    }

    /// Wraps an error of a user-defined task, or a message.
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

/// Formats an error with all its causes on one line.
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
