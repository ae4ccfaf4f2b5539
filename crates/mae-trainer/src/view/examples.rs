//! The sheet of training images.

use burn::tensor::Device;

use crate::task::At;
use crate::{Run, Task, TrainerError};
use mae_report::make_folder;
use mae_report::save_png;
use mae_report::{draw_grid, with_note};

/// The maximum numbers of columns and rows of the sheet of training images.
const COLUMNS: usize = 8;
const ROWS: usize = 4;

/// The sheet of training images, in a run's folder.
pub(crate) const EXAMPLES: &str = "pictures/examples.png";

/// Draws the first images of the run's first batches as the model sees them, on the main rank.
///
/// # Errors
/// If images cannot be read or the picture cannot be written.
pub fn draw_examples<T: Task>(run: &Run<T>, device: &Device) -> Result<(), TrainerError> {
    if !run.ranks().is_main() {
        return Ok(());
    }
    let columns = COLUMNS.min(run.settings.train.batch_size);
    let mut images = Vec::new();
    let first = At { device, ranks: run.ranks(), normalize: &run.settings.data.normalize, number: 0 };
    // One row per batch, because a whole batch may be mixed in the same way.
    for (i, batch) in run.batches(0)?.take(ROWS).enumerate() {
        images.push(
            run.task.examples(batch?, &first.batch(i), &run.shown)?.into_iter().take(columns).collect(),
        );
    }
    let sheet = draw_grid(&vec![""; columns], &images)?;
    let sheet = with_note(sheet, "training images as the model sees them, one batch per row")?;
    make_folder(run.path("pictures"))?;
    Ok(save_png(&sheet, run.path(EXAMPLES))?)
}
