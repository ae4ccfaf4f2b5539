//! The curves of several runs on one page.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::ValueEnum;
use mae_data::path_name;
use mae_report::{ComparedRun, Comparison, CurvesOver, EVALUATIONS, METRICS};
use mae_trainer::cli::output;
use mae_trainer::{read_evaluations, read_records};
use toml::{Table, Value};

use super::overview::{Overview, metrics};

pub const EXAMPLES: &str = "\
Examples:
  mae compare runs/photos-tiny-1 runs/photos-tiny-2
  mae compare runs/digits-finetune-* --over minutes --out fine-tuning.html

The page is one self-contained file: curves of losses, metrics, learning rates and throughput, a table of the results, and the
settings in which the runs differ.";

#[derive(clap::Args)]
pub struct Args {
    /// Folders of runs, finished or not.
    #[arg(required = true, num_args = 2..)]
    runs: Vec<PathBuf>,
    /// HTML page to write; replaces an earlier comparison.
    #[arg(long, value_name = "HTML", default_value = "compare.html")]
    out: PathBuf,
    /// Horizontal axis of the curves.
    #[arg(long, value_enum, default_value = "epochs")]
    over: Over,
    /// Replace the file even if it is not a comparison.
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Over {
    /// Passes over the data set.
    Epochs,
    /// Updates.
    Steps,
    /// Minutes of training.
    Minutes,
}

pub fn run(args: &Args) -> Result<()> {
    ensure!(
        args.force || !args.out.exists() || Comparison::is_in(&args.out),
        "{} already exists and is not a comparison; --force replaces it",
        args.out.display()
    );
    let runs = args.runs.iter().map(|folder| compared(&Overview::read(folder)?));
    let runs = runs.collect::<Result<Vec<_>>>()?;
    let metrics = metrics(runs.iter().flat_map(|run| &run.evaluations));
    let over = match args.over {
        Over::Epochs => CurvesOver::Epochs,
        Over::Steps => CurvesOver::Steps,
        Over::Minutes => CurvesOver::Minutes,
    };
    Comparison { runs, metrics: &metrics, over }.write(&args.out)?;
    output::tell(format_args!("written         {}\n", args.out.display()));
    Ok(())
}

fn compared(run: &Overview) -> Result<ComparedRun> {
    let mut settings = BTreeMap::new();
    flatten("", &run.recipe, &mut settings);
    let (records, evaluations) = (run.folder.join(METRICS), run.folder.join(EVALUATIONS));
    Ok(ComparedRun {
        name: path_name(&run.folder),
        records: if run.record.is_some() { read_records(&records)? } else { Vec::new() },
        evaluations: if run.evaluation.is_some() { read_evaluations(&evaluations)? } else { Vec::new() },
        settings,
    })
}

/// Flattens a recipe into fields named as in `--set`.
fn flatten(section: &str, table: &Table, settings: &mut BTreeMap<String, String>) {
    for (name, value) in table {
        match value {
            Value::Table(table) => flatten(&format!("{section}{name}."), table, settings),
            Value::String(text) => drop(settings.insert(format!("{section}{name}"), text.clone())),
            value => drop(settings.insert(format!("{section}{name}"), value.to_string())),
        }
    }
}
