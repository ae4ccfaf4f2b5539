//! Options that change a recipe of any task.

use std::path::PathBuf;

use clap::Args;
use mae_data::PixelFormat;
use mae_vit::{Normalize, Precision};

use super::{fill, set};
use crate::pixels::dtype;
use crate::{OnNan, Recipe, TaskRecipe, TrainerError};

/// Options that change a [`Recipe`] of any task.
#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(next_help_heading = "Recipe")]
pub struct RecipeArgs {
    /// TOML file to start from; other options override it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Training images: a folder (with a sub-folder per class if there are labels), packed images, or a table [default:
    /// built-in shapes].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// Held-out images to evaluate on, in the same forms.
    #[arg(long, value_name = "DIR")]
    pub val: Option<PathBuf>,

    /// Table of the images' classes (.csv, .tsv or .jsonl), for a folder without a sub-folder per class.
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,

    /// Table of the held-out images' classes [default: the table of --labels].
    #[arg(long, value_name = "FILE")]
    pub val_labels: Option<PathBuf>,

    /// Separator of classes in a cell of the table, such as ';'; each image may then have several classes, or none.
    #[arg(long, value_name = "TEXT")]
    pub label_separator: Option<String>,

    /// Share of each class to hold out for evaluation, such as 0.2, instead of --val.
    #[arg(long, value_name = "SHARE", conflicts_with = "val")]
    pub val_share: Option<f64>,

    /// Passes over the data set.
    #[arg(long)]
    pub epochs: Option<u64>,

    /// Images per forward pass, on each rank.
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,

    /// Gradient accumulation: forward passes per update, whose gradients are averaged.
    #[arg(long, value_name = "N")]
    pub accum_iter: Option<usize>,

    /// Precision of matrix products, f32 or bf16 [default: bf16 on GPUs that support it, else f32].
    #[arg(long)]
    pub precision: Option<Precision>,

    /// Recompute activations in the backward pass instead of keeping them: less memory, a third more work.
    #[arg(long)]
    pub grad_checkpointing: bool,

    /// Learning rate for an effective batch of 256 images.
    #[arg(long, value_name = "LR")]
    pub base_lr: Option<f64>,

    /// Epochs of linear warm-up [default: a tenth of all].
    #[arg(long, value_name = "EPOCHS")]
    pub warmup_epochs: Option<f64>,

    /// Gradient clipping: largest norm over all parameters; larger gradients are scaled down to it [default: none].
    #[arg(long, value_name = "NORM")]
    pub clip_grad: Option<f64>,

    /// Evaluate and keep an exponential moving average of the weights, with this decay, such as 0.999 [default: none].
    #[arg(long, value_name = "DECAY")]
    pub ema: Option<f64>,

    /// What to do if the loss or gradient of an update is not finite [default: stop].
    #[arg(long)]
    pub on_nan: Option<OnNan>,

    /// Mirror a random half of the training images left to right.
    #[arg(long, value_name = "BOOL")]
    pub flip: Option<bool>,

    /// Mirror a random half of the training images top to bottom, for images without an upright orientation.
    #[arg(long)]
    pub flip_vertical: bool,

    /// Rotate the training images by 0, 90, 180 or 270 degrees, with equal probability.
    #[arg(long)]
    pub quarter_turns: bool,

    /// Draw each training crop in a square window of PX pixels at a random place, and evaluate the central window; for
    /// scenes that are much larger than the model should see at a time.
    #[arg(long, value_name = "PX")]
    pub window: Option<usize>,

    /// Samples of each image per epoch, at different times [default: 1].
    #[arg(long, value_name = "N")]
    pub crops_per_image: Option<usize>,

    /// Smallest area of a training crop, as a share of the image or the window.
    #[arg(long, value_name = "SHARE")]
    pub min_crop: Option<f64>,

    /// Magnitude of RandAugment, 0 to 10: 9 in the paper's fine-tuning [default: 0].
    #[arg(long, value_name = "X")]
    pub rand_augment: Option<f64>,

    /// Random erasing: share of the training images in which a rectangle is replaced by noise [default: 0].
    #[arg(long, value_name = "SHARE")]
    pub erasing: Option<f64>,

    /// Crops of each decoded image; all go into the same batch [default: 1].
    #[arg(long, value_name = "N")]
    pub repeats: Option<usize>,

    /// For evaluation, resize images to cover the model's size enlarged to PX pixels on its shorter side, then crop the
    /// centre [default: the model's own size].
    #[arg(long, value_name = "PX")]
    pub resize: Option<usize>,

    /// Pixel format to decode images to: rgb8, or the stored type and number of channels, such as u16x1 or f32x13
    /// [default: the weight file's, else the images' own if they agree, else rgb8].
    #[arg(long, value_name = "FORMAT")]
    pub pixels: Option<PixelFormat>,

