//! Evaluates segmenters on held-out images, and writes and draws the scores.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Device;
use mae_data::{load_with_map, path_name};
use mae_eval::{SegmentationScores, image_mean_iou};
use mae_model::Segmenter;
use mae_report::{
    Figure, Outcome, SegmentationRow, draw_class_scores, draw_confusion, draw_segmentation, make_folder,
    save_png, write_atomic,
};

use super::held_out::HeldOut;
use super::inference::{SegmentationPass, SegmentationSettings};
use super::{MIOU, Segment};
use crate::context::Context;
use crate::{ImageSet, Measured, TrainerError};

/// The scores of a segmenter on held-out images.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmenterScores {
    /// Names of the classes.
    pub classes: Vec<String>,
    /// The number of held-out images.
    pub images: usize,
    /// The mean cross entropy of their pixels.
    pub loss: f64,
    /// The scores that follow from the pixel counts.
    pub scores: SegmentationScores,
    /// Pixels by their true class, then by the predicted one.
    pub confusion: Vec<Vec<usize>>,
}

impl SegmenterScores {
    /// Returns the scores as JSON.
    ///
    /// # Errors
    /// If the number of classes is not that of the scores.
    pub fn to_json(&self) -> Result<serde_json::Value, TrainerError> {
        let mut json = self.scores.to_json(&self.classes)?;
        json["images"] = self.images.into();
        json["loss"] = self.loss.into();
        json["confusion"] = serde_json::json!(self.confusion);
        Ok(json)
    }

    /// Returns a table of the classes, for people to read.
    ///
    /// # Errors
    /// As [`to_json`](Self::to_json).
    pub fn table(&self) -> Result<String, TrainerError> {
        Ok(self.scores.table(&self.classes)?)
    }
}

const SCORES: &str = "scores.json";
const CONFUSION: &str = "confusion.png";
const CLASSES: &str = "classes.png";
const WORST: &str = "worst.png";
const PICTURES: &str = "Held-out images with their true classes, the predicted ones and the errors.";
const LOWEST: &str = "held-out images with the lowest mIoU";

impl Segment {
    /// The last scores measured on held-out images.
    pub fn scores(&self) -> Option<SegmenterScores> {
        let held_out = self.measured()?;
        let classes = self.config.classes.clone();
        let row = |row: &[u64]| row.iter().map(|count| *count as usize).collect();
        let confusion = held_out.counts.counts().chunks(classes.len()).map(row).collect();
        let (images, loss, scores) = (held_out.images.len(), held_out.loss, held_out.scores.clone());
        Some(SegmenterScores { classes, images, loss, scores, confusion })
    }

    fn measured(&self) -> Option<Arc<HeldOut>> {
        self.measured.lock().expect("nothing panics with it").clone()
    }

    fn pass(&self, context: &Context, device: &Device) -> SegmentationPass {
        let task = &self.settings.task;
        let normalize = context.common.data.normalize.clone();
        let settings =
            SegmentationSettings { predict: task.predict.clone(), short_side: task.segment.short_side };
        SegmentationPass::new(settings, normalize, device.clone())
    }

    /// Measures a model on all held-out images, each at its own size, on all ranks.
    pub(super) fn measure(
        &self,
        context: &Context,
        model: &Segmenter,
        step: u64,
        device: &Device,
    ) -> Result<Measured, TrainerError> {
        let pass = self.pass(context, device);
        let held_out = HeldOut::measure(context, &pass, &model.valid(), step, device)?;
        let scores = &held_out.scores;
        let measured = Measured { val_loss: Some(held_out.loss), ..Measured::default() }
            .with("miou", Some(scores.mean_iou))
            .with("pixel_accuracy", Some(scores.pixel_accuracy))
            .with("mean_accuracy", Some(scores.mean_accuracy))
            .with("dice", Some(scores.mean_dice));
        *self.measured.lock().expect("nothing panics with it") = Some(Arc::new(held_out));
        Ok(measured)
    }

