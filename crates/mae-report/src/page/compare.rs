//! The curves of several runs on one page.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use super::charts::{Axis, Chart, Charts, Series, drawn, mean};
use super::html::{capital, escape, fill, json};
use crate::records::last_loss;
use crate::{Evaluation, Metric, Record, ReportError, write_atomic};

/// Colours of runs, on light and on dark pages. After the last one, they start again.
const COLOURS: [(&str, &str); 8] = [
    ("#1858a0", "#79b0f2"),
    ("#c2541a", "#f0935a"),
    ("#2b7a4b", "#6cc490"),
    ("#7a4a9e", "#c39ae6"),
    ("#a8851a", "#e0c060"),
    ("#b03060", "#f08aac"),
    ("#1f8a94", "#66c9d2"),
    ("#5f5b55", "#b4afa6"),
];

/// The horizontal axis of curves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CurvesOver {
    /// Passes over the data set.
    #[default]
    Epochs,
    /// Updates.
    Steps,
    /// Minutes of training.
    Minutes,
}

/// A run to compare with others.
#[derive(Clone, Debug, Default)]
pub struct ComparedRun {
    /// The run's name.
    pub name: String,
    /// The run's records.
    pub records: Vec<Record>,
    /// The run's evaluations.
    pub evaluations: Vec<Evaluation>,
    /// Its settings, by name.
    pub settings: BTreeMap<String, String>,
}

/// Several runs on one page.
#[derive(Clone, Debug, Default)]
pub struct Comparison<'a> {
    /// The runs, in their order.
    pub runs: Vec<ComparedRun>,
    /// The metrics that runs may have, in the order of the charts.
    pub metrics: &'a [Metric],
    /// The horizontal axis of the curves.
    pub over: CurvesOver,
}

