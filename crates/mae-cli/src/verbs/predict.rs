//! Predicts the classes of unlabelled images.

use std::collections::BinaryHeap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use mae_data::{Image, ImageSource, Transform, sample_rng};
use mae_model::{Classifier, Contents};
use mae_report::{draw_tiles, save_png, with_note};
use mae_trainer::cli::output;
use mae_trainer::{INTERRUPTED, Shown};

use crate::images;
use crate::pass::{Pass, PassArgs};
use crate::progress::say;
use crate::table::{Predicted, PredictionFormat, Table, check_free};

pub const EXAMPLES: &str = "\
Examples:
  mae predict runs/digits-finetune-1 photo.png --top-k 3
  mae predict runs/digits-finetune-1 photos classes.csv
  mae predict vit_base_patch16_224.safetensors photos classes.parquet --top-k 5 --sheet unsure.png

A file has the columns path, class and probability, and with --top-k also class_2, probability_2 and so on. The row of an
unreadable image has only its path, and a warning names the image. A multi-label model gives an independent probability for
each class. Without a file, one line is printed per image. After Ctrl-C, the same command continues a file where it stopped.

Exit status: 0 success, 1 error, 2 wrong options, 130 interrupted.";

#[derive(clap::Args)]
pub struct Args {
    /// Weights with a classifier, fine-tuned or a probe: a file, a run's folder, or a folder of transformers.
    weights: PathBuf,
    /// An image, a folder of images, packed images, or a table of images.
    images: PathBuf,
    /// Output file: .csv, .jsonl or .parquet [default: print lines].
    out: Option<PathBuf>,
    /// Classes to report for each image, the most probable first.
    #[arg(long, value_name = "K", default_value_t = 1)]
    top_k: usize,
    /// Print JSON lines, with the columns of a file.
    #[arg(long, conflicts_with = "out")]
    json: bool,
    /// Draw the least certain images, with their classes, to a PNG file.
    #[arg(long, value_name = "PNG")]
    sheet: Option<PathBuf>,
    /// Images in the sheet.
    #[arg(long, value_name = "N", default_value_t = 50, requires = "sheet")]
    sheet_images: usize,
    /// Channels to show in the sheet, counted from 1: one, or three for red, green and blue, such as 4,3,2 [default:
    /// 1,2,3; 1 if there are fewer].
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    show: Option<Vec<usize>>,
    /// Replace existing files, or a partial one of other weights, images or options.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    pass: PassArgs,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let format = args.out.as_deref().map(PredictionFormat::of).transpose()?;
    if let Some(sheet) = &args.sheet {
        check_free(sheet, args.force)?;
        ensure!(args.sheet_images > 0, "--sheet-images is 0, but must be at least 1");
    }
    let predictor = Predictor::open(args)?;
    let seen = match (format, &args.out) {
        (Some(format), Some(out)) => predictor.write(format, out)?,
        _ => predictor.print()?,
    };
    let Some(unsure) = seen else { return Ok(ExitCode::from(INTERRUPTED)) };
    if let Some(sheet) = &args.sheet {
        predictor.draw(unsure, sheet)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A classifier, the images and their preparation.
struct Predictor<'a> {
    args: &'a Args,
    model: Classifier,
    classes: Vec<String>,
    pass: Pass<'a>,
    source: Arc<dyn ImageSource>,
    shown: Shown,
}

impl<'a> Predictor<'a> {
    fn open(args: &'a Args) -> Result<Self> {
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
        let model = model.with_compute(images_as.compute(&device)?);
        let classes = model.config().classes.clone();
        ensure!(
            (1..=classes.len()).contains(&args.top_k),
            "--top-k is {}, but must be 1 to {}, the number of classes",
            args.top_k,
            classes.len()
        );
        let preparation = images_as.preparation(&file, &model.config().vit.geometry)?;
        let pass = args.pass.prepared(&file, preparation, device);
        let preparation = pass.preparation();
        let source = images::open(&args.images, preparation.pixels)?;
        let shown = Shown::new(preparation.normalize.clone(), args.show.as_deref())?;
        Ok(Self { args, model, classes, pass, source, shown })
    }

    /// Passes the probabilities of all classes for the images from index `first` on to `each`, as [`Pass::run`] does.
    fn rows(&self, first: usize, each: impl FnMut(&[f32]) -> Result<()>) -> Result<bool> {
        let probabilities = |images| {
            let data = self.model.probabilities(self.model.forward(images)).into_data();
            data.convert::<f32>().try_to_vec::<f32>().expect("converted to f32")
        };
        self.pass.run(&self.source, first, "predicting", probabilities, each)
    }

    /// An empty collection of the sheet's images.
    fn unsure(&self) -> Unsure {
        Unsure {
            count: self.args.sheet.as_ref().map_or(0, |_| self.args.sheet_images),
            multi_label: self.model.config().multi_label,
            images: BinaryHeap::new(),
        }
    }

