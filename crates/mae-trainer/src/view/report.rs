//! The report page of a run.

use std::path::PathBuf;

use mae_report::{Figure, Outcome, Page, first_names};

use crate::context::BAD_FILES;
use crate::task::device_of;
use crate::view::EXAMPLES;
use crate::{Run, Task, TaskRecipe, TrainerError};

/// Writes `report.html` into the run's folder; returns its path.
///
/// # Errors
/// If a file of the run cannot be read, or the report cannot be written.
pub fn write_report<T: Task>(
    run: &Run<T>,
    model: &T::Model,
    outcome: &Outcome,
) -> Result<PathBuf, TrainerError> {
    let mut outcome = outcome.clone();
    outcome.figures.push(Figure::new("Training images as the model sees them", run.path(EXAMPLES)));
    let params = mae_model::list_params(model);
    let ((height, width), patch) = (run.geometry.image_size(), run.geometry.patch_size());
    let page = Page {
        folder: &run.path(""),
        task: T::Recipe::TASK,
        subtitle: format!("{} · {height}×{width} px in patches of {patch} px", run.task.title()),
        loss: T::LOSS,
        metrics: T::METRICS,
        epochs: run.pace.epochs,
        steps_per_epoch: run.pace.steps_per_epoch,
        total_steps: run.pace.total_steps,
        effective_batch: run.pace.effective_batch,
        params: params.iter().map(|param| param.shape.iter().product::<usize>()).sum(),
        flops_per_image: run.task.flops_per_image(),
        data: data(run),
        model: self::model(run),
        device: format!("{:?}", device_of(model)),
        recipe: run.recipe_text(),
        outcome: &outcome,
    };
    Ok(page.write()?)
}

fn data<T: Task>(run: &Run<T>) -> Vec<(&'static str, String)> {
    let recipe = &run.settings.data;
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let classes = run.data.train.class_names();
    let mut rows = vec![
        ("training images", path(&recipe.path).unwrap_or_else(|| "built-in shapes".into())),
        ("number of images", run.data.train.len().to_string()),
        (
            "held-out images",
            match &run.data.val {
                Some(val) => {
                    let path = match recipe.val_share {
                        Some(share) => format!("{share} of each class"),
                        None => path(&recipe.val).unwrap_or_else(|| "built-in shapes".into()),
                    };
                    format!("{path}: {}", val.len())
                }
                None => "none".into(),
            },
        ),
    ];
    // With label maps, the classes are those of pixels, which the task describes.
    if run.data.train.map_classes().is_empty() {
        rows.push((
            "classes",
            match classes.len() {
                0 => "none".into(),
                len => format!("{len}: {}", first_names(classes, ", ")),
            },
        ));
    }
    rows.extend(run.data.notes.iter().cloned());
    let bad = std::fs::read_to_string(run.path(BAD_FILES)).unwrap_or_default();
    let bad: Vec<String> = bad.lines().map(str::to_owned).collect();
    rows.push((
        "unreadable files",
        match bad.len() {
            0 => "none found".into(),
            len => format!("{len}\n{}", first_names(&bad, "\n")),
        },
    ));
    rows
}

fn model<T: Task>(run: &Run<T>) -> Vec<(&'static str, String)> {
    let mut rows = run.task.describe();
    rows.push(("batch", run.batch_text('×')));
    rows.push(("peak learning rate", format!("{:.3e}", run.pace.schedule.peak_lr())));
    rows
}
