//! Trains a segmenter.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use mae_data::SegmentationFolders;
use mae_trainer::cli::{Ended, TaskArgs, TrainArgs, fill, output, parse_size, set, task_and_recipe};
use mae_trainer::{
    Collective, DataRecipe, HeadKind, INTERRUPTED, MapsRecipe, Recipe, Segment, SegmentRecipe, TaskRecipe,
    TrainerError,
};

use crate::weights::Described;

/// Options of training a segmenter.
#[derive(clap::Args, Clone, Debug)]
pub struct SegmentArgs {
    /// Weights with an encoder: a file, a run's folder, or a folder of transformers.
    #[arg(required_unless_present_any = ["resume", "config"])]
    weights: Option<PathBuf>,
    /// Training images. Without MASKS: the folder of a data set with train/images, train/masks, val/images and
    /// val/masks, or of PASCAL VOC or ADE20K as distributed.
    #[arg(required_unless_present_any = ["resume", "config"], conflicts_with = "data")]
    images: Option<PathBuf>,
    /// Label maps of the training images: a folder with a PNG or TIFF file of the same name for each image.
    masks: Option<PathBuf>,
    /// Held-out images to evaluate on.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["val", "val_share"])]
    val_images: Option<PathBuf>,
    /// Label maps of the held-out images.
    #[arg(long, value_name = "DIR", requires = "val_images")]
    val_masks: Option<PathBuf>,
    /// Text file that names the training images, one per line [default: all images that have a label map].
    #[arg(long, value_name = "FILE", requires = "masks")]
    list: Option<PathBuf>,
    /// Text file that names the held-out images, one per line [default: all images that have a label map].
    #[arg(long, value_name = "FILE", requires = "val_images")]
    val_list: Option<PathBuf>,
    /// Names, values and colours of the classes: a TOML or JSON file, or voc or ade20k [default: the values in the label maps].
    #[arg(long, value_name = "FILE", help_heading = "Recipe")]
    classes: Option<String>,
    /// Template of a label map's name below the folder, such as {stem}_mask.png [default: the image's name, as PNG or
    /// TIFF].
    #[arg(long, value_name = "TEMPLATE", help_heading = "Recipe")]
    mask_name: Option<String>,
    /// Head on the encoder: a linear layer on frozen tokens, or UPerNet [default: upernet].
    #[arg(long, value_enum, help_heading = "Recipe")]
    head: Option<Head>,
    /// Size in pixels of training crops and evaluation windows, such as 512, or 512x640 for height and width; the
    /// encoder's positions are resampled to it [default: the encoder's image size].
    #[arg(long, value_name = "PX", value_parser = parse_size, help_heading = "Recipe")]
    crop_size: Option<(usize, usize)>,
    /// Channels of UPerNet's layers [default: 256].
    #[arg(long, value_name = "N", help_heading = "Recipe")]
    channels: Option<usize>,
    /// Train only the last N blocks of the encoder [default: all with UPerNet, none with a linear head].
    #[arg(long, value_name = "N", help_heading = "Recipe")]
    blocks: Option<usize>,
    /// Start from random weights of the same shape, as a baseline.
    #[arg(long, help_heading = "Recipe")]
    from_scratch: bool,
    /// Layer-wise decay: factor on the learning rate from each layer to the one below it [default: 0.75].
    #[arg(long, value_name = "X", help_heading = "Recipe")]
    layer_decay: Option<f64>,
    /// Drop-path rate (stochastic depth) of the last block; it decreases linearly towards the first [default: 0].
    #[arg(long, value_name = "SHARE", help_heading = "Recipe")]
    drop_path: Option<f64>,
    /// Resize images to PX pixels on the shorter side, before scaling and cropping and before evaluation; 0 keeps their
    /// size [default: the model's shorter side].
    #[arg(long, value_name = "PX", help_heading = "Recipe")]
    short_side: Option<usize>,
    /// Weight of the Dice loss, which is added to the cross entropy [default: 0].
    #[arg(long, value_name = "X", help_heading = "Recipe")]
    dice: Option<f64>,
    /// Print the scores as JSON, with the confusion matrix: rows are the true classes.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    described: Described,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Head {
    /// Batch norm and a 1x1 convolution on the last tokens of a frozen encoder.
    Linear,
    /// UPerNet on the tokens after four blocks.
    Upernet,
}

impl TaskArgs for SegmentArgs {
    type Task = Segment;