impl Comparison<'_> {
    /// A tag that only pages of this kind have.
    const MARK: &'static str = "<meta name=\"generator\" content=\"mae compare\">";

    /// Whether a file is a page of this kind.
    pub fn is_in(path: impl AsRef<Path>) -> bool {
        std::fs::read_to_string(path.as_ref()).is_ok_and(|text| text.contains(Self::MARK))
    }

    /// Writes the page: curves of all runs, their last and best results, and the settings that differ. It uses no
    /// external resources.
    ///
    /// # Errors
    /// [`ReportError::Write`] if it cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), ReportError> {
        let names: Vec<&str> = self.runs.iter().map(|run| run.name.as_str()).collect();
        let style = |colour: fn(&(&'static str, &'static str)) -> &'static str| {
            let named = COLOURS.iter().enumerate().map(|(i, pair)| format!("--run-{i}: {};", colour(pair)));
            named.collect::<String>()
        };
        let colours = format!(
            ":root {{ {} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {} }} }}",
            style(|pair| pair.0),
            style(|pair| pair.1)
        );
        let page = fill(
            include_str!("compare.html"),
            &[
                ("title", &format!("{} runs", names.len())),
                ("subtitle", &escape(&names.join(" · "))),
                ("style", include_str!("style.css")),
                ("colours", &colours),
                ("tables", &(self.results() + &self.differences())),
                ("version", env!("CARGO_PKG_VERSION")),
                ("charts", &json(&self.charts())),
                ("script", include_str!("charts.js")),
            ],
        );
        write_atomic(path, |file| file.write_all(page.as_bytes()))
    }

    fn charts(&self) -> Charts {
        let chart =
            |title: Cow<'static, str>, format, log, style, points: &dyn Fn(&ComparedRun) -> Points| {
                let series =
                    self.runs.iter().enumerate().map(|(i, run)| {
                        Series::new(run.name.clone(), style, &points(run)).coloured(colour(i))
                    });
                Chart { title, format, from_zero: false, log, series: series.collect(), levels: Vec::new() }
            };
        let of_records = |value: fn(&Record) -> f64| {
            move |run: &ComparedRun| {
                let points = run.records.iter().map(|record| (self.place(record), value(record)));
                mean(&points.filter(|point| point.1.is_finite()).collect::<Vec<_>>())
            }
        };
        let mut charts =
            vec![chart("Loss".into(), "number", true, "bold", &of_records(|record| record.loss))];
        charts.extend(self.metrics.iter().map(|metric| {
            let format = if metric.is_share { "percent" } else { "number" };
            chart(capital(metric.title).into(), format, false, "marked", &|run| {
                let measured = |made: &Evaluation| Some((self.evaluated(run, made), metric.of(made)?));
                run.evaluations.iter().filter_map(measured).collect()
            })
        }));
        charts.push(chart(
            "Images per second".into(),
            "count",
            false,
            "bold",
            &of_records(|r| r.images_per_s),
        ));
        charts.push(chart(
            "Learning rate".into(),
            "scientific",
            false,
            "bold",
            &of_records(|record| record.lr),
        ));
        let name = match self.over {
            CurvesOver::Epochs => "epoch",
            CurvesOver::Steps => "step",
            CurvesOver::Minutes => "minute",
        };
        Charts { axis: Axis { name, steps_per_epoch: None }, charts: drawn(charts) }
    }

    /// Returns the position of a record on the axis.
    fn place(&self, record: &Record) -> f64 {
        match self.over {
            CurvesOver::Epochs => record.epoch,
            CurvesOver::Steps => record.step as f64,
            CurvesOver::Minutes => record.elapsed_s / 60.0,
        }
    }

    /// Returns the position of an evaluation on the axis. Its time is that of the last record up to its step.
    fn evaluated(&self, run: &ComparedRun, evaluation: &Evaluation) -> f64 {
        match self.over {
            CurvesOver::Epochs => evaluation.epoch,
            CurvesOver::Steps => evaluation.step as f64,
            CurvesOver::Minutes => {
                let before = run.records.partition_point(|record| record.step <= evaluation.step);
                before.checked_sub(1).map_or(0.0, |last| run.records[last].elapsed_s / 60.0)
            }
        }
    }

    /// The results table: one row per metric, last and best value.
    fn results(&self) -> String {
        let mut rows = vec![
            ("steps".to_owned(), self.each(|run| run.records.last().map(|record| record.step.to_string()))),
            ("last loss".to_owned(), self.each(|run| Some(format!("{:.4}", last_loss(&run.records)?)))),
        ];
        rows.extend(self.metrics.iter().map(|metric| {
            let cell = |run: &ComparedRun| {
                let measured: Vec<f64> = run.evaluations.iter().filter_map(|made| metric.of(made)).collect();
                let best =
                    measured.iter().copied().reduce(|a, b| if metric.is_better(b, a) { b } else { a })?;
                let last = *measured.last()?;
                let only = best == last || metric.higher_is_better.is_none();
                let note = if only { String::new() } else { format!(" (best {})", metric.text(best)) };
                Some(metric.text(last) + &note)
            };
            (metric.title.to_owned(), self.each(cell))
        }));
        rows.retain(|(_, cells)| cells.iter().any(Option::is_some));
        self.table("Results", &rows)
    }

    /// The settings in which the runs differ.
    fn differences(&self) -> String {
        let mut names: Vec<&String> = self.runs.iter().flat_map(|run| run.settings.keys()).collect();
        names.sort();
        names.dedup();
        let rows: Vec<_> = names
            .into_iter()
            .map(|name| (name.clone(), self.each(|run| run.settings.get(name).cloned())))
            .filter(|(_, cells)| cells.iter().any(|cell| *cell != cells[0]))
            .collect();
        if rows.is_empty() {
            return "<h2>Settings</h2>\n<p class=\"note\">All runs have the same settings.</p>\n".into();
        }
        self.table("Settings that differ", &rows)
    }

    fn each(&self, cell: impl Fn(&ComparedRun) -> Option<String>) -> Vec<Option<String>> {
        self.runs.iter().map(cell).collect()
    }

    fn table(&self, title: &str, rows: &[(String, Vec<Option<String>>)]) -> String {
        let mut html = format!(
            "<h2>{title}</h2>\n<div class=\"card wide-table\"><table>\n<thead><tr><th scope=\"col\"></th>"
        );
        for (i, run) in self.runs.iter().enumerate() {
            let (colour, name) = (colour(i), escape(&run.name));
            html += &format!("<th scope=\"col\" style=\"--color:{colour}\">{name}</th>");
        }
        html += "</tr></thead>\n<tbody>\n";
        for (name, cells) in rows {
            html += &format!("<tr><th scope=\"row\">{}</th>", escape(name));
            for cell in cells {
                html += &format!("<td>{}</td>", escape(cell.as_deref().unwrap_or("–")));
            }
            html += "</tr>\n";
        }
        html + "</tbody></table></div>\n"
    }
}

