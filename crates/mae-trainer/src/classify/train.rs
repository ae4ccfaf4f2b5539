//! The loop of a classifier's training.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use mae_model::Classifier;

use super::draw::{draw_confusion, draw_examples};
use super::inputs::{Aside, Inputs, Rows};
use super::optimizer::LARS_MOMENTS;
use super::{ClassifyRun, Method, Scores, score};
use crate::atomic::write_atomic;
use crate::checkpoint::TrainState;
use crate::curve::draw_loss_curve;
use crate::disk::no_room;
use crate::memory::within_memory;
use crate::optimizer::ADAMW_MOMENTS;
use crate::pace::Job;
use crate::progress::{duration, unreadable};
use crate::records::{EVALUATIONS, METRICS, read_evaluations, read_records};
use crate::summary::{MODEL, fall};
use crate::{Evaluation, Progress, TrainerError, save_png};

/// How a training ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Trained {
    /// At its end, with these scores of the held-out images.
    Finished(Scores),
    /// Where it was asked to stop, with a checkpoint written.
    Stopped,
}

/// Trains until the end of the run, or until `stop` says so after an update.
///
/// Writes records, checkpoints, and at the end `model.safetensors`, `scores.json` and pictures into the run's folder.
///
/// # Errors
/// If images cannot be read, something cannot be written, or the loss is not finite; the last checkpoint is then good.
pub fn train_classifier(
    run: &ClassifyRun,
    state: &mut TrainState<Classifier>,
    device: &Device,
    quiet: bool,
    stop: &dyn Fn(&TrainState<Classifier>) -> bool,
) -> Result<Trained, TrainerError> {
    let begun = &*state;
    let asked = || stop(begun);
    let aside = Aside { quiet, stop: &asked };
    let Some(sets) = Sets::of(run, begun, device, &aside)? else { return Ok(Trained::Stopped) };
    let (mut inputs, val) = (Inputs::new(run, sets.train), sets.val);
    // The time that features took is not the first update's.
    let mut progress = Progress::start(run, state, quiet)?;
    if state.step == 0 && !run.recipe.data.cached {
        draw_examples(run, device)?;
    }
    let save_every = Duration::from_secs_f64(60.0 * run.recipe.eval.checkpoint_minutes);
    let (mut last_save, mut scores) = (Instant::now(), None);
    while state.step < run.pace.total_steps {
        let input = inputs.at(state.step)?;
        let (batch, accum) = (run.recipe.batch_size.unwrap_or(1), run.recipe.accum_iter);
        let report = within_memory(batch, accum, || run.step(state, input, device))??;
        state.elapsed_s = progress.update(run, state.step, report, inputs.waiting())?.elapsed_s;
        if progress.evaluation_due(run, state.step) {
            let measured = measure(run, &state.model, val.as_ref(), device)?;
            progress.evaluation(&Evaluation {
                step: state.step,
                epoch: run.pace.epoch(state.step),
                val_loss: measured.loss,
                top1: Some(measured.top1()),
                top5: measured.top5(),
                ..Evaluation::default()
            })?;
            scores = Some(measured);
        }
        let stopping = stop(state) && state.step < run.pace.total_steps;
        if stopping || run.pace.checkpoint_due(state.step) || last_save.elapsed() >= save_every {
            run.save(state)?;
            last_save = Instant::now();
        }
        if stopping {
            return Ok(Trained::Stopped);
        }
    }
    // A run that was at its end already is measured again.
    let scores = match scores {
        Some(scores) => scores,
        None => measure(run, &state.model, val.as_ref(), device)?,
    };
    finish(run, state, &scores)?;
    Ok(Trained::Finished(scores))
}

/// Features that were taken once, where the recipe says so.
struct Sets {
    train: Option<Rows>,
    val: Option<Rows>,
}

impl Sets {
    /// None if it was asked to stop.
    fn of(
        run: &ClassifyRun,
        state: &TrainState<Classifier>,
        device: &Device,
        aside: &Aside<'_>,
    ) -> Result<Option<Self>, TrainerError> {
        if !run.recipe.data.cached {
            return Ok(Some(Self { train: None, val: None }));
        }
        let features = |model: &Classifier, images: Tensor<4>| model.features(images, None);
        let of = |source| run.rows(source, &state.model, device, aside, features);
        let Some(train) = of(&run.train)? else { return Ok(None) };
        let Some(val) = of(&run.val)? else { return Ok(None) };
        Ok(Some(Self { train: Some(train), val: Some(val) }))
    }
}

/// The scores of the held-out images.
fn measure(
    run: &ClassifyRun,
    model: &Classifier,
    cache: Option<&Rows>,
    device: &Device,
) -> Result<Scores, TrainerError> {
    let classes = &run.config.classes;
    if let Some(rows) = cache {
        let scores = model.valid().classify(rows.tensor(device)).into_data().convert::<f32>();
        return score(classes, &rows.labels, scores.as_slice::<f32>().expect("converted to f32 above"));
    }
    let aside = Aside { quiet: true, stop: &|| false };
    let rows = run.rows(&run.val, model, device, &aside, Classifier::forward)?;
    let Rows { values, labels } = rows.expect("it was not asked to stop");
    score(classes, &labels, &values)
}

