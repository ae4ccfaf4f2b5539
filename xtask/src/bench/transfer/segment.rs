//! `cargo xtask bench segment`: what pre-training is worth for segmentation, by labelled images, with both heads.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::mae;
use crate::bench::median::median;
use crate::programs::build;

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

/// Pre-trains, then trains segmenters on 16, 64 and all labelled images.
pub fn segment(options: &Options) -> Result<()> {
    ensure!(options.seeds >= 1, "seeds are at least 1");
    ensure!(!options.out.exists(), "{} exists already", options.out.display());
    build(&["--package=mae-cli"])?;
    let text = |path: &Path| path.display().to_string();
    let names = names(&options.data.join("train/images"))?;
    let [val_images, val_masks] = ["val/images", "val/masks"].map(|part| text(&options.data.join(part)));
    let classes = text(&options.data.join("classes.toml"));
    let counts: Vec<usize> =
        options.labelled.iter().copied().filter(|count| *count < names.len()).chain([names.len()]).collect();
    let mut table: Vec<(String, Vec<f64>)> = Vec::new();
    for seed in 0..options.seeds {
        let at = |name: &str| options.out.join(format!("{name}-{seed}"));
        let (pretrained, number, epochs) =
            (text(&at("pretrain")), seed.to_string(), options.pretrain_epochs.to_string());
        mae(&["pretrain", "--quiet", "--preset", "nano", "--image-size", "64", "--patch-size", "8"])
            .args(["--data", &text(&options.data.join("train/images")), "--epochs", &epochs])
            .args(["--flip", "false", "--seed", &number, "--out", &pretrained])
            .succeed()?;
        for &count in &counts {
            let part = at(&format!("labelled-{count}"));
            take(&options.data.join("train"), &names, count, seed as usize, &part)?;
            let [images, masks] = ["images", "masks"].map(|folder| text(&part.join(folder)));
            let epochs = (options.updates as usize).div_ceil((count / BATCH).max(1)).to_string();
            for (name, recipe) in CASES {
                let out = text(&at(&format!("{}-{count}", name.replace(", ", "-").replace(' ', "-"))));
                let miou = mae(&["segment", &pretrained, &images, &masks, "--quiet", "--json"])
                    .args(["--val-images", &val_images, "--val-masks", &val_masks, "--classes", &classes])
                    .args(["--epochs", &epochs, "--eval-epochs", &epochs, "--batch-size", &BATCH.to_string()])
                    .args(["--flip", "false", "--seed", &number, "--out", &out])
                    .args(recipe)
                    .percent("mean_iou")?;
                let row = format!("{count} labelled images: {name}");
                println!("seed {seed}  {row}: mIoU {miou:.1}%");
                match table.iter_mut().find(|(known, _)| *known == row) {
                    Some((_, all)) => all.push(miou),
                    None => table.push((row, vec![miou])),
                }
            }
        }
    }
    let seeds = (0..options.seeds).map(|seed| format!(" seed {seed} |")).collect::<String>();
    println!("\n| held-out mIoU, % |{seeds} median |\n|---|{}", "---|".repeat(options.seeds as usize + 1));
    for (name, mut percents) in table {
        let cells: String = percents.iter().map(|percent| format!(" {percent:.1} |")).collect();
        println!("| {name} |{cells} {:.1} |", median(&mut percents));
    }
    Ok(())
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
