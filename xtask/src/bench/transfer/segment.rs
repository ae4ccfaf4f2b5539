//! `cargo xtask bench segment`: what pre-training is worth for segmentation, by labelled images, with both heads.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::mae;
use crate::bench::median::median;
use crate::programs::{build, run};

/// Where the images are and how often they are learnt.
#[derive(clap::Args)]
pub struct Options {
    /// Folder with `train` and `val`, each with `images` and `masks`, and `classes.toml`, as scripts/make_data.py makes it.
    data: PathBuf,
    /// Runs of each, with seeds 0, 1, 2, …
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// Labelled images that are learnt from; all of them come last in any case.
    #[arg(long, value_delimiter = ',', default_values_t = [16, 64])]
    labelled: Vec<usize>,
    /// Epochs of pre-training, on all training images without their label maps.
    #[arg(long, default_value_t = 200)]
    pretrain_epochs: u64,
    /// Updates of each segmenter.
    #[arg(long, default_value_t = 600)]
    updates: u64,
    /// A Python with what scripts/requirements-bench.txt names: the last case is trained in PyTorch too.
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// Folder of the runs, which is to be a new one.
    #[arg(long, default_value = "runs/bench-segment")]
    out: PathBuf,
}

/// Images of an update.
const BATCH: usize = 8;

/// The heads and what they start from: a name, and options.
const CASES: [(&str, &[&str]); 3] = [
    ("UPerNet, from scratch", &["--recipe", "segment-small", "--from-scratch"]),
    ("UPerNet, pre-trained", &["--recipe", "segment-small"]),
    ("linear, pre-trained", &["--recipe", "segment-linear"]),
];

/// The case that is trained in PyTorch too, on all labelled images.
const IN_PYTORCH: &str = "UPerNet, pre-trained";

/// Pre-trains, then trains segmenters on 16, 64 and all labelled images.
pub fn segment(options: &Options) -> Result<()> {
    ensure!(options.seeds >= 1, "seeds are at least 1");
    ensure!(!options.out.exists(), "{} exists already", options.out.display());
    build(&["--package=mae-cli"])?;
    let names = names(&options.data.join("train/images"))?;
    let counts: Vec<usize> =
        options.labelled.iter().copied().filter(|count| *count < names.len()).chain([names.len()]).collect();
    let (mut table, mut seconds) = (Table::default(), [Vec::new(), Vec::new()]);
    for seed in 0..options.seeds {
        let pretrained = options.pretrain(seed)?;
        for &count in &counts {
            let part = options.at(&format!("labelled-{count}"), seed);
            take(&options.data.join("train"), &names, count, seed as usize, &part)?;
            for case @ (name, _) in CASES {
                let row = format!("{count} labelled images: {name}");
                let (run, miou) = options.segment(case, &pretrained, &part, count, seed)?;
                table.add(seed, &row, miou);
                if let Some(python) =
                    options.python.as_ref().filter(|_| count == names.len() && name == IN_PYTORCH)
                {
                    let theirs = options.in_pytorch(python, &run, &pretrained, seed)?;
                    table.add(seed, &format!("{row}, in PyTorch"), 100.0 * theirs.mean_iou);
                    seconds[0].push(seconds_of(&run)?);
                    seconds[1].push(theirs.seconds);
                }
            }
        }
    }
    let heads = (0..options.seeds).map(|seed| format!(" seed {seed} |")).collect::<String>();
    println!("\n| held-out mIoU, % |{heads} median |\n|---|{}", "---|".repeat(options.seeds as usize + 1));
    for (name, mut percents) in table.0 {
        let cells: String = percents.iter().map(|percent| format!(" {percent:.1} |")).collect();
        println!("| {name} |{cells} {:.1} |", median(&mut percents));
    }
    if options.python.is_some() {
        let [ours, theirs] = seconds.map(|mut seconds| median(&mut seconds));
        println!(
            "\nseconds of training, medians: {ours:.1}, in PyTorch {theirs:.1}, ratio {:.2}",
            theirs / ours
        );
    }
    Ok(())
}

/// Rows of percents by seed, in the order in which they came.
#[derive(Default)]
struct Table(Vec<(String, Vec<f64>)>);

