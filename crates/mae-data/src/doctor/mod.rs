//! Examines a folder of images before training, and warns about likely problems.

mod advice;
mod channels;
mod classes;
mod converted;
mod examine;
mod maps;
mod report;
mod sizes;
mod warning;

pub use examine::Doctor;
pub use maps::{MapClass, MapReport, StrayValue};
pub use report::{DataReport, DuplicateGroup, Smaller, Spread};
pub use sizes::data_warnings;
pub use warning::{ClassCount, DataWarning, FormatCount, SaturatedChannel};
