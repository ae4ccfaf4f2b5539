//! Examines a folder of images.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use mae_data::{
    ClassMap, DataError, DataReport, Doctor, FolderOptions, ImageFolder, ImageSource, LabelMapOptions,
    LabelMaps, LabelTable, MapReport, PixelFormat, Segmented, Subset, open_images,
};
use mae_trainer::cli::output;
use mae_trainer::cli::parse_size;
use serde_json::json;

use crate::progress::Progress;

pub const EXAMPLES: &str = "\
Examples:
  mae doctor photos
  mae doctor photos --image-size 224
  mae doctor photos --labels photos.csv --val-share 0.2
  mae doctor photos.parquet
  mae doctor train/images --masks train/masks --classes classes.toml
  mae doctor photos --json > report.json";

#[derive(clap::Args)]
pub struct Args {
    /// A folder of images, packed images, or a table of images; every image is decoded.
    folder: PathBuf,
    /// Size of the model's images in pixels, such as 224 or 192x256: count smaller images, and compare sizes and shapes
    /// with it.
    #[arg(long, value_name = "PX", value_parser = parse_size)]
    image_size: Option<(usize, usize)>,
    /// Pixel format to decode images to: rgb8, or the stored type and number of channels, such as u16x1 or f32x13
    /// [default: the files' own if they agree, else rgb8].
    #[arg(long, value_name = "FORMAT")]
    pixels: Option<PixelFormat>,
    /// Table of the images' classes (.csv, .tsv or .jsonl), for a folder without a sub-folder per class.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Separator of classes in a cell of the table, such as ';'; each image may then have several classes, or none.
    #[arg(long, value_name = "TEXT", requires = "labels")]
    label_separator: Option<String>,
    /// Share of each class to hold out, such as 0.2: count the held-out images, among those with a class.
    #[arg(long, value_name = "SHARE")]
    val_share: Option<f64>,
    /// Folder of the images' label maps for segmentation; every label map is read.
    #[arg(long, value_name = "DIR")]
    masks: Option<PathBuf>,
    /// Names, values and colours of the label maps' classes: a TOML or JSON file, or voc or ade20k [default: the values
    /// that occur].
    #[arg(long, value_name = "FILE", requires = "masks")]
    classes: Option<PathBuf>,
    /// Template of a label map's name below the folder, such as {stem}_mask.png [default: the image's name, as PNG or
    /// TIFF].
    #[arg(long, value_name = "TEMPLATE", requires = "masks")]
    mask_name: Option<String>,
    /// Print everything as JSON; otherwise long lists are shortened.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let options = FolderOptions { pixels: args.pixels, ..FolderOptions::default() };
    let mut folder = match ImageFolder::open(&args.folder, options.clone()) {
        Err(DataError::NotAFolder { .. } | DataError::EmptyFolder { .. } | DataError::Folder { .. })
            if args.labels.is_none() =>
        {
            return examine(args, open_images(&args.folder, options)?);
        }
        opened => opened?,
    };
    if let Some(labels) = &args.labels {
        folder = folder.with_labels(&match &args.label_separator {
            Some(separator) => LabelTable::read_lists(labels, separator)?,
            None => LabelTable::read(labels)?,
        })?;
    }
    let doctor = Doctor { image_size: args.image_size, ..Doctor::default() };
    let mut progress = Progress::start();
    let report =
        doctor.examine(&folder, |done, total| progress.tell(done, total, total, "files", String::new))?;
    tell(args, &report, Arc::new(folder))
}

/// Examines images that do not lie in a folder of image files.
fn examine(args: &Args, images: Arc<dyn ImageSource>) -> Result<()> {
    let doctor = Doctor { image_size: args.image_size, ..Doctor::default() };
    let mut progress = Progress::start();
    let tell_progress = |done, total| progress.tell(done, total, total, "images", String::new);
    let report = doctor.examine_source(images.as_ref(), &args.folder, tell_progress)?;
    tell(args, &report, images)
}

fn tell(args: &Args, report: &DataReport, images: Arc<dyn ImageSource>) -> Result<()> {
    let maps = args.masks.as_deref().map(|masks| examine_maps(args, images.clone(), masks)).transpose()?;
    let held_out = args.val_share.map(|share| held_out(images, share)).transpose()?;
    if args.json {
        let mut json = serde_json::to_value(report)?;
        if let Some((train, val)) = held_out {
            json["val_share"] = json!({ "train": train, "val": val });
        }
        if let Some(maps) = maps {
            json["label_maps"] = serde_json::to_value(maps)?;
        }
        return Ok(output::print(format_args!("{json:#}\n"))?);
    }
    output::print(report)?;
    if let Some(maps) = maps {
        output::print(format_args!("\n{maps}"))?;
    }
    if let Some((train, val)) = held_out {
        output::print(format_args!("held out        {val} images; {train} are left to train on\n"))?;
    }
    Ok(())
}

/// Examines the label maps of images.
fn examine_maps(args: &Args, images: Arc<dyn ImageSource>, masks: &Path) -> Result<MapReport> {
    let classes = args.classes.as_ref().map(ClassMap::open).transpose()?;
    let options = LabelMapOptions { template: args.mask_name.clone(), ..LabelMapOptions::default() };
    let segmented = Segmented::new(images, LabelMaps::open(masks, classes, options)?)?;
    let mut progress = Progress::start();
    let tell_progress = |done, total| progress.tell(done, total, total, "label maps", String::new);
    Ok(Doctor::default().examine_maps(&segmented, tell_progress)?)
}

/// The number of images to train on and the number held out.
fn held_out(images: Arc<dyn ImageSource>, share: f64) -> Result<(usize, usize)> {
    let source: Arc<dyn ImageSource> = match images.class_names().is_empty() {
        true => images,
        false => Arc::new(Subset::labelled(images)),
    };
    let (train, val) = Subset::split(&source, share, 0)?;
    Ok((train.len(), val.len()))
}
