//! Classes of images without labels.

use std::collections::BinaryHeap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use burn::tensor::activation::softmax;
use mae_data::{Image, ImageSource, Transform, sample_rng};
use mae_model::Contents;
use mae_report::{draw_tiles, save_png, with_note};
use mae_trainer::INTERRUPTED;
use mae_trainer::cli::output;

use crate::images::{self, Preparation};
use crate::pass::PassArgs;
use crate::table::{Predicted, PredictionFormat, Table};

pub const EXAMPLES: &str = "\
Examples:
  mae predict runs/digits-finetune-1 photo.png --top-k 3
  mae predict runs/digits-finetune-1 photos classes.csv
  mae predict vit_base_patch16_224.safetensors photos classes.parquet --top-k 5 --sheet unsure.png

The columns of a file are path, class, probability, and class_2, probability_2 and so on with --top-k; an image that cannot
be read has its path alone, and is named. Interrupted with Ctrl-C, the same command goes on where it stopped. Without a file,
a line is printed for each image.

Exit status: 0 when done, 1 after an error, 2 for wrong options, 130 when interrupted.";

#[derive(clap::Args)]
pub struct Args {
    /// Weights with a classifier, fine-tuned or a probe's: a file, or a folder of a run or of transformers.
    weights: PathBuf,
    /// An image, a folder of images, or packed images.
    images: PathBuf,
    /// A new .csv, .jsonl or .parquet file; otherwise lines are printed.
    out: Option<PathBuf>,
    /// Classes of each image, the most probable first.
    #[arg(long, value_name = "K", default_value_t = 1)]
    top_k: usize,
    /// Print lines of JSON, with the columns of a file.
    #[arg(long, conflicts_with = "out")]
    json: bool,
    /// Draw the images that the model is least certain of, with their classes, into a new PNG file.
    #[arg(long, value_name = "PNG")]
    sheet: Option<PathBuf>,
    /// Images in the sheet.
    #[arg(long, value_name = "N", default_value_t = 50, requires = "sheet")]
    sheet_images: usize,
    #[command(flatten)]
    pass: PassArgs,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let format = args.out.as_deref().map(PredictionFormat::of).transpose()?;
    if let Some(sheet) = &args.sheet {
        ensure!(!sheet.exists(), "{} is there already", sheet.display());
    }
    let PassArgs { images_as, described, .. } = &args.pass;
    let device = images_as.device.open()?;
    let file = described.open(&args.weights)?;
    if !matches!(file.contents(), Contents::FineTuned { .. } | Contents::Probe { .. }) {
        bail!(
            "{} holds {} and no classifier: mae finetune or mae probe trains one",
            file.path().display(),
            file.contents()
        );
    }
    let (model, _) = file.classifier(&described.hints(), &device)?;
    let classes = model.config().classes.clone();
    ensure!(
        (1..=classes.len()).contains(&args.top_k),
        "--top-k is {}, but must be 1 to {}, the number of classes",
        args.top_k,
        classes.len()
    );
    let preparation = images_as.preparation(&file, &model.config().vit.geometry)?;
    let pass = args.pass.prepared(&file, preparation, device);
    let source = images::open(&args.images)?;
    let probabilities = |images| {
        let data = softmax(model.forward(images), 1).into_data();
        data.convert::<f32>().try_to_vec::<f32>().expect("converted to f32")
    };
    let mut unsure = Unsure::new(if args.sheet.is_some() { args.sheet_images } else { 0 });

