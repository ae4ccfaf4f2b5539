//! Evaluates frozen features by k-nearest-neighbour classification.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use mae_data::{ImageSource, PixelFormat};
use mae_eval::{Features, KNN_TEMPERATURE, Scores, knn_predict};
use mae_trainer::cli::output;
use mae_trainer::{Data, DataRecipe, INTERRUPTED};
use serde_json::json;

use crate::encode::{EncodeArgs, Encoder, Tokens};
use crate::progress::say;

pub const EXAMPLES: &str = "\
Examples:
  mae knn runs/digits-1 digits/train digits/test
  mae knn runs/photos-tiny-1 photos --labels photos.csv --val-share 0.2
  mae knn mae_pretrain_vit_base.pth train val --k 200 --json

First-level sub-folders are the classes; both folders need the same ones. Unreadable images are left out.";

#[derive(clap::Args)]
pub struct Args {
    /// Weights with an encoder: a file, a run's folder, or a folder of transformers.
    weights: PathBuf,
    /// Labelled images that vote.
    train: PathBuf,
    /// Labelled held-out images to classify.
    #[arg(required_unless_present = "val_share", conflicts_with = "val_share")]
    test: Option<PathBuf>,
    /// Table of the images' classes (.csv, .tsv or .jsonl), for folders without a sub-folder per class.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Table of the held-out images' classes [default: the table of --labels].
    #[arg(long, value_name = "FILE", requires = "test")]
    val_labels: Option<PathBuf>,
    /// Share of each class to hold out and classify, such as 0.2, instead of a second folder.
    #[arg(long, value_name = "SHARE")]
    val_share: Option<f64>,
    /// Seed that draws the held-out share.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "val_share")]
    seed: u64,
    /// Number of neighbours that vote [default: 20, or all if there are fewer].
    #[arg(long, value_name = "N")]
    k: Option<usize>,
    /// Temperature of the votes: each weighs exp(cosine similarity / temperature).
    #[arg(long, default_value_t = KNN_TEMPERATURE)]
    temperature: f64,
    /// Tokens that make the features of an image: class or mean.
    #[arg(long, value_enum, default_value = "mean")]
    tokens: Tokens,
    /// Print JSON, with the confusion matrix: rows are the true classes.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    encode: EncodeArgs,
}

/// Features and labels of a folder.
struct Labelled {
    features: Features,
    labels: Vec<u32>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    ensure!(args.tokens != Tokens::All, "--tokens is all, but kNN needs one vector per image: class or mean");
    let encoder = args.encode.open(&args.weights, args.tokens)?;
    // The images are opened and checked before any are encoded, which takes most of the time.
    let (train, test) = args.images(encoder.pixels())?;
    let classes = test.class_names().to_vec();
    let held_out = args.test.as_ref().unwrap_or(&args.train);
    let Some(train) = labelled(&encoder, &args.train, &train)? else {
        return Ok(ExitCode::from(INTERRUPTED));
    };
    let Some(test) = labelled(&encoder, held_out, &test)? else { return Ok(ExitCode::from(INTERRUPTED)) };
    let k = args.k.unwrap_or_else(|| train.labels.len().min(20));
    let predicted = knn_predict(&train.features, &train.labels, &test.features, k, args.temperature)?;
    let scores = Scores::of_labels(classes, &test.labels, &predicted)?;
    let images = (train.labels.len(), test.labels.len());
    if args.json {
        let about = json!({
            "accuracy": scores.top1(), "k": k, "temperature": args.temperature, "classes": scores.classes,
            "train_images": images.0, "test_images": images.1, "confusion": scores.confusion,
        });
        output::print(format_args!("{}\n", serde_json::to_string_pretty(&about)?))?;
        return Ok(ExitCode::SUCCESS);
    }
    output::print(format_args!(
        "kNN accuracy    {:.1}% (k = {}; {} labelled images, {} held-out images)\n\n{}\n",
        100.0 * scores.top1(),
        k,
        images.0,
        images.1,
        scores.to_string().trim_end()
    ))?;
    Ok(ExitCode::SUCCESS)
}

type Source = Arc<dyn ImageSource>;

impl Args {
    /// Opens the images that vote and the images that are voted on. Both must have the same classes, at least two.
    fn images(&self, pixels: PixelFormat) -> Result<(Source, Source)> {
        let recipe = DataRecipe {
            path: Some(self.train.clone()),
            val: self.test.clone(),
            labels: self.labels.clone(),
            val_labels: self.val_labels.clone(),
            val_share: self.val_share,
            pixels: Some(pixels),
            ..DataRecipe::default()
        };
        // The path is always set, so the size of built-in images is unused.
        let data = Data::open(&recipe, (0, 0), self.seed, true)?;
        data.check_classes()?;
        let Data { train, val, notes } = data;
        notes.iter().for_each(|(_, note)| say(note));
        let val = val.context("there are no held-out images")?;
        for (source, path) in [(&train, &self.train), (&val, self.test.as_ref().unwrap_or(&self.train))] {
            ensure!(
                !source.is_multi_label(),
                "images in {} may have several classes, but kNN needs one class per image",
                path.display()
            );
            let classes = source.class_names().len();
            ensure!(
                classes > 1,
                "{} has {classes} classes, but must have at least 2: sub-folders at its first level, or classes of a table \
                 that --labels names",
                path.display()
            );
        }
        Ok((train, val))
    }
}

/// Encodes the images and keeps those that have a label and can be read. Returns `None` if a stop was requested.
fn labelled(encoder: &Encoder<'_>, path: &Path, source: &Arc<dyn ImageSource>) -> Result<Option<Labelled>> {
    let classes = source.class_names().len();
    say(format_args!("{}: {} images of {classes} classes", path.display(), source.len()));
    let dim = encoder.row()[0];
    let (mut data, mut labels, mut next) = (Vec::new(), Vec::new(), 0);
    let stopped = encoder.encode(source, 0, |rows| {
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
        false => Ok(Some(Labelled { features: Features::new(data, dim)?, labels })),
    }
}
