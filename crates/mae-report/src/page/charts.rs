//! The curves of a report, as data for `charts.js`.

use std::borrow::Cow;

use serde::Serialize;

use super::content::Page;
use super::downsample::downsample;
use super::html::capital;
use crate::Metric;
use crate::draw::curve::running_mean;
use crate::records::{Evaluation, Record};

/// Maximum points of a series: a screen has no room for more.
const MAX_POINTS: usize = 2000;
/// As in `loss.png`: the running mean reaches over one in this many records to each side.
const MEAN_SHARE: usize = 40;

#[derive(Serialize)]
pub(super) struct Charts {
    /// The horizontal axis of all curves.
    pub axis: Axis,
    pub charts: Vec<Chart>,
}

#[derive(Serialize)]
pub(super) struct Axis {
    pub name: &'static str,
    /// Steps per epoch, if the axis counts steps.
    pub steps_per_epoch: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct Chart {
    pub title: Cow<'static, str>,
    /// The format of numbers: the name of a function in the script.
    pub format: &'static str,
    /// Whether the axis begins at zero.
    pub from_zero: bool,
    /// Whether a logarithmic axis is offered.
    pub log: bool,
    pub series: Vec<Series>,
    pub levels: Vec<Level>,
}

#[derive(Serialize)]
pub(super) struct Series {
    name: Cow<'static, str>,
    /// `faint` for single records, `bold` for their mean, `marked` for rare points.
    style: &'static str,
    /// The series' own colour in CSS; without it, the series has the colour of its style.
    #[serde(skip_serializing_if = "Option::is_none")]
    colour: Option<String>,
    x: Vec<f64>,
    /// In single precision: half the size, and more digits than can be seen.
    y: Vec<f32>,
}

/// A horizontal line to compare with.
#[derive(Serialize)]
pub(super) struct Level {
    name: &'static str,
    y: f64,
}

/// Returns all charts that have something to draw.
pub(super) fn charts(page: &Page<'_>, records: &[Record], evaluations: &[Evaluation]) -> Charts {
    let outcome = page.outcome;
    let of_records = |value: fn(&Record) -> Option<f64>| {
        let points = records.iter().filter_map(|record| Some((record.step as f64, value(record)?)));
        points.filter(|(_, value)| value.is_finite()).collect::<Vec<_>>()
    };
    let of_evaluations = |name, metric: &Metric| {
        let points = evaluations.iter().filter_map(|made| Some((made.step as f64, metric.of(made)?)));
        Series::new(name, "marked", &points.collect::<Vec<_>>())
    };
    let each_and_mean = |points: &[(f64, f64)]| {
        vec![Series::new("each step", "faint", points), Series::new("running mean", "bold", &mean(points))]
    };
    let level = |(name, y): (&'static str, f64)| y.is_finite().then_some(Level { name, y });

    let mut loss = each_and_mean(&of_records(|record| Some(record.loss)));
    loss.push(of_evaluations("held-out images", &Metric::VAL_LOSS));
    let rate = Series::new("learning rate", "bold", &of_records(|record| Some(record.lr)));
    let mut charts = vec![Chart {
        title: capital(page.loss).into(),
        format: "number",
        from_zero: false,
        log: true,
        series: loss,
        levels: outcome.baseline.and_then(level).into_iter().collect(),
    }];
    for metric in page.metrics {
        let series = of_evaluations(metric.title, metric);
        match charts.iter_mut().find(|chart| chart.title == metric.chart) {
            Some(chart) => chart.series.push(series),
            None => {
                let levels = outcome.levels.iter().filter(|(chart, ..)| *chart == metric.chart);
                charts.push(Chart {
                    title: metric.chart.into(),
                    format: if metric.is_share { "percent" } else { "number" },
                    from_zero: false,
                    log: false,
                    series: vec![series],
                    levels: levels.filter_map(|(_, name, y)| level((name, *y))).collect(),
                });
            }
        }
    }
    charts.extend([
        Chart {
            title: "Images per second".into(),
            format: "count",
            from_zero: true,
            log: false,
            series: each_and_mean(&of_records(|record| Some(record.images_per_s))),
            levels: Vec::new(),
        },
        Chart {
            title: "Share of time waiting for data".into(),
            format: "percent",
            from_zero: true,
            log: false,
            series: each_and_mean(&of_records(|record| Some(record.waiting_share))),
            levels: Vec::new(),
        },
        Chart {
            title: "Learning rate".into(),
            format: "scientific",
            from_zero: true,
            log: false,
            series: vec![rate],
            levels: Vec::new(),
        },
        Chart {
            title: "Gradient norm".into(),
            format: "number",
            from_zero: false,
            log: true,
            series: each_and_mean(&of_records(|record| record.grad_norm)),
            levels: Vec::new(),
        },
    ]);
    let axis = Axis { name: "step", steps_per_epoch: Some(page.steps_per_epoch) };
    Charts { axis, charts: drawn(charts) }
}

/// The running mean of a series of records.
pub(super) fn mean(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    running_mean(points, &(f64::NEG_INFINITY..f64::INFINITY), points.len() / MEAN_SHARE)
}

/// Removes series without points, and charts without series.
pub(super) fn drawn(mut charts: Vec<Chart>) -> Vec<Chart> {
    for chart in &mut charts {
        chart.series.retain(|series| !series.x.is_empty());
    }
    charts.retain(|chart| !chart.series.is_empty());
    charts
}

impl Series {
    pub fn new(name: impl Into<Cow<'static, str>>, style: &'static str, points: &[(f64, f64)]) -> Self {
        let points = downsample(points, MAX_POINTS);
        Self {
            name: name.into(),
            style,
            colour: None,
            x: points.iter().map(|point| point.0).collect(),
            y: points.iter().map(|point| point.1 as f32).collect(),
        }
    }

    /// Gives the series a colour of its own.
    pub fn coloured(self, colour: String) -> Self {
        Self { colour: Some(colour), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::super::content::Outcome;
    use super::*;

    #[test]
    fn draws_what_there_is_in_points_that_a_page_can_hold() {
        let record = |step: u64| Record {
            step,
            epoch: 0.0,
            loss: if step == 7 { f64::NAN } else { 1.0 / step as f64 },
            lr: 0.1,
            grad_norm: None,
            images_per_s: if step == 5000 { 1e6 } else { 100.0 },
            waiting_share: 0.0,
            elapsed_s: 1.0,
        };
        let records: Vec<_> = (1..=10_000).map(record).collect();
        let metrics = [("probe".to_owned(), 0.5)].into();
        let evaluation = Evaluation { step: 9000, metrics, ..Evaluation::default() };
        let outcome = Outcome { baseline: Some(("predicting zero", f64::NAN)), ..Outcome::default() };
        let page = Page {
            folder: std::path::Path::new(""),
            task: "",
            subtitle: String::new(),
            loss: "the loss",
            metrics: &[Metric::accuracy("probe", "linear probe", "Accuracy")],
            epochs: 1,
            steps_per_epoch: 10,
            total_steps: 10,
            effective_batch: 1,
            params: 0,
            flops_per_image: None,
            data: Vec::new(),
            model: Vec::new(),
            device: String::new(),
            recipe: String::new(),
            outcome: &outcome,
        };
        let Charts { charts, .. } = charts(&page, &records, &[evaluation]);
        let titles: Vec<_> = charts.iter().map(|chart| (chart.title.as_ref(), chart.series.len())).collect();
        assert_eq!(
            titles,
            [
                ("The loss", 2),
                ("Accuracy", 1),
                ("Images per second", 2),
                ("Share of time waiting for data", 2),
                ("Learning rate", 1)
            ]
        );
        let series = charts.iter().flat_map(|chart| &chart.series);
        assert!(series.clone().all(|s| s.x.len() == s.y.len() && s.x.len() <= MAX_POINTS));
        assert!(series.flat_map(|s| &s.y).all(|y| y.is_finite()));
        assert!(charts[2].series[0].y.contains(&1e6) && charts[0].levels.is_empty());
        assert_eq!((charts[0].series[0].x[0], charts[1].series[0].x[..] == [9000.0]), (1.0, true));
    }
}
