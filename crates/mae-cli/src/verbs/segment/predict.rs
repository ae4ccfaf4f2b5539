//! Predicts the label maps of images.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use mae_data::{AnyImage, Georeference, ImageSource, LabelMap};
use mae_model::{Contents, Segmenter, WeightFile};
use mae_report::{
    class_colour, make_folder, overlay_labels, save_label_png, save_label_tiff, save_png, write_atomic,
};
use mae_trainer::cli::output;
use mae_trainer::{
    Compute, DeviceName, INTERRUPTED, Precision, PredictMode, PublicRecipe, SegmentationPass,
    SegmentationSettings, Shown, StopFlag, pixel_format,
};
use serde_json::json;

use crate::images;
use crate::pass::checksum;
use crate::progress::{Progress, say};
use crate::weights::Described;

pub const EXAMPLES: &str = "\
Examples:
  mae segment predict runs/street-segment-1 photo.jpg predicted
  mae segment predict runs/street-segment-1 photos predicted --flip --scales 0.75,1,1.25
  mae segment predict segmenter.safetensors scenes predicted --short-side 0 --no-overlays

OUT/masks has a label map for each image, of the same size: a palette PNG whose indices are the classes, or a GeoTIFF if the image
is one. OUT/overlays has the images with the classes' colours over them. OUT/classes.toml names the classes, for
`mae segment --classes`. After Ctrl-C, the same command continues where it stopped.

Exit status: 0 success, 1 error, 2 wrong options, 130 interrupted.";

#[derive(clap::Args)]
pub struct Args {
    /// Weights with a segmentation head: a file, or a run's folder.
    weights: PathBuf,
    /// An image, a folder of images, packed images, or a table of images.
    images: PathBuf,
    /// Folder for the label maps.
    out: PathBuf,
    /// Predict in overlapping windows of the model's size, or for the whole image resized to it [default: as in the
    /// run's evaluations].
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// Step between windows, as a share of the window's side [default: the run's, 2/3].
    #[arg(long, value_name = "SHARE")]
    stride: Option<f64>,
    /// Average probabilities with those of the mirrored image.
    #[arg(long)]
    flip: bool,
    /// Average probabilities over the image scaled by these factors, such as 0.75,1,1.25 [default: the run's, 1].
    #[arg(long, value_name = "X,…", value_delimiter = ',')]
    scales: Option<Vec<f64>>,
    /// Resize images to PX pixels on the shorter side for the model; 0 keeps their size [default: the run's].
    #[arg(long, value_name = "PX")]
    short_side: Option<usize>,
    /// Write label maps only.
    #[arg(long)]
    no_overlays: bool,
    /// Channels to show in overlays, counted from 1: one, or three for red, green and blue, such as 4,3,2 [default:
    /// 1,2,3; 1 if there are fewer].
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    show: Option<Vec<usize>>,
    /// Replace label maps that other weights, images or options have made.
    #[arg(long)]
    force: bool,
    /// Device to compute on: flex, tch, tch:cuda:0, vulkan, wgpu, …; all but flex need a Cargo feature at build time.
    #[arg(long, default_value = "flex")]
    device: DeviceName,
    /// Precision of matrix products, f32 or bf16; bf16 is faster on devices with bf16 instructions.
    #[arg(long, default_value_t = Precision::F32)]
    precision: Precision,
    #[command(flatten)]
    described: Described,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Mode {
    /// Overlapping windows.
    Slide,
    /// The whole image, resized.
    Whole,
}

/// The file that records how the label maps in a folder were made.
const ABOUT: &str = "predict.json";

pub fn run(args: &Args) -> Result<ExitCode> {
    let device = args.device.open()?;
    ensure!(
        args.precision.is_supported_by(&device),
        "--precision is {}, but {} computes in f32 alone",
        args.precision,
        args.device
    );
    let file = args.described.open(&args.weights)?;
    ensure!(
        matches!(file.contents(), Contents::Segmenter { .. }),
        "{} holds {} and no segmentation head: mae segment trains one",
        file.path().display(),
        file.contents()
    );
    let (model, _) = file.segmenter(&device)?;
    let model = model.with_compute(Compute { precision: args.precision, ..Compute::default() });
    let normalize = file.normalize()?;
    let pixels = pixel_format(&normalize, model.config().vit.geometry.in_chans());
    let source = images::open(&args.images, pixels)?;
    let shown = Shown::new(normalize.clone(), args.show.as_deref())?;
    let settings = args.settings(&file, &model)?;
    let outputs = Outputs::new(&args.out, &args.images, source.as_ref())?;
    outputs.begin(args, &file, &settings)?;
    let pass = SegmentationPass::new(settings, normalize, device);
    Predictor { args, model, source, shown, pass, outputs }.run()
}

impl Args {
    /// Determines how images are passed through the model: by the options, else as in the evaluations of the run that
    /// trained the weights.
    fn settings(&self, file: &WeightFile, model: &Segmenter) -> Result<SegmentationSettings> {
        let recipe = file.metadata().get(PublicRecipe::KEY).cloned();
        let size = model.config().vit.geometry.image_size();
        let mut settings = SegmentationSettings::of_run(recipe.as_deref(), file.path(), size)?;
        if let Some(mode) = self.mode {
            settings.predict.mode = match mode {
                Mode::Slide => PredictMode::Slide,
                Mode::Whole => PredictMode::Whole,
            };
        }
        mae_trainer::cli::set(&mut settings.predict.stride, &self.stride);
        mae_trainer::cli::set(&mut settings.predict.scales, &self.scales);
        mae_trainer::cli::set(&mut settings.short_side, &self.short_side);
        settings.predict.flip |= self.flip;
        settings.check()?;
        Ok(settings)
    }
}

/// The paths of the files to write.
struct Outputs {
    folder: PathBuf,
    /// The path of each image's files within the folders of label maps and overlays.
    names: Vec<PathBuf>,
}

impl Outputs {
    /// Names the files below `folder` after the images' names in `source`. Fails if two images would share a name.
    fn new(folder: &Path, images: &Path, source: &dyn ImageSource) -> Result<Self> {
        let mut taken: HashMap<PathBuf, usize> = HashMap::new();
        let mut names = Vec::with_capacity(source.len());
        for index in 0..source.len() {
            let name = source.relative_name(index).unwrap_or_else(|| file_name(&source.name(index)));
            let name = name.with_extension(match georeference(images, source, index)? {
                Some(_) => "tif",
                None => "png",
            });
            // Extensions are ignored, because all overlays have the same one.
            let stem = name.with_extension("");
            if let Some(other) = taken.insert(stem.clone(), index) {
                let (other, this, stem) = (source.name(other), source.name(index), stem.display());
                bail!("the label maps of {other} and {this} would both be named {stem}: rename one image");
            }
            names.push(name);
        }
        Ok(Self { folder: folder.into(), names })
    }