    /// Mean of each channel for normalisation, such as 0.5,0.5,0.5; for u16 and f32 in the pixels' own units [default:
    /// the weight file's, else ImageNet's for rgb8, else measured].
    #[arg(long, value_name = "X,…", value_delimiter = ',', requires = "std")]
    pub mean: Vec<f32>,

    /// Standard deviation of each channel.
    #[arg(long, value_name = "X,…", value_delimiter = ',', requires = "mean")]
    pub std: Vec<f32>,

    /// Threads that decode images.
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,

    /// Stop at the first unreadable image, instead of replacing up to 5% of them.
    #[arg(long)]
    pub strict: bool,

    /// Epochs between evaluations and pictures; the first and the last epoch are evaluated too [default: a tenth of the
    /// run, in pre-training at least 5].
    #[arg(long, value_name = "N")]
    pub eval_epochs: Option<u64>,

    /// Channels to show in pictures, counted from 1: one, or three for red, green and blue, such as 4,3,2 [default:
    /// 1,2,3; 1 if there are fewer].
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub show: Option<Vec<usize>>,

    /// Early stopping: end the run after this many evaluations in a row without an improvement on the best one
    /// [default: never].
    #[arg(long, value_name = "N")]
    pub patience: Option<u64>,

    /// Updates between checkpoints, in addition to those by time.
    #[arg(long, value_name = "N")]
    pub checkpoint_steps: Option<u64>,

    /// Minutes between checkpoints [default: 5].
    #[arg(long, value_name = "MINUTES")]
    pub checkpoint_minutes: Option<f64>,

    /// Updates between reads of loss and gradient norm [default: 10 on GPUs, else 1].
    #[arg(long, value_name = "N")]
    pub metric_steps: Option<u64>,

    /// Seed of everything random.
    #[arg(long)]
    pub seed: Option<u64>,

    /// Set any field of the recipe, named as in TOML: --set optim.min_lr=1e-5. May be repeated; overrides all other
    /// options.
    #[arg(long, value_name = "FIELD=VALUE", value_parser = parse_set)]
    pub set: Vec<(String, String)>,
}

fn parse_set(text: &str) -> Result<(String, String), String> {
    let (field, value) = text.split_once('=').ok_or("expected FIELD=VALUE, such as optim.min_lr=1e-5")?;
    Ok((field.trim().to_owned(), value.trim().to_owned()))
}

impl RecipeArgs {
    /// Applies the options to a recipe.
    ///
    /// # Errors
    /// If means and standard deviations do not fit together.
    pub(super) fn apply<S: TaskRecipe>(&self, recipe: &mut Recipe<S>) -> Result<(), TrainerError> {
        let Recipe { train, data, optim, eval, .. } = recipe;
        set(&mut train.epochs, &self.epochs);
        fill(&mut train.batch_size, &self.batch_size);
        set(&mut train.accum_iter, &self.accum_iter);
        fill(&mut train.precision, &self.precision);
        train.grad_checkpointing |= self.grad_checkpointing;
        set(&mut train.seed, &self.seed);
        fill(&mut data.path, &self.data);
        fill(&mut data.val, &self.val);
        fill(&mut data.labels, &self.labels);
        fill(&mut data.val_labels, &self.val_labels);
        fill(&mut data.label_separator, &self.label_separator);
        fill(&mut data.val_share, &self.val_share);
        set(&mut data.workers, &self.workers);
        set(&mut data.repeats, &self.repeats);
        set(&mut data.flip, &self.flip);
        data.flip_vertical |= self.flip_vertical;
        data.quarter_turns |= self.quarter_turns;
        fill(&mut data.window, &self.window);
        set(&mut data.crops_per_image, &self.crops_per_image);
        set(&mut data.crop_scale.0, &self.min_crop);
        set(&mut data.rand_augment, &self.rand_augment);
        set(&mut data.erasing, &self.erasing);
        fill(&mut data.resize, &self.resize);
        data.strict |= self.strict;
        fill(&mut data.pixels, &self.pixels);
        fill(&mut eval.show, &self.show);
        if !self.mean.is_empty() {
            let dtype = dtype(data.pixels.unwrap_or_default().pixel_type());
            data.normalize = Some(Normalize::of(dtype, self.mean.clone(), self.std.clone())?);
        }
        set(&mut optim.base_lr, &self.base_lr);
        fill(&mut optim.warmup_epochs, &self.warmup_epochs);
        fill(&mut optim.clip_grad, &self.clip_grad);
        fill(&mut optim.ema, &self.ema);
        set(&mut optim.on_nan, &self.on_nan);
        fill(&mut eval.every_epochs, &self.eval_epochs);
        fill(&mut eval.metric_steps, &self.metric_steps);
        fill(&mut eval.patience, &self.patience);
        fill(&mut eval.checkpoint_steps, &self.checkpoint_steps);
        set(&mut eval.checkpoint_minutes, &self.checkpoint_minutes);
        Ok(())
    }
}
