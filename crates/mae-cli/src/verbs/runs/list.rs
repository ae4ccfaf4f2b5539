//! Lists runs and their progress.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail, ensure};
use mae_data::path_name;
use mae_report::duration;
use mae_trainer::Metric;
use mae_trainer::cli::output;
use serde_json::Value;
use walkdir::WalkDir;

use super::overview::{Overview, RECIPE, metrics};

pub const EXAMPLES: &str = "\
Examples:
  mae runs
  mae runs experiments --sort knn
  mae runs --json | jq '.[] | select(.finished)'

The numbers come from the last record and the last evaluation. A run is finished if its weights were written after its last
record; --resume continues an unfinished run.";

#[derive(clap::Args)]
pub struct Args {
    /// Folders to search for runs, at any depth.
    #[arg(default_value = "runs")]
    folders: Vec<PathBuf>,
    /// Column to sort by: run, changed (newest first), epoch, loss, or a metric such as val_loss, knn, probe or top1
    /// (best first; for a task of your own, largest first).
    #[arg(long, value_name = "COLUMN", default_value = "changed")]
    sort: String,
    /// Print JSON: an array of runs, with all numbers of their last record and evaluation.
    #[arg(long)]
    json: bool,
}

/// Compares two runs for sorting.
type Order<'a> = Box<dyn Fn(&Overview, &Overview) -> Ordering + 'a>;

pub fn run(args: &Args) -> Result<ExitCode> {
    let (mut runs, mut failed) = (Vec::new(), 0);
    for folder in &args.folders {
        for path in found(folder)? {
            match Overview::read(&path) {
                Ok(run) => runs.push(run),
                Err(error) => {
                    output::warn(format_args!("not read: {error:#}\n"));
                    failed += 1;
                }
            }
        }
    }
    let metrics = metrics(runs.iter().filter_map(|run| run.evaluation.as_ref()));
    let order = order(&args.sort, &metrics)?;
    runs.sort_by(|a, b| order(a, b).then_with(|| a.folder.cmp(&b.folder)));
    let text = match args.json {
        true => format!("{:#}\n", Value::Array(runs.iter().map(Overview::to_json).collect())),
        false => table(&runs, &metrics),
    };
    output::print(text)?;
    ensure!(failed == 0, "{failed} of {} runs cannot be read; they are named above", failed + runs.len());
    Ok(ExitCode::SUCCESS)
}

/// Finds the folders of runs in a folder, which may be a run itself.
fn found(folder: &Path) -> Result<Vec<PathBuf>> {
    // Runs are often linked from another disk.
    let (mut runs, mut entries) =
        (Vec::new(), WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter());
    while let Some(entry) = entries.next() {
        let entry = match entry {
            // A link to a parent folder leads to no other runs.
            Err(error) if error.loop_ancestor().is_some() => continue,
            entry => entry?,
        };
        if entry.file_type().is_dir() && entry.path().join(RECIPE).is_file() {
            let path = entry.path();
            runs.push(
                path.strip_prefix(".")
                    .ok()
                    .filter(|path| !path.as_os_str().is_empty())
                    .unwrap_or(path)
                    .into(),
            );
            entries.skip_current_dir();
        }
    }
    ensure!(!runs.is_empty(), "{} holds no run: no folder in it has a {RECIPE}", folder.display());
    Ok(runs)
}

fn order<'a>(by: &'a str, metrics: &[Metric]) -> Result<Order<'a>> {
    Ok(match by {
        "run" => Box::new(|_, _| Ordering::Equal),
        "changed" => Box::new(|a, b| b.changed.cmp(&a.changed)),
        "epoch" => Box::new(|a, b| best_first(a.record_of(|r| r.epoch), b.record_of(|r| r.epoch), true)),
        "loss" => Box::new(|a, b| best_first(a.record_of(|r| r.loss), b.record_of(|r| r.loss), false)),
        name => match metrics.iter().find(|metric| metric.name == name) {
            Some(metric) => {
                let higher = metric.higher_is_better != Some(false);
                Box::new(move |a, b| best_first(a.metric(name), b.metric(name), higher))
            }
            None => bail!(
                "--sort is {name}, but must be run, changed, epoch, loss{}",
                metrics.iter().map(|metric| format!(", {}", metric.name)).collect::<String>()
            ),
        },
    })
}

/// Orders the better value first. A missing or non-finite value comes last.
fn best_first(a: Option<f64>, b: Option<f64>, higher: bool) -> Ordering {
    let key =
        |x: Option<f64>| x.filter(|x| x.is_finite()).map_or(f64::INFINITY, |x| if higher { -x } else { x });
    key(a).total_cmp(&key(b))
}

fn table(runs: &[Overview], metrics: &[Metric]) -> String {
    let mut rows = vec![["run", "task", "images", "epoch", "step", "loss"].map(str::to_owned).to_vec()];
    rows[0].extend(metrics.iter().map(|metric| metric.title.to_owned()));
    rows[0].extend(["changed", ""].map(str::to_owned));
    for run in runs {
        let record = run.record.as_ref();
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        let mut row = vec![
            path_name(&run.folder),
            run.task.clone(),
            run.data.as_deref().map_or_else(|| "built-in".into(), short),
            format!("{:.2}/{}", record.map_or(0.0, |record| record.epoch), run.epochs),
            record.map_or(0, |record| record.step).to_string(),
            or_dash(record.map(|record| format!("{:.4}", record.loss))),
        ];
        row.extend(
            metrics.iter().map(|metric| or_dash(run.metric(metric.name).map(|value| metric.text(value)))),
        );
        let ago = run.changed.elapsed().unwrap_or_default().as_secs_f64();
        row.push(format!("{} ago", age(ago)));
        row.push(if run.finished { "finished" } else { "" }.into());
        rows.push(row);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let line = |row: &Vec<String>| {
        // Text is aligned to the left, numbers to the right.
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            0..=2 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// The last two components of a path, because the last one alone is often `train`.
fn short(path: &Path) -> String {
    let parts: Vec<_> = path.iter().collect();
    parts[parts.len().saturating_sub(2)..].iter().collect::<PathBuf>().display().to_string()
}

/// Formats an age. One day or more is given in whole days.
fn age(seconds: f64) -> String {
    const DAY: f64 = 24.0 * 3600.0;
    match (seconds / DAY).floor() {
        0.0 => duration(seconds),
        1.0 => "1 day".into(),
        days => format!("{days} days"),
    }
}
