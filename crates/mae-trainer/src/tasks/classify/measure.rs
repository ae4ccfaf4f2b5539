//! What classifiers are worth on held-out images, and what is written and drawn of it.

use burn::module::Module;
use burn::tensor::Device;
use mae_model::Classifier;

use super::Classes;
use mae_eval::{Scores, score};
use mae_report::{Outcome, draw_confusion, save_png, write_atomic};

use crate::context::{Context, Rows};
use crate::{Measured, TrainerError};

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

    pub(super) fn scores(&self) -> Option<Scores> {
        self.measured.lock().expect("nothing panics with it").clone().map(|(_, scores)| scores)
    }

    /// Measures a model, on all ranks.
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

    /// What scores of held-out images are worth.
    pub(super) fn score(&self, context: &Context, rows: Rows, step: u64) -> Result<Measured, TrainerError> {
        let labels = rows.labels(context.data.all_held_out()?.source.as_ref())?;
        let scores = score(&self.config.classes, &labels, &rows.values)?;
        let measured = Measured { val_loss: scores.loss, ..Measured::default() };
        let measured = measured.with("top1", Some(scores.top1())).with("top5", scores.top5());
        *self.measured.lock().expect("nothing panics with it") = Some((step, scores));
        Ok(measured)
    }

    /// Writes the last scores, and draws which class is taken for which.
    pub(super) fn draw(&self, context: &Context) -> Result<(), TrainerError> {
        let Some(scores) = self.scores() else { return Ok(()) };
        write_atomic(context.path(SCORES), |file| {
            serde_json::to_writer_pretty(&mut *file, &scores.to_json())?;
            file.write_all(b"\n")
        })?;
        let title = format!("top-1 {:.1}%", 100.0 * scores.top1());
        let matrix = draw_confusion(&title, &scores.classes, &scores.confusion)?;
        Ok(save_png(&matrix, context.path(CONFUSION))?)
    }

    /// What is to be said of a finished run.
    pub(super) fn finish(
        &self,
        context: &Context,
        model: &Classifier,
        step: u64,
        device: &Device,
    ) -> Result<Outcome, TrainerError> {
        let known = self.measured.lock().expect("nothing panics with it").as_ref().map(|(step, _)| *step);
        if context.ranks().main_number(known.unwrap_or(u64::MAX))? != step {
            // A run that was at its end already is measured again.
            self.evaluate(context, model, step, device)?;
        }
        let (Some(scores), true) = (self.scores(), context.ranks().is_main()) else {
            return Ok(Outcome::default());
        };
        self.draw(context)?;
        let mut outcome = Outcome::default();
        let share = |share: f64| format!("{:.1}%", 100.0 * share);
        outcome.line("top-1", format!("{} of {} held-out images", share(scores.top1()), scores.images()));
        if let Some(top5) = scores.top5().filter(|_| scores.classes.len() > 5) {
            outcome.line("top-5", share(top5));
        }
        outcome.line("scores", context.path(SCORES).display());
        outcome.line("confusion", context.path(CONFUSION).display());
        outcome.figures.push(("Confusion matrix", context.path(CONFUSION)));
        Ok(outcome)
    }
}