/// Positions on the axis, and values.
type Points = Vec<(f64, f64)>;

/// The colour of a run in CSS.
fn colour(run: usize) -> String {
    format!("var(--run-{})", run % COLOURS.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str, rate: f64, loss: f64) -> ComparedRun {
        let record = |step: u64| Record {
            step,
            epoch: step as f64 / 10.0,
            loss: if step == 3 { f64::NAN } else { loss / step as f64 },
            elapsed_s: 60.0 * step as f64,
            ..Record::default()
        };
        let measured = |step, knn| Evaluation {
            step,
            epoch: step as f64 / 10.0,
            metrics: [("knn".to_owned(), knn)].into(),
            ..Evaluation::default()
        };
        ComparedRun {
            name: name.into(),
            records: (1..=20).map(record).collect(),
            evaluations: vec![measured(10, 0.75), measured(20, 0.5)],
            settings: [("rate".to_owned(), rate.to_string()), ("seed".to_owned(), "0".into())].into(),
        }
    }

    #[test]
    fn a_page_has_all_runs_their_results_and_what_differs() {
        let metrics = [Metric::VAL_LOSS, Metric::accuracy("knn", "kNN accuracy", "")];
        let runs = vec![run("</script><img src=x>", 0.1, 1.0), run("b", 0.2, 2.0)];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.html");
        for (over, name, last) in [
            (CurvesOver::Epochs, "epoch", 2.0),
            (CurvesOver::Steps, "step", 20.0),
            (CurvesOver::Minutes, "minute", 20.0),
        ] {
            assert_eq!(Comparison::is_in(&path), path.exists());
            let comparison = Comparison { runs: runs.clone(), metrics: &metrics, over };
            comparison.write(&path).unwrap();
            let page = std::fs::read_to_string(&path).unwrap();
            assert_eq!(page.matches("</script>").count(), 2, "the page's own two");
            assert!(!page.contains("<img ") && !page.contains("{{") && !page.contains("http"));
            let row =
                "<th scope=\"row\">kNN accuracy</th><td>50.0% (best 75.0%)</td><td>50.0% (best 75.0%)</td>";
            assert!(
                page.contains(row)
                    && page.contains("<th scope=\"row\">last loss</th><td>0.0500</td><td>0.1000")
            );
            assert!(page.contains("<th scope=\"row\">rate</th><td>0.1</td><td>0.2</td>"));
            assert!(!page.contains(">seed<") && !page.contains("held-out loss"));

            let data = page.split("id=\"data\">").nth(1).unwrap().split("</script>").next().unwrap();
            let data: serde_json::Value = serde_json::from_str(data).unwrap();
            assert_eq!(data["axis"]["name"], name);
            let charts = data["charts"].as_array().unwrap();
            let titles: Vec<_> = charts.iter().map(|chart| chart["title"].as_str().unwrap()).collect();
            assert_eq!(titles, ["Loss", "kNN accuracy", "Images per second", "Learning rate"]);
            for chart in &charts[..2] {
                for (i, (series, run)) in chart["series"].as_array().unwrap().iter().zip(&runs).enumerate() {
                    assert_eq!(
                        (&series["name"], &series["colour"]),
                        (&run.name.clone().into(), &colour(i).into())
                    );
                    let x = series["x"].as_array().unwrap();
                    assert_eq!(x.last().unwrap().as_f64(), Some(last));
                }
            }
            // The loss that is not finite has no point.
            assert_eq!(charts[0]["series"][0]["x"].as_array().unwrap().len(), 19);
        }
    }
}