impl Table {
    fn add(&mut self, seed: u64, row: &str, percent: f64) {
        println!("seed {seed}  {row}: mIoU {percent:.1}%");
        match self.0.iter_mut().find(|(known, _)| known == row) {
            Some((_, all)) => all.push(percent),
            None => self.0.push((row.to_owned(), vec![percent])),
        }
    }
}

/// What scripts/segment_pytorch.py prints.
#[derive(Deserialize)]
struct InPytorch {
    mean_iou: f64,
    seconds: f64,
}

impl Options {
    /// A folder of a seed.
    fn at(&self, name: &str, seed: u64) -> PathBuf {
        self.out.join(format!("{name}-{seed}"))
    }

    /// Pre-trains on all training images; returns the run.
    fn pretrain(&self, seed: u64) -> Result<PathBuf> {
        let out = self.at("pretrain", seed);
        mae(&["pretrain", "--quiet", "--preset", "nano", "--image-size", "64", "--patch-size", "8"])
            .args([OsStr::new("--data"), self.data.join("train/images").as_os_str()])
            .args([
                "--epochs",
                &self.pretrain_epochs.to_string(),
                "--flip",
                "false",
                "--seed",
                &seed.to_string(),
            ])
            .args([OsStr::new("--out"), out.as_os_str()])
            .succeed()?;
        Ok(out)
    }

    /// Trains a segmenter on the labelled images of a folder; returns the run and its mIoU in percent.
    fn segment(
        &self,
        (name, recipe): (&str, &[&str]),
        pretrained: &Path,
        labelled: &Path,
        count: usize,
        seed: u64,
    ) -> Result<(PathBuf, f64)> {
        let out = self.at(&format!("{}-{count}", name.replace(", ", "-").replace(' ', "-")), seed);
        let epochs = (self.updates as usize).div_ceil((count / BATCH).max(1)).to_string();
        let val = |part: &str| self.data.join("val").join(part);
        let miou = mae(&["segment", "--quiet", "--json"])
            .args([pretrained, &labelled.join("images"), &labelled.join("masks")])
            .args([OsStr::new("--val-images"), val("images").as_os_str()])
            .args([OsStr::new("--val-masks"), val("masks").as_os_str()])
            .args([OsStr::new("--classes"), self.data.join("classes.toml").as_os_str()])
            .args(["--epochs", &epochs, "--eval-epochs", &epochs, "--set", "eval.first_epoch=false"])
            .args(["--batch-size", &BATCH.to_string(), "--flip", "false", "--seed", &seed.to_string()])
            .args([OsStr::new("--out"), out.as_os_str()])
            .args(recipe)
            .percent("mean_iou")?;
        Ok((out, miou))
    }

    /// Trains the same as a run in PyTorch.
    fn in_pytorch(&self, python: &Path, trained: &Path, pretrained: &Path, seed: u64) -> Result<InPytorch> {
        let encoder = self.at("encoder", seed).with_extension("safetensors");
        mae(&["convert", "--to", "timm"]).args([pretrained, encoder.as_path()]).succeed()?;
        run(Command::new(python)
            .arg("scripts/segment_pytorch.py")
            .args([trained, encoder.as_path()])
            .args(["--seed", &seed.to_string()]))
    }
}

/// The seconds of all updates of a run.
fn seconds_of(trained: &Path) -> Result<f64> {
    #[derive(Deserialize)]
    struct Record {
        elapsed_s: f64,
    }
    let path = trained.join("metrics.jsonl");
    let records = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let last: Record = serde_json::from_str(records.lines().last().context("the run has no records")?)?;
    Ok(last.elapsed_s)
}

/// The files of a folder, in order.
fn names(folder: &Path) -> Result<Vec<String>> {
    let files = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut names = files
        .map(|file| Ok(file?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<String>>>()?;
    names.sort();
    Ok(names)
}

/// Copies `count` of the images, spread over all of them and others for each seed, with their label maps.
fn take(from: &Path, names: &[String], count: usize, seed: usize, to: &Path) -> Result<()> {
    for folder in ["images", "masks"] {
        fs::create_dir_all(to.join(folder))?;
    }
    for i in 0..count {
        let name = &names[(i * names.len() / count + seed) % names.len()];
        let mask = Path::new(name).with_extension("png");
        fs::copy(from.join("images").join(name), to.join("images").join(name))?;
        fs::copy(from.join("masks").join(&mask), to.join("masks").join(&mask))?;
    }
    Ok(())
}
