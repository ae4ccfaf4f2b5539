//! `cargo xtask bench digits`: what pre-training is worth, measured in every way on the digits.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use super::mae;
use crate::bench::median::median;
use crate::programs::build;

/// Options of the benchmark.
#[derive(clap::Args)]
pub struct Options {
    /// Folder with `train` and `test`, as scripts/make_data.py makes it.
    data: PathBuf,
    /// Runs of each, with seeds 0, 1, 2, …
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// Epochs of pre-training, instead of the recipe's.
    #[arg(long)]
    pretrain_epochs: Option<u64>,
    /// Epochs of fine-tuning, instead of the recipe's.
    #[arg(long)]
    finetune_epochs: Option<u64>,
    /// Folder for the runs, which must not exist yet.
    #[arg(long, default_value = "runs/bench-digits")]
    out: PathBuf,
}

/// The encoder's blocks in the recipe `digits`.
const BLOCKS: usize = 4;

/// Pre-trains, then measures by neighbours, a probe, fine-tuning, partial fine-tuning, and training from scratch.
pub fn digits(options: &Options) -> Result<()> {
    ensure!(options.seeds >= 1, "--seeds must be at least 1");
    ensure!(!options.out.exists(), "{} already exists", options.out.display());
    build(&["--package=mae-cli"])?;
    let [train, test] = ["train", "test"].map(|part| options.data.join(part).display().to_string());
    let mut table: Vec<(String, Vec<f64>)> = Vec::new();
    for seed in 0..options.seeds {
        let at = |name: &str| options.out.join(format!("{name}-{seed}")).display().to_string();
        let (pretrained, seed) = (at("pretrain"), seed.to_string());
        let epochs = epochs(options.pretrain_epochs);
        mae(&["pretrain", "--quiet", "--recipe", "digits", "--data", &train, "--val", &test])
            .args(&epochs)
            .args(["--seed", &seed, "--out", &pretrained])
            .succeed()?;
        let mut row = |name: String, percent: f64| {
            println!("seed {seed}  {name}: {percent:.1}%");
            match table.iter_mut().find(|(known, _)| *known == name) {
                Some((_, all)) => all.push(percent),
                None => table.push((name, vec![percent])),
            }
        };
        let common = [pretrained.as_str(), &train, &test, "--quiet", "--json"];
        row("kNN, k = 20".into(), mae(&["knn"]).args(common).percent("accuracy")?);
        let probe = at("probe");
        let recipe = ["--recipe", "probe-digits", "--seed", &seed, "--out", &probe];
        row("linear probe, LARS".into(), mae(&["probe"]).args(common).args(recipe).percent("top1")?);
        let epochs = self::epochs(options.finetune_epochs);
        let mut finetune = |name: String, folder: &str, more: &[&str]| -> Result<()> {
            let out = at(folder);
            let recipe = ["--recipe", "finetune-digits", "--seed", &seed, "--out", &out];
            let percent =
                mae(&["finetune"]).args(common).args(recipe).args(&epochs).args(more).percent("top1")?;
            row(name, percent);
            Ok(())
        };
        for blocks in 0..BLOCKS {
            let number = blocks.to_string();
            let name = format!("fine-tuned, the last {number} blocks");
            finetune(name, &format!("finetune-{number}"), &["--blocks", &number])?;
        }
        finetune(format!("fine-tuned, all {BLOCKS} blocks"), "finetune", &[])?;
        finetune("the same from scratch".into(), "scratch", &["--from-scratch"])?;
    }
    let seeds = (0..options.seeds).map(|seed| format!(" seed {seed} |")).collect::<String>();
    println!(
        "\n| held-out digits classified correctly, % |{seeds} median |\n|---|{}",
        "---|".repeat(options.seeds as usize + 1)
    );
    for (name, mut percents) in table {
        let cells: String = percents.iter().map(|percent| format!(" {percent:.1} |")).collect();
        println!("| {name} |{cells} {:.1} |", median(&mut percents));
    }
    Ok(())
}

fn epochs(number: Option<u64>) -> Vec<String> {
    // The warm-up is not to be longer than the run.
    let of = |number: u64| ["--epochs".into(), number.to_string(), "--warmup-epochs".into(), "0.5".into()];
    number.map(of).into_iter().flatten().collect()
}