    fn mask(&self, index: usize) -> PathBuf {
        self.folder.join("masks").join(&self.names[index])
    }

    fn overlay(&self, index: usize) -> PathBuf {
        self.folder.join("overlays").join(self.names[index].with_extension("png"))
    }

    /// Creates the folder, or checks that its label maps were made with the same weights, images and options. With
    /// `--force`, other label maps are removed.
    fn begin(&self, args: &Args, file: &WeightFile, settings: &SegmentationSettings) -> Result<()> {
        let about = json!({
            "weights": file.path().display().to_string(),
            "checksum": checksum(file.files())?,
            "images": std::path::absolute(&args.images)?.display().to_string(),
            "settings": settings,
            "show": args.show,
            "precision": args.precision.to_string(),
        });
        let text = serde_json::to_string_pretty(&about)? + "\n";
        let path = self.folder.join(ABOUT);
        match std::fs::read_to_string(&path) {
            Ok(before) if before == text => return Ok(()),
            Ok(_) if !args.force => bail!(
                "{} has label maps that other weights, images or options have made (see {ABOUT}): choose another folder, or replace them with --force",
                self.folder.display()
            ),
            Err(_) if !args.force && self.mask_exists() => {
                bail!(
                    "{} has label maps of unknown origin: choose another folder, or replace them with --force",
                    self.folder.display()
                )
            }
            _ => {}
        }
        for index in 0..self.names.len() {
            // Label maps that were made differently are predicted again.
            let mask = self.mask(index);
            if mask.exists() {
                std::fs::remove_file(&mask).with_context(|| format!("cannot remove {}", mask.display()))?;
            }
        }
        make_folder(&self.folder)?;
        Ok(write_atomic(path, |file| file.write_all(text.as_bytes()))?)
    }

