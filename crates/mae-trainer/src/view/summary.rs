//! The summary of a finished run: losses beside a baseline's, the task's results, and the paths of files.

use std::fmt::Write as _;

use burn::module::Module;
use burn::tensor::Device;
use mae_report::{
    EVALUATIONS, Evaluation, METRICS, draw_loss_curve, duration, last_loss, read_evaluations, read_records,
    save_png,
};

use super::report::write_report;
use crate::{Run, Task, TrainState, TrainerError};

/// The weights of a finished run.
const MODEL: &str = "model.safetensors";

/// Measures and draws a finished run, writes its weights and its report, and returns a summary of a few lines. Ranks
/// other than the main one only measure, and return an empty text.
///
/// # Errors
/// If something cannot be read or written.
pub fn summarize<T: Task>(
    run: &Run<T>,
    state: &TrainState<T::Model>,
    device: &Device,
) -> Result<String, TrainerError> {
    let model = state.averaged().valid();
    let outcome = run.task.finish(run, &model, state.step, device)?;
    if !run.ranks().is_main() {
        return Ok(String::new());
    }
    let weights = run.path(MODEL);
    let best = run.best()?.filter(|(best, _)| best.step < state.step);
    let best_weights = run.save_best(best.as_ref().map(|(best, _)| best))?;
    run.save_model(&model, &weights)?;
    let records = read_records(run.path(METRICS))?;
    let curve = run.path("loss.png");
    let title = format!("{} · {}", run.task.title(), T::LOSS);
    save_png(&draw_loss_curve(&title, &records, outcome.baseline.map(|(_, loss)| loss))?, &curve)?;
    let first = records.first().map_or(f64::NAN, |r| r.loss);
    let last = last_loss(&records).unwrap_or(f64::NAN);

    let mut text = String::new();
    let mut line = |name: &str, value: String| writeln!(text, "{name:<15} {value}").expect("a string grows");
    line(
        "trained",
        format!("{} of {} steps in {}", state.step, run.pace.total_steps, duration(state.elapsed_s)),
    );
    let baseline = outcome.baseline.map_or(String::new(), |(name, loss)| format!(", {loss:.4} for {name}"));
    line("loss", format!("{first:.4} at first, {last:.4} at last{baseline}"));
    if let Some((name, loss)) = outcome.baseline.filter(|(_, loss)| last >= *loss) {
        line("warning", format!("the last loss, {last:.4}, is not below {loss:.4}, the loss of {name}"));
    }
    let evaluations = read_evaluations(run.path(EVALUATIONS))?;
    for metric in T::METRICS.iter().filter(|metric| metric.is_share) {
        let fall = fall(metric.title, &evaluations, |evaluation| metric.of(evaluation));
        fall.into_iter().for_each(|text| line("warning", text));
    }
    outcome.lines.iter().for_each(|(name, value)| line(name, value.clone()));
    run.unreadable().into_iter().for_each(|text| line("unreadable", text));
    line("loss curve", curve.display().to_string());
    line("weights", format!("{} (after step {}, the last)", weights.display(), state.step));
    if let Some(((best, value), path)) = best.zip(best_weights) {
        let metric = run.task.best();
        let (title, value) = (metric.title, metric.text(value));
        line("best weights", format!("{} (after step {}: {title} {value})", path.display(), best.step));
    }
    line("report", write_report(run, &model, &outcome)?.display().to_string());
    Ok(text)
}

/// A warning if an accuracy ended far below its best.
fn fall(
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

/// The drop of an accuracy that is worth a warning. Our choice: several times the standard error on a few hundred
/// images.
const FALL: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accuracy_that_fell_is_named_with_its_best() {
        let at = |step, probe: &Option<f64>| Evaluation {
            step,
            metrics: probe.iter().map(|value| ("probe".to_owned(), *value)).collect(),
            ..Evaluation::default()
        };
        let fell = |values: &[Option<f64>]| {
            let evaluations: Vec<_> = (1..).zip(values).map(|(step, value)| at(10 * step, value)).collect();
            fall("the linear probe", &evaluations, |e| e.metrics.get("probe").copied())
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
