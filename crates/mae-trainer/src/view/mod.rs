//! What people see of a run: progress lines, records, the sheet of training images, the summary and the page.

mod examples;
mod observer;
mod progress;
mod report;
mod summary;

pub(crate) use examples::EXAMPLES;
pub use examples::draw_examples;
pub use observer::Observer;
pub use progress::Progress;
pub use report::write_report;
pub use summary::summarize;
