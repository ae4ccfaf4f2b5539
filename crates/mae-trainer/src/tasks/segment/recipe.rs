//! The sections of a segmentation recipe.

use std::path::PathBuf;

use mae_data::{ClassMap, PixelFormat};
use mae_model::UperNetConfig;
use mae_vit::{Geometry, StackConfig};
use serde::{Deserialize, Serialize};

use crate::recipe::within;
use crate::tasks::encoder::EncoderRecipe;
use crate::{DataRecipe, Recipe, Section, TaskRecipe, TrainerError};

crate::sections! {
    /// The sections of a segmentation recipe.
    pub SegmentRecipe => SegmentSettings {
        /// The encoder to start from.
        model: EncoderRecipe,
        /// The label maps.
        maps: MapsRecipe,
        /// The head, and how it is trained.
        segment: SegmentingRecipe,
        /// How whole images are segmented, for evaluation and prediction.
        predict: PredictRecipe,
    }
}

crate::section! {
    /// The section of a [`SegmentRecipe`] about label maps: a class for each pixel of an image.
    pub MapsRecipe => MapsSettings {
        /// Folder of the training images' label maps.
        Images path: PathBuf = PathBuf::new();
        /// Folder of the held-out images' label maps.
        Local val: Option<PathBuf> = None;
        /// Text file that names the training images, one per line, with or without extension, such as VOC's
        /// `ImageSets/Segmentation/train.txt`; by default all images that have a label map.
        Images list: Option<PathBuf> = None;
        /// Text file that names the held-out images, as `list` does.
        Local val_list: Option<PathBuf> = None;
        /// A class map: a TOML or JSON file, or the name of a built-in one, voc or ade20k. By default the values that
        /// the maps contain, in order, and 255 is ignored.
        Fixed classes: Option<String> = None;
        /// The name of an image's map below the folder, such as `{stem}_mask.png`; by default the image's own, as PNG
        /// or TIFF.
        Fixed template: Option<String> = None;
    }
}

/// The head that predicts classes from an encoder's tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeadKind {
    /// Batch norm and a 1×1 convolution on the last block's tokens.
    Linear,
    /// UPerNet on a pyramid of the tokens after four blocks.
    #[default]
    UperNet,
}

crate::section! {
    /// The section of a [`SegmentRecipe`] about the head and its training.
    pub SegmentingRecipe => SegmentingSettings {
        /// The head: linear or upernet.
        Fixed head: HeadKind = HeadKind::default();
        /// (height, width) in pixels of training crops and of the windows of an evaluation; the encoder's by default.
        /// For another size, positions are resampled.
        Fixed crop_size: (usize, usize);
        /// Channels of UPerNet's layers.
        Fixed channels: usize = 256;
        /// The blocks, counted from 1, whose tokens UPerNet takes. By default those at a third, a half and two thirds
        /// of the depth, and the last.
        Fixed levels: [usize; 4];
        /// Weight of the loss of UPerNet's auxiliary head; 0 for none.
        Fixed auxiliary: f64 = 0.4;
        /// Share of the channels before UPerNet's scores that dropout drops in training.
        Fixed dropout: f64 = 0.1;
        /// Whether to start from random weights of the same shape instead of the file's, as a baseline for
        /// pre-training.
        Fixed from_scratch: bool = false;
        /// The number of last blocks of the encoder to train. By default none below a linear head, and below UPerNet
        /// all, with the layers before them.
        Fixed blocks: usize;
        /// The factor on a layer's learning rate for each layer above it.
        Free layer_decay: f64 = 0.75;
        /// Share of the samples for which a branch of the last block is dropped. It decreases linearly towards the
        /// first block.
        Free drop_path: f64 = 0.0;
        /// The shorter side in pixels that images are resized to before they are scaled and cropped, or evaluated; 0
        /// keeps their size. By default the shorter side of `crop_size`.
        Free short_side: usize;
        /// Range of the factor by which training images are scaled.
        Free scale: (f64, f64) = (0.5, 2.0);
        /// The largest share of a training crop that one class may have, unless ten draws find no such crop.
        Free max_share: f64 = 0.75;
        /// Whether brightness, contrast, saturation and hue of training images are changed; by default for 8-bit RGB.
        Free distortion: bool;
        /// Weights of the classes in the cross entropy, one each; equal by default.
        Free class_weights: Vec<f64> = Vec::new();
        /// Weight of the Dice loss beside the cross entropy.
        Free dice: f64 = 0.0;
    }
}

/// How a model of one image size segments an image of another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PredictMode {
    /// Overlapping windows of the model's size, whose scores are averaged.
    #[default]
    Slide,
    /// The image resized to the model's size, whatever its aspect ratio.
    Whole,
}

crate::section! {
    /// The section of a [`SegmentRecipe`] about the prediction of whole images.
    pub PredictRecipe => PredictSettings {
        /// The mode: slide or whole.
        Free mode: PredictMode = PredictMode::default();
        /// Step from one window to the next as a share of the window's side.
        // mmseg uses a step of 341 for windows of 512.
        Free stride: f64 = 2.0 / 3.0;
        /// Whether probabilities are averaged with those of the mirrored image.
        Free flip: bool = false;
        /// Factors on the image's size. The probabilities at all of these sizes are averaged.
        Free scales: Vec<f64> = vec![1.0];
    }
}

impl TaskRecipe for SegmentRecipe {
    const TASK: &'static str = "segment";

    const NAMED: &'static [(&'static str, &'static str)] =
        crate::named!("segment", ["segment-small", "segment-linear", "uper-base"]);