    /// Draws the image, truth, prediction and error of some held-out images.
    fn gallery(
        &self,
        context: &Context,
        (title, set): (&str, &ImageSet),
        model: &Segmenter,
        device: &Device,
    ) -> Result<mae_data::Image, TrainerError> {
        let (pass, model) = (self.pass(context, device), model.valid());
        let mut rows = Vec::new();
        for &index in &set.indices {
            let (image, map) = match load_with_map(set.source.as_ref(), index) {
                Ok(both) => both,
                Err(error) if !error.is_of_label_maps() => continue,
                Err(error) => return Err(error.into()),
            };
            let predicted = pass.labels(&model, &image)?;
            let score = image_mean_iou(self.config.classes.len(), predicted.data(), map.labels())?;
            let shape = [1, image.channels(), image.height(), image.width()];
            let image = context.shown.images(&image.planes(), shape)?.remove(0);
            let name = set.source.relative_name(index).map_or_else(|| set.source.name(index), path_name);
            rows.push(SegmentationRow { name, image, truth: map.into_image(), predicted, score });
        }
        Ok(draw_segmentation(title, &rows, &self.config.classes)?)
    }

    /// Draws the run's picture images, and writes and draws the last scores, on the main rank.
    pub(super) fn draw_step(
        &self,
        context: &Context,
        model: &Segmenter,
        step: u64,
        device: &Device,
    ) -> Result<(), TrainerError> {
        let set = context.data.picture_set(context.common.eval.pictures);
        let (folder, title) = (context.path("pictures"), format!("held-out images after step {step}"));
        make_folder(&folder)?;
        save_png(
            &self.gallery(context, (&title, &set), model, device)?,
            folder.join(format!("step-{step:09}.png")),
        )?;
        self.draw_scores(context)
    }

    fn draw_scores(&self, context: &Context) -> Result<(), TrainerError> {
        let Some(scores) = self.scores() else { return Ok(()) };
        let json = scores.to_json()?;
        write_atomic(context.path(SCORES), |file| {
            serde_json::to_writer_pretty(&mut *file, &json)?;
            file.write_all(b"\n")
        })?;
        let title = format!("mIoU {}", MIOU.text(scores.scores.mean_iou));
        let matrix = draw_confusion(&title, &scores.classes, &scores.confusion)?;
        save_png(&matrix, context.path(CONFUSION))?;
        let SegmentationScores { iou, accuracy, share, .. } = &scores.scores;
        let chart = draw_class_scores(&title, &scores.classes, iou, accuracy, share)?;
        Ok(save_png(&chart, context.path(CLASSES))?)
    }

    /// Summarises a finished run.
    pub(super) fn report(
        &self,
        context: &Context,
        model: &Segmenter,
        step: u64,
        device: &Device,
    ) -> Result<Outcome, TrainerError> {
        if self.measured().is_none_or(|known| known.step != step) {
            // A run that was already at its end has no scores in memory, so it is evaluated again.
            self.measure(context, model, step, device)?;
        }
        let (Some(held_out), Some(scores), true) =
            (self.measured(), self.scores(), context.ranks().is_main())
        else {
            return Ok(Outcome::default());
        };
        self.draw_scores(context)?;
        let mut worst = context.data.all_held_out()?;
        worst.indices =
            held_out.images.iter().take(context.common.eval.pictures).map(|(index, _)| *index).collect();
        save_png(&self.gallery(context, (LOWEST, &worst), model, device)?, context.path(WORST))?;
        let mut outcome = Outcome { pictures_note: Some(PICTURES), ..Outcome::default() };
        let SegmentationScores { mean_iou, pixel_accuracy, mean_dice, .. } = scores.scores;
        outcome.line("mIoU", format!("{} on {} held-out images", MIOU.text(mean_iou), scores.images));
        outcome.line("pixel accuracy", MIOU.text(pixel_accuracy));
        outcome.line("mean Dice", MIOU.text(mean_dice));
        outcome.line("scores", context.path(SCORES).display());
        for (name, title, file) in [
            ("classes", "IoU by class", CLASSES),
            ("confusion", "Confusion matrix of pixels", CONFUSION),
            ("worst", "Held-out images with the lowest mIoU", WORST),
        ] {
            outcome.line(name, context.path(file).display());
            outcome.figures.push(Figure::new(title, context.path(file)));
        }
        Ok(outcome)
    }
}