/// What a finished run leaves.
fn finish(run: &ClassifyRun, state: &TrainState<Classifier>, scores: &Scores) -> Result<(), TrainerError> {
    mae_model::save(&state.model.valid(), &run.normalize, &run.metadata()?, &run.path(MODEL))?;
    write_atomic(&run.path("scores.json"), |file| {
        serde_json::to_writer_pretty(&mut *file, &scores.to_json())?;
        file.write_all(b"\n")
    })?;
    save_png(&draw_confusion(scores)?, &run.path("confusion.png"))?;
    let records = read_records(&run.path(METRICS))?;
    save_png(&draw_loss_curve("cross entropy of training images", &records, None)?, &run.path("loss.png"))
}

impl ClassifyRun {
    /// What is about to happen, for people.
    pub fn describe(&self, state: &TrainState<Classifier>, device: &str, damaged: &[TrainerError]) -> String {
        let mut text = String::new();
        let mut line =
            |name: &str, value: String| writeln!(text, "{name:<15} {value}").expect("a string grows");
        let (recipe, pace, stack) = (&self.recipe, &self.pace, self.config.vit.stack);
        let params = mae_model::list_params(&state.model);
        let millions = |trained: bool| {
            let chosen = params.iter().filter(|param| param.trained || !trained);
            chosen.map(|param| param.shape.iter().product::<usize>()).sum::<usize>() as f64 / 1e6
        };
        line("device", device.to_owned());
        line(
            "weights",
            match recipe.model.from_scratch {
                true => format!("random, of the shape in {}", recipe.model.weights.display()),
                false => recipe.model.weights.display().to_string(),
            },
        );
        let (train, val) = (self.train.len(), self.val.len());
        line(
            "images",
            format!("{train} to learn from, {val} to be measured on, {} classes", self.config.classes.len()),
        );
        line("model", format!("{} wide, {} blocks, {} heads", stack.embed_dim, stack.depth, stack.num_heads));
        line("trained", format!("{:.3} M of {:.3} M parameters", millions(true), millions(false)));
        line(
            "batch",
            format!(
                "{} = {} images x {} accumulated",
                pace.effective_batch,
                recipe.batch_size.unwrap_or(1),
                recipe.accum_iter
            ),
        );
        line(
            "learning rate",
            format!(
                "{:.3e} = {} x {} / 256, {} epochs of warm-up, then cosine to {}",
                pace.schedule.peak_lr(),
                recipe.optim.base_lr,
                pace.effective_batch,
                recipe.optim.warmup_epochs.unwrap_or(0.0),
                recipe.optim.min_lr
            ),
        );
        line("steps", format!("{} = {} epochs x {}", pace.total_steps, pace.epochs, pace.steps_per_epoch));
        line("run", self.path("").display().to_string());
        let size = self.config.vit.geometry.image_size();
        let warnings = mae_data::data_warnings(self.train.as_ref(), size);
        warnings.iter().for_each(|warning| line("warning", warning.to_string()));
        let moments = if recipe.method == Method::Finetune { ADAMW_MOMENTS } else { LARS_MOMENTS };
        no_room(state, moments, &self.path("")).into_iter().for_each(|text| line("warning", text));
        damaged.iter().for_each(|error| line("damaged", crate::chain(error)));
        self.changed.iter().for_each(|change| line("changed", change.clone()));
        if state.step > 0 {
            line("continuing", format!("after step {} of {}", state.step, pace.total_steps));
        }
        text
    }

    /// How it ended, for people.
    ///
    /// # Errors
    /// If the evaluations cannot be read.
    pub fn summarize(&self, state: &TrainState<Classifier>, scores: &Scores) -> Result<String, TrainerError> {
        let mut text = String::new();
        let mut line =
            |name: &str, value: String| writeln!(text, "{name:<15} {value}").expect("a string grows");
        let took = duration(state.elapsed_s);
        line("trained", format!("{} of {} steps in {took}", state.step, self.pace.total_steps));
        line("top-1", format!("{:.1}% of {} held-out images", 100.0 * scores.top1(), scores.images()));
        unreadable(self).into_iter().for_each(|text| line("unreadable", text));
        if let Some(top5) = scores.top5().filter(|_| scores.classes.len() > 5) {
            line("top-5", format!("{:.1}%", 100.0 * top5));
        }
        if let Some((step, top1)) = self.best()?.filter(|(step, _)| *step < state.step) {
            line("best", format!("top-1 {:.1}% after step {step}", 100.0 * top1));
        }
        let evaluations = read_evaluations(&self.path(EVALUATIONS))?;
        fall("top-1", &evaluations, |e| e.top1).into_iter().for_each(|text| line("warning", text));
        for (name, file) in [
            ("scores", "scores.json"),
            ("confusion", "confusion.png"),
            ("loss curve", "loss.png"),
            ("weights", MODEL),
        ] {
            line(name, self.path(file).display().to_string());
        }
        Ok(text)
    }
}
