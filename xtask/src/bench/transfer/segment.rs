//! `cargo xtask bench segment`: what pre-training is worth for segmentation, by labelled images, with both heads.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::done::Done;
use super::mae;
use crate::bench::median::median;
use crate::programs::{build, run};

/// Options of the benchmark.
#[derive(clap::Args)]
pub struct Options {
    /// Folder with `train` and `val`, each with `images` and `masks`, and `classes.toml`, as scripts/make_data.py makes it.
    data: PathBuf,
    /// Runs of each, with seeds 0, 1, 2, …
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// Numbers of labelled images to train on; all images always come last.
    #[arg(long, value_delimiter = ',', default_values_t = [16, 64])]
    labelled: Vec<usize>,
    /// Epochs of pre-training, on all training images without their label maps.
    #[arg(long, default_value_t = 200)]
    pretrain_epochs: u64,
    /// Updates per segmenter.
    #[arg(long, default_value_t = 600)]
    updates: u64,
    /// Python with scripts/requirements-bench.txt: also train UPerNet on all labelled images in PyTorch.
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// Folder for the runs; the same command continues them.
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
    ensure!(options.seeds >= 1, "--seeds must be at least 1");
    let data =
        fs::canonicalize(&options.data).with_context(|| format!("cannot open {}", options.data.display()))?;
    let settings =
        json!({ "data": data, "pretrain_epochs": options.pretrain_epochs, "updates": options.updates });
    let mut done = Done::open(&options.out, settings)?;
    build(&["--package=mae-cli"])?;
    let names = names(&options.data.join("train/images"))?;
    let counts: Vec<usize> =
        options.labelled.iter().copied().filter(|count| *count < names.len()).chain([names.len()]).collect();
    let (mut table, mut seconds) = (Table::default(), [Vec::new(), Vec::new()]);
    for seed in 0..options.seeds {
        let pretrained = options.at("pretrain", seed);
        done.result(&format!("pretrain {seed}"), || options.pretrain(&pretrained, seed))?;
        for &count in &counts {
            let part = options.at(&format!("labelled-{count}"), seed);
            take(&options.data.join("train"), &names, count, seed as usize, &part)?;
            for case @ (name, _) in CASES {
                let row = format!("{count} labelled images: {name}");
                let run = options.at(&format!("{}-{count}", name.replace(", ", "-").replace(' ', "-")), seed);
                let ours = done.result(&format!("{row} {seed}"), || {
                    options.segment(case, &pretrained, &part, count, seed, &run)
                })?;
                table.add(seed, &row, ours.mean_iou);
                let Some(python) = &options.python else { continue };
                if count == names.len() && name == IN_PYTORCH {
                    let row = format!("{row}, in PyTorch");
                    let theirs = done.result(&format!("{row} {seed}"), || {
                        options.in_pytorch(python, &run, &pretrained, seed)
                    })?;
                    table.add(seed, &row, theirs.mean_iou);
                    seconds[0].push(ours.seconds);
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
    fn add(&mut self, seed: u64, row: &str, mean_iou: f64) {
        let percent = 100.0 * mean_iou;
        println!("seed {seed}  {row}: mIoU {percent:.1}%");
        match self.0.iter_mut().find(|(known, _)| known == row) {
            Some((_, all)) => all.push(percent),
            None => self.0.push((row.to_owned(), vec![percent])),
        }
    }
}

/// A trained segmenter, as scripts/segment_pytorch.py prints it too.
#[derive(Serialize, Deserialize)]
struct Trained {
    /// Of held-out images, from 0 to 1.
    mean_iou: f64,
    /// Of all updates.
    seconds: f64,
}

impl Options {
    /// A folder of a seed.
    fn at(&self, name: &str, seed: u64) -> PathBuf {
        self.out.join(format!("{name}-{seed}"))
    }

    /// Pre-trains on all training images.
    fn pretrain(&self, out: &Path, seed: u64) -> Result<()> {
        remove(out)?;
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
        Ok(())
    }

    /// Trains a segmenter on the labelled images of a folder.
    fn segment(
        &self,
        (_, recipe): (&str, &[&str]),
        pretrained: &Path,
        labelled: &Path,
        count: usize,
        seed: u64,
        out: &Path,
    ) -> Result<Trained> {
        remove(out)?;
        let epochs = (self.updates as usize).div_ceil((count / BATCH).max(1));
        // A tenth of the updates, however many images there are.
        let (warmup, epochs) = ((epochs as f64 / 10.0).to_string(), epochs.to_string());
        let val = |part: &str| self.data.join("val").join(part);
        let percent = mae(&["segment", "--quiet", "--json"])
            .args([pretrained, &labelled.join("images"), &labelled.join("masks")])
            .args([OsStr::new("--val-images"), val("images").as_os_str()])
            .args([OsStr::new("--val-masks"), val("masks").as_os_str()])
            .args([OsStr::new("--classes"), self.data.join("classes.toml").as_os_str()])
            .args(["--epochs", &epochs, "--eval-epochs", &epochs, "--set", "eval.first_epoch=false"])
            .args(["--warmup-epochs", &warmup])
            .args(["--batch-size", &BATCH.to_string(), "--flip", "false", "--seed", &seed.to_string()])
            .args([OsStr::new("--out"), out.as_os_str()])
            .args(recipe)
            .percent("mean_iou")?;
        Ok(Trained { mean_iou: percent / 100.0, seconds: seconds_of(out)? })
    }

    /// Trains the same as a run in PyTorch.
    fn in_pytorch(&self, python: &Path, trained: &Path, pretrained: &Path, seed: u64) -> Result<Trained> {
        let encoder = self.at("encoder", seed).with_extension("safetensors");
        mae(&["convert", "--force", "--to", "timm"]).args([pretrained, encoder.as_path()]).succeed()?;
        run(Command::new(python)
            .arg("scripts/segment_pytorch.py")
            .args([trained, encoder.as_path()])
            .args(["--seed", &seed.to_string()]))
    }
}

/// Removes the folder of a run that was interrupted.
fn remove(run: &Path) -> Result<()> {
    match run.exists() {
        true => fs::remove_dir_all(run).with_context(|| format!("cannot remove {}", run.display())),
        false => Ok(()),
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