    fn defaults(recipe: &mut Recipe<Self>) {
        recipe.train.epochs = 50;
        recipe.optim.min_lr = 1e-6;
        recipe.optim.betas = (0.9, 0.999);
        recipe.eval.keep_checkpoints = 1;
    }
}

impl SegmentRecipe {
    /// Fills in open fields that follow from the encoder, and checks every value. Returns the geometry of the model's
    /// images.
    pub(super) fn fill(&mut self, data: &mut DataRecipe) -> Result<Geometry, TrainerError> {
        self.maps.fill()?;
        let file = self.model.fill(data)?;
        let size = *self.segment.crop_size.get_or_insert(file.image_size());
        let geometry = Geometry::new(size, file.patch_size(), file.in_chans())?;
        let stack = self.model.encoder.as_ref().map(|encoder| &encoder.stack);
        self.segment.fill(stack, data.pixels.unwrap_or_default())?;
        self.predict.clone().settle().check()?;
        within_data(data)?;
        Ok(geometry)
    }
}

/// Refuses settings of the section `data` that have no effect on segmentation.
fn within_data(data: &DataRecipe) -> Result<(), TrainerError> {
    within(
        "resize",
        data.resize.is_none(),
        data.resize.unwrap_or(0),
        "left out for segmentation, which has segment.short_side",
    )?;
    let (low, high) = data.crop_scale;
    let usual = data.crop_scale == DataRecipe::default().crop_scale;
    within(
        "crop_scale",
        usual,
        format!("{low} to {high}"),
        "left out for segmentation, which has segment.scale",
    )?;
    for (name, table) in [("labels", &data.labels), ("val_labels", &data.val_labels)] {
        let table = table.as_ref().map_or_else(String::new, |path| path.display().to_string());
        within(
            name,
            table.is_empty(),
            table,
            "left out for segmentation, whose label maps give the classes",
        )?;
    }
    for (name, value) in [("rand_augment", data.rand_augment), ("erasing", data.erasing)] {
        within(name, value == 0.0, value, "0 for segmentation, which has segment.distortion")?;
    }
    Ok(())
}

impl MapsRecipe {
    /// Makes the class map's path absolute, so that it stays valid wherever the run is resumed.
    fn fill(&mut self) -> Result<(), TrainerError> {
        if self.path.as_os_str().is_empty() {
            return Err(TrainerError::argument("maps.path", "not given", "a folder of label maps"));
        }
        let Some(classes) = self.classes.as_mut().filter(|name| !ClassMap::NAMES.contains(&name.as_str()))
        else {
            return Ok(());
        };
        let mut path = PathBuf::from(classes.as_str());
        crate::recipe::settle("maps.classes", &mut path)?;
        if !path.is_file() {
            let bound = "a TOML or JSON file, or voc or ade20k";
            return Err(TrainerError::argument("maps.classes", path.display(), bound));
        }
        path.to_str().unwrap_or(classes).to_owned().clone_into(classes);
        Ok(())
    }
}

impl SegmentingRecipe {
    fn fill(&mut self, stack: Option<&StackConfig>, pixels: PixelFormat) -> Result<(), TrainerError> {
        let (height, width) = self.crop_size.unwrap_or_default();
        self.short_side.get_or_insert(height.min(width));
        let colours = pixels == PixelFormat::Rgb8;
        let distortion = *self.distortion.get_or_insert(colours);
        within(
            "distortion",
            colours || !distortion,
            distortion,
            &format!("false for {pixels}: it needs 8-bit RGB"),
        )?;
        let depth = stack.map_or(0, |stack| stack.depth);
        self.levels
            .get_or_insert(stack.map_or([1, 2, 3, 4], |stack| UperNetConfig::for_encoder(stack).blocks));
        let all = if self.head == HeadKind::Linear { 0 } else { depth };
        let blocks = *self.blocks.get_or_insert(all);
        within("blocks", blocks <= depth, blocks, &format!("at most the encoder's {depth} blocks"))?;
        let scratch = blocks == depth || !self.from_scratch;
        within("blocks", scratch, blocks, &format!("the encoder's {depth} blocks if they start at random"))?;
        within("channels", self.channels > 0, self.channels, "at least 1")?;
        within("drop_path", (0.0..1.0).contains(&self.drop_path), self.drop_path, "in [0, 1)")?;
        let decay = self.layer_decay;
        within("layer_decay", decay > 0.0 && decay <= 1.0, decay, "in (0, 1]")?;
        let share = self.max_share;
        within("max_share", share > 0.0 && share <= 1.0, share, "in (0, 1]")?;
        let (low, high) = self.scale;
        let range = low > 0.0 && low <= high && high.is_finite();
        within("scale", range, format!("{low} to {high}"), "a range of positive factors")?;
        for (name, weight) in [("auxiliary", self.auxiliary), ("dice", self.dice)] {
            within(name, weight >= 0.0 && weight.is_finite(), weight, "at least 0")?;
        }
        Ok(())
    }
}

impl PredictSettings {
    /// Checks every value.
    ///
    /// # Errors
    /// If a value is out of bounds. The error names the field, its value and the bound.
    pub fn check(&self) -> Result<(), TrainerError> {
        let stride = self.stride;
        within("stride", stride > 0.0 && stride <= 1.0, stride, "in (0, 1]")?;
        within("scales", !self.scales.is_empty(), "empty", "at least one factor")?;
        for &scale in &self.scales {
            within("scales", scale > 0.0 && scale.is_finite(), scale, "positive factors")?;
            let whole = self.mode == PredictMode::Whole;
            within("scales", !whole || scale == 1.0, scale, "1 for whole images, whose size is the model's")?;
        }
        Ok(())
    }
}
