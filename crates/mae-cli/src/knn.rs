//! What frozen features are worth: the nearest neighbours' votes.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail, ensure};
use mae_trainer::{Features, INTERRUPTED, KNN_TEMPERATURE, knn_predict};
use serde_json::json;

use crate::encode::{EncodeArgs, Encoder, Tokens};
use crate::images;

pub const EXAMPLES: &str = "\
Examples:
  mae knn runs/digits-1 digits/train digits/test
  mae knn mae_pretrain_vit_base.pth train val --k 200 --json

Sub-folders at the first level are classes, the same ones in both. Images that cannot be read are left out.";

#[derive(clap::Args)]
pub struct Args {
    /// Weights of an encoder: a file, or a folder of a run or of transformers.
    weights: PathBuf,
    /// Labelled images that vote.
    train: PathBuf,
    /// Labelled images that are voted on.
    test: PathBuf,
    /// Neighbours that vote: 20 otherwise, or all where there are fewer.
    #[arg(long, value_name = "N")]
    k: Option<usize>,
    /// A vote weighs exp(cosine similarity / temperature).
    #[arg(long, default_value_t = KNN_TEMPERATURE)]
    temperature: f64,
    /// What is taken of an image: class or mean.
    #[arg(long, value_enum, default_value = "mean")]
    tokens: Tokens,
    /// Prints JSON, with the confusion matrix: rows are the true classes.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    encode: EncodeArgs,
}

/// Features and labels of a folder.
struct Labelled {
    features: Features,
    labels: Vec<u32>,
    classes: Vec<String>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    ensure!(
        args.tokens != Tokens::All,
        "--tokens is all, but an image has to have one vector: class or mean"
    );
    let encoder = args.encode.open(&args.weights, args.tokens)?;
    let Some(train) = labelled(&encoder, &args.train)? else { return Ok(ExitCode::from(INTERRUPTED)) };
    let Some(test) = labelled(&encoder, &args.test)? else { return Ok(ExitCode::from(INTERRUPTED)) };
    if train.classes != test.classes {
        bail!(
            "{} has the classes {}, but {} has {}",
            args.train.display(),
            train.classes.join(", "),
            args.test.display(),
            test.classes.join(", ")
        );
    }
    let k = args.k.unwrap_or_else(|| train.labels.len().min(20));
    let predicted = knn_predict(&train.features, &train.labels, &test.features, k, args.temperature)?;
    let classes = test.classes.len();
    let mut confusion = vec![vec![0_usize; classes]; classes];
    for (label, predicted) in test.labels.iter().zip(&predicted) {
        confusion[*label as usize][*predicted as usize] += 1;
    }
    let right: usize = (0..classes).map(|class| confusion[class][class]).sum();
    let accuracy = right as f64 / test.labels.len() as f64;
    if args.json {
        let about = json!({
            "accuracy": accuracy, "k": k, "temperature": args.temperature, "classes": test.classes,
            "train_images": train.labels.len(), "test_images": test.labels.len(), "confusion": confusion,
        });
        println!("{}", serde_json::to_string_pretty(&about)?);
        return Ok(ExitCode::SUCCESS);
    }
    let images = (train.labels.len(), test.labels.len());
    println!(
        "kNN accuracy    {:.1}% (k = {}; {} labelled images, {} held-out images)",
        100.0 * accuracy,
        k,
        images.0,
        images.1
    );
    println!("\n{:<20} {:>8} {:>8}  most often taken for", "class", "images", "right");
    for (class, row) in confusion.iter().enumerate() {
        let total: usize = row.iter().sum();
        let others = row.iter().enumerate().filter(|(other, count)| *other != class && **count > 0);
        let other = others.max_by_key(|(other, count)| (**count, std::cmp::Reverse(*other)));
        let other =
            other.map_or(String::new(), |(other, count)| format!("{} ({count})", test.classes[other]));
        let share = match total {
            0 => "-".to_owned(),
            _ => format!("{:.1}%", 100.0 * row[class] as f64 / total as f64),
        };
        println!("{:<20} {total:>8} {share:>8}  {other}", test.classes[class]);
    }
    Ok(ExitCode::SUCCESS)
}

/// None if it was asked to stop.
fn labelled(encoder: &Encoder<'_>, path: &Path) -> Result<Option<Labelled>> {
    let source = images::open(path)?;
    let classes = source.class_names().to_vec();
    ensure!(
        classes.len() > 1,
        "{} has {} classes, but there have to be two at least: sub-folders at its first level",
        path.display(),
        classes.len()
    );
    encoder.say(&format!("{}: {} images of {} classes", path.display(), source.len(), classes.len()));
    let dim = encoder.row()[0];
    let (mut data, mut labels, mut next) = (Vec::new(), Vec::new(), 0);
    let stopped = encoder.encode(&source, 0, |rows| {
        for row in rows.chunks(dim) {
            let label = source.label(next).filter(|_| !row[0].is_nan());
            if let Some(label) = label {
                data.extend_from_slice(row);
                labels.push(label);
            }
            next += 1;
        }
        Ok(())
    })?;
    match stopped {
        true => Ok(None),
        false => Ok(Some(Labelled { features: Features::new(data, dim)?, labels, classes })),
    }
}