    /// Prints a line for each image. Returns `None` if a stop was requested.
    fn print(&self) -> Result<Option<Unsure>> {
        let (mut unsure, mut next) = (self.unsure(), 0);
        let stopped = self.rows(0, |rows| {
            for row in rows.chunks(self.classes.len()) {
                unsure.see(next, row);
                let predicted = Predicted::new(self.source.name(next), row, self.args.top_k);
                let line = match self.args.json {
                    true => predicted.to_json(&self.classes, self.args.top_k),
                    false => line(&predicted, &self.classes),
                };
                output::print(format_args!("{line}\n"))?;
                next += 1;
            }
            Ok(())
        })?;
        Ok((!stopped).then_some(unsure))
    }

    /// Writes the file, or resumes a partial one. Returns `None` if a stop was requested.
    fn write(&self, format: PredictionFormat, out: &Path) -> Result<Option<Unsure>> {
        let (len, row, about) = (self.source.len(), [self.classes.len()], self.pass.about()?);
        let source = self.source.as_ref();
        let table = Table { path: out, row: &row, source, about, header: Vec::new(), names: None };
        let (mut writer, done) = table.begin(self.args.force)?;
        if done > 0 {
            say(format_args!("continuing after {done} of {len} images"));
        }
        if self.rows(done, |rows| writer.write(rows))? {
            writer.pause()?;
            output::warn("stopped; the same command continues\n");
            return Ok(None);
        }
        let mut unsure = self.unsure();
        let see = |index: usize, row: &[f32]| unsure.see(index, row);
        format.finish(&table, writer, &self.classes, self.args.top_k, see)?;
        output::tell(format_args!("written         {len} rows in {}\n", out.display()));
        Ok(Some(unsure))
    }

    /// Draws the images that the model is least certain of.
    fn draw(&self, unsure: Unsure, path: &Path) -> Result<()> {
        let images = unsure.images.into_sorted_vec();
        ensure!(!images.is_empty(), "no image can be read: there is nothing to draw in {}", path.display());
        let title =
            |image: &UnsureOf| format!("{}: {:.0}%", self.classes[image.class], 100.0 * image.probability());
        let seen = |UnsureOf { index, .. }: &UnsureOf| -> Result<Image> {
            let image = self.source.load(*index)?;
            let seen = self.pass.preparation().transform.apply(image, &mut sample_rng(0, 0, *index));
            let shape = [1, seen.channels(), seen.height(), seen.width()];
            Ok(self.shown.images(&seen.planes(), shape)?.remove(0))
        };
        let titles: Vec<String> = images.iter().map(title).collect();
        let seen = images.iter().map(seen).collect::<Result<Vec<_>>>()?;
        let tiles: Vec<_> = titles.iter().map(String::as_str).zip(seen).collect();
        let note = match self.model.config().multi_label {
            true => {
                "For each image, the class with the probability nearest 50%, the least certain images first."
            }
            false => "The most probable class of each image, the least certain first.",
        };
        save_png(&with_note(draw_tiles(&tiles)?, note)?, path)?;
        let said = format!("sheet           {} images in {}\n", images.len(), path.display());
        // Programs read the JSON lines, so nothing else goes to standard output.
        if self.args.json {
            output::warn(said);
        } else {
            output::tell(said);
        }
        Ok(())
    }
}

/// Formats the classes of an image before its name, which may be long.
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

/// The images that the model is least certain of: those whose most probable class has the lowest probability. If an
/// image may have several classes, those with a class whose probability is nearest one half.
struct Unsure {
    count: usize,
    multi_label: bool,
    /// A heap with the most certain image on top.
    images: BinaryHeap<UnsureOf>,
}

/// An image and the class that decides how certain it is. Probabilities are not negative, so their bits have the same
/// order.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct UnsureOf {
    /// Bits of the probability that the prediction is right.
    certainty: u32,
    index: usize,
    class: usize,
    probability: u32,
}

impl UnsureOf {
    fn probability(&self) -> f32 {
        f32::from_bits(self.probability)
    }
}

impl Unsure {
    fn see(&mut self, index: usize, probabilities: &[f32]) {
        if self.count == 0 {
            return;
        }
        let top_k = if self.multi_label { probabilities.len() } else { 1 };
        let classes = Predicted::new(String::new(), probabilities, top_k).classes;
        let certain = |(class, probability): (usize, f32)| {
            let certainty = if self.multi_label { probability.max(1.0 - probability) } else { probability };
            let probability = probability.to_bits();
            UnsureOf { certainty: certainty.to_bits(), index, class, probability }
        };
        self.images.extend(classes.into_iter().map(certain).min());
        if self.images.len() > self.count {
            self.images.pop();
        }
    }
}
