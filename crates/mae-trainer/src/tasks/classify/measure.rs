//! Evaluates classifiers on held-out images, and writes and draws the scores.

use std::fmt;

use burn::module::Module;
use burn::tensor::Device;
use mae_model::Classifier;

use super::Classes;
use mae_eval::{MultiLabelScores, Scores, score, score_multi_label};
use mae_report::{Figure, Outcome, draw_confusion, save_png, write_atomic};

use crate::context::{Context, Rows};
use crate::{Measured, TrainerError};

/// The scores of a classifier on held-out images.
#[derive(Clone, Debug, PartialEq)]
pub enum ClassifierScores {
    /// Scores on images with one class each.
    OneClass(Scores),
    /// Scores on images with any number of classes.
    MultiLabel(MultiLabelScores),
}

impl ClassifierScores {
    /// Returns the scores as JSON.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::OneClass(scores) => scores.to_json(),
            Self::MultiLabel(scores) => scores.to_json(),
        }
    }
}

/// Prints a table of the classes.
impl fmt::Display for ClassifierScores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneClass(scores) => scores.fmt(f),
            Self::MultiLabel(scores) => scores.fmt(f),
        }
    }
}

const SCORES: &str = "scores.json";
const CONFUSION: &str = "confusion.png";

impl Classes {
    /// Floating-point operations of a forward pass for one image.
    pub(super) fn flops(&self) -> f64 {
        let vit = &self.config.vit;
        let (patches, width) = (vit.geometry.num_patches(), vit.stack.embed_dim);
        let projection = 2.0 * (patches * vit.geometry.patch_dim() * width) as f64;
        projection + vit.stack.flops(1 + patches) + 2.0 * (width * self.config.classes.len()) as f64
    }

    pub(super) fn scores(&self) -> Option<ClassifierScores> {
        self.measured.lock().expect("nothing panics with it").clone().map(|(_, scores)| scores)
    }

    /// Evaluates a model on the held-out images, on all ranks.
    pub(super) fn evaluate(
        &self,
        context: &Context,
        model: &Classifier,
        step: u64,
        device: &Device,
    ) -> Result<Measured, TrainerError> {
        let model = model.valid();
        self.score(context, context.held_out_rows(device, |images| model.forward(images))?, step)
    }

    /// Computes the metrics of held-out images from their logits.
    pub(super) fn score(&self, context: &Context, rows: Rows, step: u64) -> Result<Measured, TrainerError> {
        let (source, classes) = (context.data.all_held_out()?.source, &self.config.classes);
        let measured = Measured::default();
        let (measured, scores) = if self.config.multi_label {
            let scores = score_multi_label(classes, &rows.label_sets(source.as_ref())?, &rows.values)?;
            let measured = Measured { val_loss: Some(scores.loss), ..measured };
            (measured.with("map", scores.mean_average_precision()), ClassifierScores::MultiLabel(scores))
        } else {
            let scores = score(classes, &rows.labels(source.as_ref())?, &rows.values)?;
            let measured = Measured { val_loss: scores.loss, ..measured };
            let measured = measured.with("top1", Some(scores.top1())).with("top5", scores.top5());
            (measured, ClassifierScores::OneClass(scores))
        };
        *self.measured.lock().expect("nothing panics with it") = Some((step, scores));
        Ok(measured)
    }

    /// Writes the last scores. If images have one class each, draws the confusion matrix.
    pub(super) fn draw(&self, context: &Context) -> Result<(), TrainerError> {
        let Some(scores) = self.scores() else { return Ok(()) };
        write_atomic(context.path(SCORES), |file| {
            serde_json::to_writer_pretty(&mut *file, &scores.to_json())?;
            file.write_all(b"\n")
        })?;
        let ClassifierScores::OneClass(scores) = scores else { return Ok(()) };
        let title = format!("top-1 {:.1}%", 100.0 * scores.top1());
        let matrix = draw_confusion(&title, &scores.classes, &scores.confusion)?;
        Ok(save_png(&matrix, context.path(CONFUSION))?)
    }

    /// Summarises a finished run.
    pub(super) fn finish(
        &self,
        context: &Context,
        model: &Classifier,
        step: u64,
        device: &Device,
    ) -> Result<Outcome, TrainerError> {
        let known = self.measured.lock().expect("nothing panics with it").as_ref().map(|(step, _)| *step);
        if context.ranks().main_number(known.unwrap_or(u64::MAX))? != step {
            // A run that was already at its end has no scores in memory, so it is evaluated again.
            self.evaluate(context, model, step, device)?;
        }
        let (Some(scores), true) = (self.scores(), context.ranks().is_main()) else {
            return Ok(Outcome::default());
        };
        self.draw(context)?;
        let mut outcome = Outcome::default();
        let share = |share: f64| format!("{:.1}%", 100.0 * share);
        match &scores {
            ClassifierScores::OneClass(scores) => {
                let images = scores.images();
                outcome.line("top-1", format!("{} of {images} held-out images", share(scores.top1())));
                if let Some(top5) = scores.top5().filter(|_| scores.classes.len() > 5) {
                    outcome.line("top-5", share(top5));
                }
            }
            ClassifierScores::MultiLabel(scores) => {
                let map = scores.mean_average_precision().map_or("none".into(), share);
                outcome.line("mAP", format!("{map} over the classes of {} held-out images", scores.images));
            }
        }
        outcome.line("scores", context.path(SCORES).display());
        if matches!(scores, ClassifierScores::MultiLabel(_)) {
            return Ok(outcome);
        }
        outcome.line("confusion", context.path(CONFUSION).display());
        outcome.figures.push(Figure::new("Confusion matrix", context.path(CONFUSION)));
        Ok(outcome)
    }
}