    let (Some(format), Some(out)) = (format, &args.out) else {
        let mut next = 0;
        let stopped = pass.run(&source, 0, "predicting", probabilities, |rows| {
            for row in rows.chunks(classes.len()) {
                unsure.see(next, row);
                let predicted = Predicted::new(source.name(next), row, args.top_k);
                let line = match args.json {
                    true => predicted.to_json(&classes, args.top_k),
                    false => line(&predicted, &classes),
                };
                output::print(format_args!("{line}\n"))?;
                next += 1;
            }
            Ok(())
        })?;
        if stopped {
            return Ok(ExitCode::from(INTERRUPTED));
        }
        return draw(args, unsure, &source, pass.preparation(), &classes);
    };
    let row = [classes.len()];
    let about = pass.about()?;
    let table =
        Table { path: out, row: &row, source: source.as_ref(), about, header: Vec::new(), names: None };
    let (mut writer, done) = table.begin()?;
    if done > 0 {
        args.pass.say(&format!("continuing after {done} of {} images", source.len()));
    }
    if pass.run(&source, done, "predicting", probabilities, |rows| writer.write(rows))? {
        writer.pause()?;
        output::warn("stopped; the same command continues\n");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    format.finish(&table, writer, &classes, args.top_k, |index, row| unsure.see(index, row))?;
    output::tell(format_args!("written         {} rows in {}\n", source.len(), out.display()));
    draw(args, unsure, &source, pass.preparation(), &classes)
}

/// Classes before the name, which may be long.
fn line(predicted: &Predicted, classes: &[String]) -> String {
    let width = classes.iter().map(|class| class.chars().count()).max().unwrap_or(0);
    let found: String = predicted
        .classes
        .iter()
        .map(|(class, probability)| format!("{:5.1}%  {:width$}  ", 100.0 * probability, classes[*class]))
        .collect();
    let found = if found.is_empty() { "not read  ".into() } else { found };
    format!("{found}{}", predicted.name)
}

/// The images whose most probable class is the least probable.
struct Unsure {
    count: usize,
    /// The surest of them first. Probabilities are not negative: their bits are in their order.
    images: BinaryHeap<(u32, usize, usize)>,
}

impl Unsure {
    fn new(count: usize) -> Self {
        Self { count, images: BinaryHeap::new() }
    }

    fn see(&mut self, index: usize, probabilities: &[f32]) {
        if self.count == 0 {
            return;
        }
        if let [(class, probability)] = Predicted::new(String::new(), probabilities, 1).classes[..] {
            self.images.push((probability.to_bits(), index, class));
            if self.images.len() > self.count {
                self.images.pop();
            }
        }
    }
}

/// Draws the sheet that was asked for.
fn draw(
    args: &Args,
    unsure: Unsure,
    source: &Arc<dyn ImageSource>,
    preparation: &Preparation,
    classes: &[String],
) -> Result<ExitCode> {
    let Some(path) = &args.sheet else { return Ok(ExitCode::SUCCESS) };
    let images = unsure.images.into_sorted_vec();
    ensure!(!images.is_empty(), "no image can be read: there is nothing to draw in {}", path.display());
    draw_sheet(&images, source, preparation, classes, path)?;
    output::tell(format_args!("sheet           {} images in {}\n", images.len(), path.display()));
    Ok(ExitCode::SUCCESS)
}

fn draw_sheet(
    images: &[(u32, usize, usize)],
    source: &Arc<dyn ImageSource>,
    preparation: &Preparation,
    classes: &[String],
    path: &Path,
) -> Result<()> {
    let title = |(bits, _, class): &(u32, usize, usize)| {
        format!("{}: {:.0}%", classes[*class], 100.0 * f32::from_bits(*bits))
    };
    let seen = |(_, index, _): &(u32, usize, usize)| -> Result<Image> {
        Ok(preparation.transform.apply(source.load(*index)?, &mut sample_rng(0, 0, *index)))
    };
    let titles: Vec<String> = images.iter().map(title).collect();
    let seen = images.iter().map(seen).collect::<Result<Vec<_>>>()?;
    let tiles: Vec<_> = titles.iter().map(String::as_str).zip(seen).collect();
    let sheet =
        with_note(draw_tiles(&tiles)?, "The most probable class of each image, the least certain first.")?;
    Ok(save_png(&sheet, path)?)
}
