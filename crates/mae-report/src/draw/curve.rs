//! The loss curve of a run, as a picture.

use super::canvas::{DrawError, INK, Sheet, draw, font, px};
use crate::ReportError;
use crate::records::Record;
use mae_data::Image;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::ops::Range;

const SIZE_PX: (usize, usize) = (540, 960);
const HEADER_PX: usize = 48;
/// Maximum points: more would overlap.
const MAX_POINTS: usize = 3000;
/// The running mean reaches over one in this many records to each side.
const MEAN_SHARE: usize = 40;
const LOSS_TICKS: usize = 7;

const POINT: RGBColor = RGBColor(158, 193, 226);
const MEAN: RGBColor = RGBColor(24, 88, 160);
const ZERO: RGBColor = RGBColor(200, 92, 28);
const GRID: RGBColor = RGBColor(232, 232, 236);

/// Draws every recorded loss, their running mean and, dashed, the loss of predicting zero.
///
/// Losses that are not finite are left out. The axis reaches down to zero if that does not flatten the curve.
///
/// # Shapes
/// The picture is `[H, W, 3]`.
///
/// # Errors
/// [`ReportError::Argument`] if no loss is finite, [`ReportError::Draw`] if the drawing library fails.
pub fn draw_loss_curve(
    title: &str,
    records: &[Record],
    zero_predictor: Option<f64>,
) -> Result<Image, ReportError> {
    let losses: Vec<(f64, f64)> = records
        .iter()
        .filter(|record| record.loss.is_finite())
        .map(|record| (record.step as f64, record.loss))
        .collect();
    if losses.is_empty() {
        return Err(ReportError::argument("the number of finite losses to draw", 0, "at least 1"));
    }
    let zero_predictor = zero_predictor.filter(|loss| loss.is_finite());
    draw("loss curve", SIZE_PX, |sheet| paint(sheet, title, &losses, zero_predictor))
}

fn paint(
    sheet: &Sheet<'_>,
    title: &str,
    losses: &[(f64, f64)],
    zero_predictor: Option<f64>,
) -> Result<(), DrawError> {
    let last_step = losses[losses.len() - 1].0.max(1.0);
    let range = loss_range(losses, zero_predictor);
    header(sheet, title)?;
    let mut chart = ChartBuilder::on(sheet)
        .margin(px(16))
        .margin_top(px(HEADER_PX))
        .margin_right(px(28))
        .x_label_area_size(px(44))
        .y_label_area_size(px(56))
        .build_cartesian_2d(0.0..last_step, range.clone())?;
    let digits = digits(&range);
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.stroke_width(px(1) as u32))
        .axis_style(INK.mix(0.5).stroke_width(px(1) as u32))
        .label_style(font(14).color(&INK))
        .axis_desc_style(font(15).color(&INK))
        .x_desc("step")
        .y_desc("loss")
        .x_labels(8)
        .y_labels(LOSS_TICKS)
        .x_label_formatter(&|step| step_label(*step))
        .y_label_formatter(&|loss| loss_label(*loss, digits))
        .draw()?;

    let stride = losses.len().div_ceil(MAX_POINTS);
    let shown = losses.iter().step_by(stride).filter(|(_, loss)| range.contains(loss));
    chart.draw_series(shown.map(|&point| Circle::new(point, px(2), POINT.mix(0.7).filled())))?;
    let means = running_mean(losses, &range, losses.len().div_ceil(MEAN_SHARE));
    chart.draw_series(LineSeries::new(means, MEAN.stroke_width(px(2) as u32)))?;
    if let Some(zero) = zero_predictor {
        let thin = ZERO.stroke_width(px(1) as u32 + 1);
        let ends = [(0.0, zero), (last_step, zero)];
        chart.draw_series(DashedLineSeries::new(ends, px(7), px(5), thin))?;
        let label = format!("predicting zero: {zero:.3}");
        let style = font(14).color(&ZERO).pos(Pos::new(HPos::Right, VPos::Bottom));
        chart.draw_series([
            EmptyElement::at((last_step, zero)) + Text::new(label, (px(0) - px(4), -px(4)), style)
        ])?;
    }
    Ok(())
}

/// Draws the title on the left and, on the same line, a key to the points and the bold line.
fn header(sheet: &Sheet<'_>, title: &str) -> Result<(), DrawError> {
    let middle = px(HEADER_PX / 2 + 4);
    let left = Pos::new(HPos::Left, VPos::Center);
    sheet.draw(&Text::new(title, (px(72), middle), font(20).color(&INK).pos(left)))?;
    let label = |text, x| Text::new(text, (px(x), middle), font(14).color(&INK).pos(left));
    let small = middle - px(2); // the middle of lower-case letters
    sheet.draw(&Circle::new((px(722), small), px(3), POINT.filled()))?;
    sheet.draw(&label("each record", 732))?;
    sheet.draw(&PathElement::new([(px(822), small), (px(844), small)], MEAN.stroke_width(px(2) as u32)))?;
    sheet.draw(&label("running mean", 850))?;
    Ok(())
}

/// Returns the mean over up to `radius` losses on each side. At the start, both sides are equally short, because a
/// falling loss would pull a one-sided mean down. At the end, the mean takes all losses that remain, because the mean
/// of one loss would end in a hook.
///
/// A loss outside `range` is clamped to it: a spike moves the mean, but not off the picture.
pub(crate) fn running_mean(losses: &[(f64, f64)], range: &Range<f64>, radius: usize) -> Vec<(f64, f64)> {
    let mut sums = vec![0.0];
    for (_, loss) in losses {
        sums.push(sums[sums.len() - 1] + loss.clamp(range.start, range.end));
    }
    let mean = |(i, &(step, _)): (usize, &(f64, f64))| {
        let radius = radius.min(i);
        let (from, to) = (i - radius, losses.len().min(i + radius + 1));
        (step, (sums[to] - sums[from]) / (to - from) as f64)
    };
    losses.iter().enumerate().map(mean).collect()
}