    fn apply(&self, recipe: &mut Recipe<SegmentRecipe>) -> Result<(), TrainerError> {
        fill(&mut recipe.data.path, &self.images);
        fill(&mut recipe.data.val, &self.val_images);
        let SegmentRecipe { model, maps, segment, .. } = &mut recipe.task;
        set(&mut maps.path, &self.masks);
        fill(&mut maps.val, &self.val_masks);
        fill(&mut maps.list, &self.list);
        fill(&mut maps.val_list, &self.val_list);
        if let (Some(root), None) = (&self.images, &self.masks) {
            lay_out(root, &mut recipe.data, maps)?;
        }
        fill(&mut maps.classes, &self.classes);
        fill(&mut maps.template, &self.mask_name);
        if let Some(head) = self.head {
            segment.head = match head {
                Head::Linear => HeadKind::Linear,
                Head::Upernet => HeadKind::UperNet,
            };
        }
        set(&mut segment.channels, &self.channels);
        fill(&mut segment.blocks, &self.blocks);
        segment.from_scratch |= self.from_scratch;
        set(&mut segment.layer_decay, &self.layer_decay);
        set(&mut segment.drop_path, &self.drop_path);
        fill(&mut segment.short_side, &self.short_side);
        set(&mut segment.dice, &self.dice);
        fill(&mut segment.crop_size, &self.crop_size);
        set(&mut model.weights, &self.weights);
        fill(&mut model.weights_key, &self.described.weights_key);
        if self.weights.is_some() {
            // Opening the file prints which of several models is used.
            let file = crate::weights::open(&model.weights, model.weights_key.as_deref())?;
            model.encoder = Some(file.vit_config(&self.described.hints())?);
        }
        Ok(())
    }

    fn folder_name(recipe: &Recipe<SegmentRecipe>, named: Option<&str>) -> String {
        let name = task_and_recipe(SegmentRecipe::TASK, named);
        match (recipe.task.segment.from_scratch, recipe.task.segment.head) {
            (true, _) => format!("{name}-scratch"),
            (false, HeadKind::Linear) if !name.contains("linear") => format!("{name}-linear"),
            _ => name,
        }
    }
}

/// Fills in the folders, lists and classes of the data set at `root`. Its held-out images are used unless the recipe
/// has others.
///
/// A recipe that already has a folder of label maps may name a folder of images alone.
fn lay_out(root: &Path, data: &mut DataRecipe, maps: &mut MapsRecipe) -> Result<(), TrainerError> {
    let Some(train) = SegmentationFolders::find(root, "train") else {
        if !maps.path.as_os_str().is_empty() {
            return Ok(());
        }
        let bound = "followed by the folder of the label maps, or have train/images and train/masks, JPEGImages and SegmentationClass with \
                     ImageSets/Segmentation/train.txt (VOC), or images/training and annotations/training (ADE20K)";
        let (value, bound) = (root.display().to_string(), bound.into());
        return Err(TrainerError::Argument { name: "IMAGES", value, bound });
    };
    data.path = Some(train.images);
    (maps.path, maps.list) = (train.maps, train.list);
    if maps.classes.is_none() {
        maps.classes = train.classes.map(|classes| classes.display().to_string());
    }
    if data.val.is_none()
        && data.val_share.is_none()
        && let Some(val) = SegmentationFolders::find(root, "val")
    {
        data.val = Some(val.images);
        (maps.val, maps.val_list) = (Some(val.maps), val.list);
    }
    Ok(())
}

pub fn run(args: &TrainArgs<SegmentArgs>, ranks: &Arc<dyn Collective>) -> Result<ExitCode> {
    let json = args.own.json;
    let tell = |text: String| if json { output::warn(text) } else { output::tell(text) };
    let quiet = args.quiet || json;
    match (TrainArgs { quiet, ..args.clone() }).train(ranks, &tell)? {
        Ended::Stopped => return Ok(ExitCode::from(INTERRUPTED)),
        _ if !ranks.is_main() => {}
        Ended::DryRun(text) => output::print(text)?,
        Ended::Finished(run, summary) => match run.task.scores() {
            Some(scores) if json => {
                output::print(format_args!("{}\n", serde_json::to_string_pretty(&scores.to_json()?)?))?;
            }
            Some(scores) => output::tell(format_args!("\n{}\n{}\n", scores.table()?, summary.trim_end())),
            None => output::tell(format_args!("\n{summary}")),
        },
    }
    Ok(ExitCode::SUCCESS)
}