    fn mask_exists(&self) -> bool {
        (0..self.names.len()).any(|index| self.mask(index).exists())
    }
}

/// The file that contains an image: its own, or `images` itself if the image has no path below it.
fn file_of(images: &Path, source: &dyn ImageSource, index: usize) -> PathBuf {
    source.relative_name(index).map_or_else(|| images.to_path_buf(), |name| images.join(name))
}

/// The georeference of an image, if its file is a GeoTIFF.
fn georeference(images: &Path, source: &dyn ImageSource, index: usize) -> Result<Option<Georeference>> {
    let path = file_of(images, source, index);
    let ending = path.extension().unwrap_or_default();
    let tiff = ["tif", "tiff"].iter().any(|known| ending.eq_ignore_ascii_case(known));
    Ok(if tiff && path.is_file() { Georeference::read(path)? } else { None })
}

/// The last component of an image's name, for an image without a path below a folder.
fn file_name(name: &str) -> PathBuf {
    Path::new(name).file_name().map_or_else(|| "image".into(), PathBuf::from)
}

struct Predictor<'a> {
    args: &'a Args,
    model: Segmenter,
    source: Arc<dyn ImageSource>,
    shown: Shown,
    pass: SegmentationPass,
    outputs: Outputs,
}

impl Predictor<'_> {
    fn run(&self) -> Result<ExitCode> {
        let len = self.source.len();
        self.write_classes()?;
        let todo: Vec<usize> = (0..len).filter(|index| !self.is_written(*index)).collect();
        if todo.len() < len {
            say(format_args!("continuing after {} of {len} images", len - todo.len()));
        }
        let (stop, mut progress, mut unread) = (StopFlag::listen()?, Progress::start(), 0);
        for (done, &index) in todo.iter().enumerate() {
            match self.source.load(index) {
                Ok(image) => self.write(index, &image)?,
                Err(error) => {
                    unread += 1;
                    output::warn(format_args!("not read: {}\n", mae_trainer::chain(&error)));
                }
            }
            if stop.raised() && done + 1 < todo.len() {
                output::warn("stopped; the same command continues\n");
                return Ok(ExitCode::from(INTERRUPTED));
            }
            progress.tell(done + 1, todo.len(), len, "images", String::new);
        }
        let folder = self.outputs.folder.display();
        ensure!(unread < len, "none of the {len} images in {} can be read", self.args.images.display());
        output::tell(format_args!("written         {} label maps in {folder}\n", len - unread));
        Ok(ExitCode::SUCCESS)
    }

    /// Whether all files of an image are written and its label map is not older than the image.
    fn is_written(&self, index: usize) -> bool {
        let changed = |path: PathBuf| std::fs::metadata(path).and_then(|file| file.modified()).ok();
        let Some(written) = changed(self.outputs.mask(index)) else { return false };
        let image = changed(file_of(&self.args.images, self.source.as_ref(), index));
        image.is_none_or(|image| image <= written)
            && (self.args.no_overlays || self.outputs.overlay(index).exists())
    }

    /// Predicts an image's label map and writes it after the overlay: if the label map exists, both are complete.
    fn write(&self, index: usize, image: &AnyImage) -> Result<()> {
        let labels = self.pass.labels(&self.model, image)?;
        // Pixels without data have no class.
        let labels = LabelMap::new(labels.height(), labels.width(), labels.into_data())?
            .where_known(image)
            .into_image();
        if !self.args.no_overlays {
            let shape = [1, image.channels(), image.height(), image.width()];
            let shown = self.shown.images(&image.planes(), shape)?.remove(0);
            let path = self.outputs.overlay(index);
            make_folder(path.parent().unwrap_or(&path))?;
            save_png(&overlay_labels(&shown, &labels, 0.5)?, path)?;
        }
        let path = self.outputs.mask(index);
        make_folder(path.parent().unwrap_or(&path))?;
        let classes = self.model.config().classes.len();
        match georeference(&self.args.images, self.source.as_ref(), index)? {
            Some(georeference) => save_label_tiff(&labels, classes, &georeference, path)?,
            None => save_label_png(&labels, classes, path)?,
        }
        Ok(())
    }

    /// Writes the classes as `mae segment --classes` reads them.
    fn write_classes(&self) -> Result<()> {
        let class = |(value, name): (usize, &String)| {
            let [red, green, blue] = class_colour(u16::try_from(value)?);
            // A JSON string is also a TOML string.
            let name = serde_json::to_string(name)?;
            Ok(format!(
                "[[class]]\nname = {name}\nvalue = {value}\ncolour = \"#{red:02x}{green:02x}{blue:02x}\"\n"
            ))
        };
        let classes =
            self.model.config().classes.iter().enumerate().map(class).collect::<Result<Vec<_>>>()?;
        // The value to ignore, as in label maps of 8 bits.
        let ignore = if classes.len() <= 255 { "ignore = [255]\n\n" } else { "" };
        let (path, text) =
            (self.outputs.folder.join("classes.toml"), ignore.to_owned() + &classes.join("\n"));
        Ok(write_atomic(path, |file| file.write_all(text.as_bytes()))?)
    }
}
