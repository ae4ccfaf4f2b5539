//! How a run ended: losses beside the zero predictor's, kNN accuracies, where the pictures are.

use std::fmt::Write as _;

use burn::module::Module;
use burn::tensor::Device;
use mae_model::Mae;

use crate::draw::{BORROWED, draw_curve, draw_pictures};
use crate::evaluate::{Accuracies, FeatureReport, feature_report};
use crate::progress::{duration, unreadable};
use crate::records::{EVALUATIONS, Evaluation, read_evaluations, read_records};
use crate::report::{ReportFacts, write_report};
use crate::{Run, TrainState, TrainerError};

/// The weights of a finished run.
pub(crate) const MODEL: &str = "model.safetensors";

/// Draws a finished run, measures its encoder, writes its weights, and says so in a few lines; on ranks other than the
/// main one it only measures, and says nothing.
///
/// # Errors
/// If something cannot be read or written.
pub fn summarize(run: &Run, state: &TrainState, device: &Device) -> Result<String, TrainerError> {
    let model = state.averaged().valid();
    let features = feature_report(run, &model, device)?;
    if !run.ranks().is_main() {
        return Ok(String::new());
    }
    let zero = zero_loss(run, &model, device)?;
    let pictures = draw_pictures(run, &model, state.step, device)?;
    let curve = draw_curve(run, zero)?;
    let weights = run.path(MODEL);
    mae_model::save(&model, &run.recipe.data.normalize, &run.metadata(), &weights)?;

    let records = read_records(&run.path("metrics.jsonl"))?;
    let first = records.first().map_or(f64::NAN, |r| r.loss);
    let last = &records[records.len() - records.len().div_ceil(20)..];
    let last = last.iter().map(|r| r.loss).sum::<f64>() / last.len() as f64;

    let mut text = String::new();
    let mut line = |name: &str, value: String| writeln!(text, "{name:<15} {value}").expect("a string grows");
    line(
        "trained",
        format!("{} of {} steps in {}", state.step, run.plan.pace.total_steps, duration(state.elapsed_s)),
    );
    if let Some((best, loss)) = run.best()?.and_then(|best| best.val_loss.map(|loss| (best, loss)))
        && best.step < state.step
    {
        line(
            "best",
            format!(
                "held-out loss {loss:.4} after step {}: {}",
                best.step,
                run.checkpoint(best.step).display()
            ),
        );
    }
    line("loss", format!("{first:.4} at first, {last:.4} at last, {zero:.4} for predicting zero"));
    if last >= zero {
        line(
            "warning",
            format!("the last loss, {last:.4}, is no lower than {zero:.4}, which predicting zero costs"),
        );
    }
    let evaluations = read_evaluations(&run.path(EVALUATIONS))?;
    for (name, number) in MEASURED {
        fall(name, &evaluations, number).into_iter().for_each(|text| line("warning", text));
    }
    match &features {
        Some(FeatureReport { knn, probe, images, k, held_out }) => {
            let which = if *held_out { "held-out images" } else { "others of the training set" };
            let about = format!("{} labelled images, {} {which}", images.0, images.1);
            line("kNN accuracy", format!("{} (k = {k}; {about})", accuracy_line(knn)));
            probe.iter().for_each(|probe| line("linear probe", accuracy_line(probe)));
        }
        None => line("kNN accuracy", "not measured: the images have no labels".into()),
    }
    unreadable(run).into_iter().for_each(|text| line("unreadable", text));
    line("pictures", pictures.display().to_string());
    if run.plan.config.norm_pix_loss {
        line("", BORROWED.into());
    }
    line("loss curve", curve.display().to_string());
    line("weights", weights.display().to_string());
    let about = ReportFacts { device: format!("{device:?}"), zero_loss: Some(zero), features };
    line("report", write_report(run, &about)?.display().to_string());
    Ok(text)
}

/// Accuracies that a run is warned about when they fall.
const MEASURED: [(&str, Accuracy); 2] = [("kNN accuracy", |e| e.knn), ("the linear probe", |e| e.probe)];

/// An accuracy of an evaluation, 0 to 1.
type Accuracy = fn(&Evaluation) -> Option<f64>;

/// Says that an accuracy ended far below its best, if it did.
pub(crate) fn fall(
    name: &str,
    evaluations: &[Evaluation],
    number: impl Fn(&Evaluation) -> Option<f64>,
) -> Option<String> {
    let measured = evaluations.iter().filter_map(|e| Some((e.step, number(e)?)));
    let (_, last) = measured.clone().last()?;
    let (step, best) = measured.reduce(|best, next| if next.1 > best.1 { next } else { best })?;
    (best - last > FALL).then(|| {
        let [best, last] = [best, last].map(|accuracy| 100.0 * accuracy);
        format!("{name} fell from {best:.1}% after step {step} to {last:.1}% at the end")
    })
}

/// The fall of an accuracy that is worth a warning. Ours: several times the standard error on a few hundred images.
const FALL: f64 = 0.1;

fn accuracy_line(accuracies: &Accuracies) -> String {
    let Accuracies { trained, untrained, pixels } = accuracies;
    let pixels = pixels.map_or(String::new(), |pixels| format!(", {:.1}% raw pixels", 100.0 * pixels));
    format!("{:.1}% trained, {:.1}% before training{pixels}", 100.0 * trained, 100.0 * untrained)
}

/// The loss of predicting zero, on the run's first batch.
fn zero_loss(run: &Run, model: &Mae, device: &Device) -> Result<f64, TrainerError> {
    let batch = run.batches(0)?.next().ok_or(TrainerError::EpochTooShort { step: 0 })??;
    let (images, masks) = run.inputs(batch, device)?;
    Ok(f64::from(model.zero_loss(images, &masks).into_scalar::<f32>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accuracy_that_fell_is_named_with_its_best() {
        let at = |step, probe| Evaluation { step, probe, ..Evaluation::default() };
        let fell = |values: &[Option<f64>]| {
            let evaluations: Vec<_> = (1..).zip(values).map(|(step, value)| at(10 * step, *value)).collect();
            fall("the linear probe", &evaluations, |e| e.probe)
        };
        assert_eq!(
            fell(&[Some(0.5), Some(0.85), None, Some(0.85), Some(0.27)]).unwrap(),
            "the linear probe fell from 85.0% after step 20 to 27.0% at the end"
        );
        for steady in [&[Some(0.85), Some(0.78)][..], &[Some(0.2), Some(0.9)], &[None], &[]] {
            assert_eq!(fell(steady), None);
        }
    }
}