/// Returns the range of the axis: from a little below the lowest loss, or 0 if that is near, to above the highest loss
/// without the top 1%, which may be spikes.
fn loss_range(losses: &[(f64, f64)], zero_predictor: Option<f64>) -> Range<f64> {
    let mut sorted: Vec<f64> = losses.iter().map(|&(_, loss)| loss).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let highest = sorted[(sorted.len() * 99).div_ceil(100) - 1];
    let low = sorted[0].min(zero_predictor.unwrap_or(f64::INFINITY));
    let high = highest.max(zero_predictor.unwrap_or(f64::NEG_INFINITY));
    // A run whose losses are all the same still needs an axis.
    let height = if high - low > 1e-6 * high.abs() { high - low } else { high.abs().max(1e-3) };
    let start = if (0.0..=2.0 * height).contains(&low) { 0.0 } else { low - 0.05 * height };
    start..high + 0.12 * height
}

/// Returns the decimals that distinguish up to [`LOSS_TICKS`] ticks of an axis.
fn digits(range: &Range<f64>) -> usize {
    let tick = (range.end - range.start) / LOSS_TICKS as f64;
    (-tick.log10()).ceil().clamp(0.0, 12.0) as usize
}

fn loss_label(loss: f64, digits: usize) -> String {
    if loss.abs() >= 1e5 { format!("{loss:.1e}") } else { format!("{loss:.digits$}") }
}

fn step_label(step: f64) -> String {
    if step >= 10_000.0 { format!("{}k", step / 1000.0) } else { format!("{step}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(step: u64, loss: f64) -> Record {
        let (epoch, elapsed_s) = (step as f64 / 10.0, step as f64);
        Record {
            step,
            epoch,
            loss,
            lr: 1e-3,
            grad_norm: None,
            images_per_s: 1e3,
            waiting_share: 0.0,
            elapsed_s,
        }
    }

    fn pixels(image: &Image, color: RGBColor) -> usize {
        image.data().chunks(3).filter(|pixel| **pixel == [color.0, color.1, color.2]).count()
    }

    #[test]
    fn the_mean_of_a_straight_line_is_that_line() {
        let line: Vec<(f64, f64)> = (0..100).map(|i| (f64::from(i), 500.0 - 3.0 * f64::from(i))).collect();
        let means = running_mean(&line, &(0.0..1e3), 7);
        assert_eq!(means.len(), 100);
        for ((_, mean), (_, loss)) in means.into_iter().zip(&line).take(93) {
            assert!((mean - loss).abs() < 1e-9, "{mean} and {loss}");
        }
        let zigzag: Vec<(f64, f64)> = (0..99).map(|i| (f64::from(i), f64::from(i % 3))).collect();
        assert!(
            running_mean(&zigzag, &(0.0..2.0), 4)[4..95].iter().all(|(_, mean)| (mean - 1.0).abs() < 1e-9)
        );
    }

    #[test]
    fn a_spike_does_not_flatten_the_rest() {
        let mut losses: Vec<(f64, f64)> =
            (0..300).map(|i| (f64::from(i), 0.5 + 0.001 * f64::from(i))).collect();
        losses[150].1 = 1e6;
        let range = loss_range(&losses, Some(1.0));
        assert!(range.start == 0.0 && range.end < 1.2, "{range:?}");
        let range = loss_range(&[(0.0, 9.0), (1.0, 9.1)], None);
        assert!(range.start > 8.9 && range.end < 9.2, "a loss far from 0 keeps its height: {range:?}");
    }

    #[test]
    fn ticks_are_short_and_differ() {
        assert_eq!((step_label(500.0), step_label(12_500.0)), ("500".into(), "12.5k".into()));
        assert_eq!((loss_label(0.25, 2), loss_label(2.5e7, 0)), ("0.25".into(), "2.5e7".into()));
        assert_eq!([0.0..8.0, 0.0..1.1, 0.81..0.82].map(|range| digits(&range)), [0, 1, 3]);
    }

    #[test]
    fn draws_the_mean_the_points_and_the_zero_predictor() {
        let records: Vec<Record> = (1..=400).map(|step| record(step, 0.4 + 1.0 / step as f64)).collect();
        let with = draw_loss_curve("run", &records, Some(0.9)).unwrap();
        let without = draw_loss_curve("run", &records, None).unwrap();
        assert!(pixels(&with, MEAN) > 500 && pixels(&without, MEAN) > 500);
        assert!(pixels(&with, ZERO) > 200 && pixels(&without, ZERO) == 0);
    }

    #[test]
    fn draws_runs_of_every_kind() {
        let falling =
            |count: u64| (1..=count).map(|step| record(step, 1.0 / step as f64)).collect::<Vec<_>>();
        let diverged = vec![record(1, 1.0), record(2, f64::NAN), record(3, 1e300)];
        let runs = [falling(1), falling(2), falling(50_000), vec![record(7, 0.0); 3], diverged];
        for records in runs {
            for zero_predictor in [None, Some(1.0), Some(f64::NAN)] {
                draw_loss_curve("run", &records, zero_predictor).unwrap();
            }
        }
        let error = draw_loss_curve("run", &[record(1, f64::NAN)], None).unwrap_err();
        assert_eq!(error.to_string(), "the number of finite losses to draw is 0, but must be at least 1");
    }
}
