//! `report.html`: a whole run on one page that needs nothing else, to be kept and sent around.

mod charts;
mod gallery;
mod html;
mod summary;

use std::fmt::Display;
use std::path::PathBuf;

use crate::atomic::write_atomic;
use crate::draw::EXAMPLES;
use crate::machine::Machine;
use crate::progress::{BAD_FILES, duration};
use crate::records::{EVALUATIONS, Evaluation, METRICS, Record, read_evaluations, read_records};
use crate::task::device_of;
use crate::{Run, Task, TrainerError};
use html::{count, escape, facts, fill, json, tile};

pub use summary::summarize;

/// What is to be said of a finished run besides its records.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Lines of name and value for the terminal.
    pub lines: Vec<(&'static str, String)>,
    /// A loss to compare with, and what it is the loss of.
    pub baseline: Option<(&'static str, f64)>,
    /// Levels to compare with in charts: the chart's title, a name, a value.
    pub levels: Vec<(&'static str, &'static str, f64)>,
    /// Shares beside each other.
    pub bars: Vec<Bars>,
    /// Pictures, each with its title.
    pub figures: Vec<(&'static str, PathBuf)>,
}

impl Outcome {
    /// Adds a line for the terminal.
    pub fn line(&mut self, name: &'static str, value: impl Display) {
        self.lines.push((name, value.to_string()));
    }
}

/// Shares as bars.
#[derive(Clone, Debug)]
pub struct Bars {
    /// What they are shares of.
    pub title: &'static str,
    /// Each with its name, 0 to 1.
    pub rows: Vec<(&'static str, f64)>,
    /// How they were measured.
    pub note: String,
}

/// Class names and unreadable files beyond these are only counted.
const MAX_NAMES: usize = 40;

/// Writes `report.html` into the run's folder; returns where.
///
/// It has the run's records, evaluations, pictures, recipe and data, in one file without outside resources.
///
/// # Errors
/// If a file of the run cannot be read, or the report cannot be written.
pub fn write_report<T: Task>(
    run: &Run<T>,
    model: &T::Model,
    outcome: &Outcome,
) -> Result<PathBuf, TrainerError> {
    let records = read_records(&run.path(METRICS))?;
    let evaluations = read_evaluations(&run.path(EVALUATIONS))?;
    let folder = std::path::absolute(run.path("")).unwrap_or_else(|_| run.path(""));
    let title = folder.file_name().map_or_else(|| "run".into(), |name| name.to_string_lossy().into_owned());
    let mut figures = outcome.figures.clone();
    let examples = run.path(EXAMPLES);
    if examples.exists() {
        figures.push(("Training images as the model sees them", examples));
    }
    let params = mae_model::list_params(model);
    let params = params.iter().map(|param| param.shape.iter().product::<usize>()).sum::<usize>();
    let page = fill(
        include_str!("page.html"),
        &[
            ("title", &escape(&title)),
            ("task", &escape(<T::Recipe as crate::TaskRecipe>::TASK)),
            ("subtitle", &escape(&subtitle(run))),
            ("style", include_str!("style.css")),
            ("tiles", &tiles(run, outcome, params, &records, &evaluations)),
            ("pictures", &gallery::pictures(&run.path("pictures"), run.pace.steps_per_epoch, &figures)?),
            ("comparison", &outcome.bars.iter().map(bars).collect::<String>()),
            ("data", &data(run)),
            ("model", &self::model(run)),
            ("machine", &machine(&format!("{:?}", device_of(model)))),
            ("recipe", &escape(&run.recipe_text())),
            ("version", env!("CARGO_PKG_VERSION")),
            (
                "charts",
                &json(&charts::charts::<T>(run.pace.steps_per_epoch, &records, &evaluations, outcome)),
            ),
            ("script", include_str!("charts.js")),
        ],
    );
    let path = run.path("report.html");
    write_atomic(&path, |file| file.write_all(page.as_bytes()))?;
    Ok(path)
}

fn subtitle<T: Task>(run: &Run<T>) -> String {
    let (height, width) = run.geometry.image_size();
    format!("{} · {height}×{width} px in patches of {} px", run.task.title(), run.geometry.patch_size())
}

/// The numbers to see first.
fn tiles<T: Task>(
    run: &Run<T>,
    outcome: &Outcome,
    params: usize,
    records: &[Record],
    evaluations: &[Evaluation],
) -> String {
    let mut html = String::new();
    let Some((first, last)) = records.first().zip(records.last()) else { return html };
    let tail = &records[records.len() - records.len().div_ceil(20)..];
    let loss = tail.iter().map(|record| record.loss).sum::<f64>() / tail.len() as f64;
    let baseline = outcome.baseline.map(|(name, loss)| format!(", {loss:.3} for {name}")).unwrap_or_default();
    html += &tile("Loss", &format!("{loss:.4}"), &format!("{:.3} at first{baseline}", first.loss));
    let metrics = [crate::Metric::VAL_LOSS].into_iter().chain(T::METRICS.iter().copied());
    for metric in metrics {
        let measured = evaluations.iter().filter_map(|evaluation| metric.of(evaluation));
        let Some(value) = measured.clone().next_back() else { continue };
        let best = measured.reduce(|best, value| if metric.is_better(value, best) { value } else { best });
        let note = match best {
            Some(best) if best != value => format!("{} at best", metric.text(best)),
            _ => "the best so far".into(),
        };
        html += &tile(&capital(metric.title), &metric.text(value), &note);
    }
    let pace = &run.pace;
    let steps = format!("{} epochs of {} steps", count(pace.epochs), count(pace.steps_per_epoch));
    let trained = match last.step == pace.total_steps {
        true => count(last.step),
        false => format!("{} of {}", count(last.step), count(pace.total_steps)),
    };
    html += &tile("Steps", &trained, &steps);
    let images = last.step as f64 * pace.effective_batch as f64;
    let rate = format!("{} images/s", count((images / last.elapsed_s.max(1e-9)).round() as u64));
    html += &tile("Trained for", &duration(last.elapsed_s), &rate);
    let work = run.task.flops_per_image();
    let work = work.map_or(String::new(), |flops| format!("{:.3} GFLOP an image and step", flops / 1e9));
    html + &tile("Parameters", &format!("{:.2} M", params as f64 / 1e6), &work)
}

/// A title as it begins a line.
fn capital(title: &str) -> String {
    let mut letters = title.chars();
    match letters.next() {
        // Of words such as kNN the first letter is as it is.
        Some(first) if !title[first.len_utf8()..].starts_with(char::is_uppercase) => {
            first.to_uppercase().chain(letters).collect()
        }
        _ => title.to_owned(),
    }
}

fn bars(Bars { title, rows, note }: &Bars) -> String {
    let mut html = format!("<figure class=\"card\"><h3>{}</h3><dl class=\"bars\">\n", escape(title));
    for (name, share) in rows {
        let percent = 100.0 * share;
        html += &format!(
            "<div><dt>{}</dt><dd><span class=\"bar\"><span style=\"width:{percent:.1}%\"></span></span>{percent:.1}%</dd></div>\n",
            escape(name)
        );
    }
    html += &format!("</dl><figcaption class=\"note\">{}</figcaption></figure>\n", escape(note));
    html
}

fn data<T: Task>(run: &Run<T>) -> String {
    let recipe = &run.settings.data;
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let classes = run.data.train.class_names();
    let mut rows = vec![
        ("training images", path(&recipe.path).unwrap_or_else(|| "built-in shapes".into())),
        ("how many", count(run.data.train.len() as u64)),
        (
            "held-out images",
            match &run.data.val {
                Some(val) => {
                    let path = path(&recipe.val).unwrap_or_else(|| "built-in shapes".into());
                    format!("{path}: {}", count(val.len() as u64))
                }
                None => "none".into(),
            },
        ),
        (
            "classes",
            match classes.len() {
                0 => "none".into(),
                len => format!("{len}: {}", names(classes, ", ")),
            },
        ),
    ];
    let bad = std::fs::read_to_string(run.path(BAD_FILES)).unwrap_or_default();
    let bad: Vec<String> = bad.lines().map(str::to_owned).collect();
    rows.push((
        "unreadable files",
        match bad.len() {
            0 => "none met".into(),
            len => format!("{len}\n{}", names(&bad, "\n")),
        },
    ));
    facts(&rows)
}

/// The first names, and how many more there are.
fn names(all: &[String], separator: &str) -> String {
    let shown = all[..all.len().min(MAX_NAMES)].join(separator);
    match all.len().saturating_sub(MAX_NAMES) {
        0 => shown,
        more => format!("{shown}{separator}and {more} more"),
    }
}

fn model<T: Task>(run: &Run<T>) -> String {
    let mut rows = run.task.describe();
    rows.push(("batch", run.batch_text('×')));
    rows.push(("peak rate", format!("{:.3e}", run.pace.schedule.peak_lr())));
    facts(&rows)
}

fn machine(device: &str) -> String {
    let Machine { cpu, cpus, os } = Machine::this();
    let threads = if cpus == 1 { "1 thread".into() } else { format!("{cpus} threads") };
    // Burn writes a device as `Device<Flex(Cpu)>`.
    let device = device.strip_prefix("Device<").and_then(|name| name.strip_suffix('>')).unwrap_or(device);
    facts(&[
        ("device", device.to_owned()),
        ("processor", format!("{cpu}, {threads}")),
        ("system", os),
        ("program", concat!("mae-trainer ", env!("CARGO_PKG_VERSION")).into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Pretrain, Recipe};

    #[test]
    fn a_report_holds_everything_and_no_name_breaks_out_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut recipe = Recipe::default();
        (recipe.train.epochs, recipe.train.batch_size, recipe.data.shapes) = (1, Some(4), 8);
        recipe.task = crate::PretrainRecipe::default();
        recipe.task.model.patch_size = Some(8);
        let run = Run::<Pretrain>::create(&recipe, &folder.path().join("a <b> & \"c\"")).unwrap();
        let record =
            r#"{"step":1,"epoch":0.5,"loss":null,"lr":0,"images_per_s":9,"waiting_share":0,"elapsed_s":1}"#;
        std::fs::write(run.path(METRICS), format!("{record}\n")).unwrap();
        std::fs::write(run.path(BAD_FILES), "</script><img src=x>: no image\n").unwrap();
        std::fs::create_dir(run.path("pictures")).unwrap();
        std::fs::write(run.path("pictures/step-000000002.png"), b"\x89PNG").unwrap();
        std::fs::write(run.path("pictures/other.png"), b"").unwrap();
        let note = "</script><!--".to_owned();
        let bars = vec![Bars { title: "<b>", rows: vec![("<i>", 0.5)], note }];
        let model = run.task.init(0, &burn::tensor::Device::flex()).unwrap();

        let outcome = Outcome { bars, ..Outcome::default() };
        let page = std::fs::read_to_string(write_report(&run, &model, &outcome).unwrap()).unwrap();
        assert!(page.contains("<title>a &lt;b&gt; &amp; &quot;c&quot;"));
        assert!(page.contains("&lt;/script&gt;&lt;img src=x&gt;: no image"));
        assert_eq!(page.matches("</script>").count(), 2, "the page's own two");
        assert_eq!(page.matches("<!--").count(), 0);
        assert_eq!(page.matches("<img ").count(), 1);
        assert!(page.contains("data:image/png;base64,iVBORw=="));
        assert!(page.contains("mask_ratio = 0.75") && page.contains("built-in shapes"));
        assert!(!page.contains("{{") && !page.contains("http://"), "nothing unfilled, nothing from outside");
    }

    #[test]
    fn titles_begin_with_a_capital_if_they_are_words() {
        assert_eq!(
            ["kNN accuracy", "top-1", "held-out loss"].map(capital),
            ["kNN accuracy", "Top-1", "Held-out loss"]
        );
    }
}
