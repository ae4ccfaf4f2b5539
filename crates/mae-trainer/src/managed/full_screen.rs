//! burn-train's full-screen view of a training.

use std::sync::Arc;

use burn_train::Interrupter;
use burn_train::metric::{
    MetricDefinition, MetricEntry, MetricId, NumericAttributes, NumericEntry, SerializedEntry,
};
use burn_train::renderer::{MetricState, MetricsRenderer};

use super::screen;
use crate::{Evaluation, Metric, Observer, Record, Run, Task};

/// burn-train's full-screen view. It restores the terminal when it is dropped.
pub struct FullScreen {
    /// `None` only during the drop.
    renderer: Option<Box<dyn MetricsRenderer>>,
    interrupter: Interrupter,
    metrics: &'static [Metric],
    steps_per_epoch: u64,
    images_per_step: usize,
    /// The epoch whose progress bar is drawn.
    epoch: Option<u64>,
}

/// A curve drawn from records: its name, its unit, whether higher is better, and the value of a record.
type Curve = (&'static str, Option<&'static str>, bool, fn(&Record) -> Option<f64>);

const CURVES: [Curve; 4] = [
    ("Loss", None, false, |record| Some(record.loss)),
    ("Gradient norm", None, false, |record| record.grad_norm),
    ("Images per second", Some("images/s"), true, |record| Some(record.images_per_s)),
    ("Waiting for data", Some("%"), false, |record| Some(100.0 * record.waiting_share)),
];

impl FullScreen {
    /// Opens the view of a run that continues after `step` updates.
    pub fn open<T: Task>(run: &Run<T>, step: u64) -> Self {
        let interrupter = Interrupter::new();
        let mut renderer = screen::open(&interrupter);
        let register = |(name, unit, higher_is_better): (&str, Option<&str>, bool)| {
            let unit = unit.map(str::to_owned);
            renderer.register_metric(MetricDefinition {
                metric_id: id(name),
                name: Arc::new(name.to_owned()),
                description: None,
                attributes: NumericAttributes { unit, higher_is_better }.into(),
            });
        };
        let curves = CURVES.iter().map(|(name, unit, higher_is_better, _)| (*name, *unit, *higher_is_better));
        let metrics = T::METRICS
            .iter()
            .map(|metric| (metric.title, unit(metric), metric.higher_is_better != Some(false)));
        curves.chain(metrics).for_each(register);
        let pace = &run.pace;
        let epoch = pace.position(step).0;
        renderer.start(pace.epochs as usize, epoch as usize + 1, None, None);
        let (steps_per_epoch, images_per_step) = (pace.steps_per_epoch, pace.effective_batch);
        Self {
            renderer: Some(renderer),
            interrupter,
            metrics: T::METRICS,
            steps_per_epoch,
            images_per_step,
            epoch: None,
        }
    }
}

fn id(name: &str) -> MetricId {
    MetricId::new(Arc::new(name.to_owned()))
}

fn unit(metric: &Metric) -> Option<&'static str> {
    metric.is_share.then_some("%")
}

/// A point of a curve.
fn point(name: &str, unit: Option<&str>, value: f64) -> MetricState {
    let text = format!("{value:.4} {}", unit.unwrap_or("")).trim_end().to_owned();
    let value = value.is_finite().then_some(NumericEntry::Value(value));
    MetricState::Numeric(MetricEntry::new(id(name), SerializedEntry::new(text.clone(), text)), value)
}

impl Observer for FullScreen {
    fn update(&mut self, record: &Record) {
        screen::hear_interrupts();
        let Some(renderer) = &mut self.renderer else { return };
        let epoch = record.step.saturating_sub(1) / self.steps_per_epoch;
        if self.epoch != Some(epoch) {
            if let Some(before) = self.epoch {
                renderer.end_split();
                renderer.update_epoch(before as usize + 1);
            }
            self.epoch = Some(epoch);
            let items = self.steps_per_epoch as usize * self.images_per_step;
            renderer.start_split("train", items);
        }
        for (name, unit, _, value) in CURVES {
            if let Some(value) = value(record) {
                renderer.update_train(point(name, unit, value));
            }
        }
        let done = record.step - epoch * self.steps_per_epoch;
        renderer.update_split(done as usize * self.images_per_step);
        renderer.log_event_training("Iteration".to_owned());
    }

    fn evaluation(&mut self, evaluation: &Evaluation) {
        let Some(renderer) = &mut self.renderer else { return };
        if let Some(loss) = evaluation.val_loss {
            renderer.update_valid(point("Loss", None, loss));
        }
        for metric in self.metrics {
            if let Some(value) = metric.of(evaluation) {
                let value = if metric.is_share { 100.0 * value } else { value };
                renderer.update_valid(point(metric.title, unit(metric), value));
            }
        }
    }

    fn stops(&self) -> bool {
        self.interrupter.should_stop()
    }
}

impl Drop for FullScreen {
    fn drop(&mut self) {
        // Close the view before its terminal's modes are discarded.
        self.renderer = None;
        screen::closed();
    }
}
