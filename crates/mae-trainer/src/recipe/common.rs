//! The sections that every task has.

use std::path::PathBuf;

use mae_data::PixelFormat;
use mae_vit::{Normalize, Precision};

use crate::{AdamW, OnNan, RateDecay};

crate::section! {
    /// How long a run trains, in which batches and with which precision: the top-level keys of a
    /// [`Recipe`](crate::Recipe).
    pub TrainRecipe => TrainSettings {
        /// The seed of everything random: weights, order, crops, masks.
        Fixed seed: u64 = 0;
        /// Passes over the data set.
        Free epochs: u64 = 100;
        /// Images of one forward pass on each rank. Each crop counts if `data.repeats` makes several. By default, at
        /// most 64 and at most a quarter of the rank's share of an epoch.
        Batch batch_size: usize;
        /// Forward passes whose gradients are averaged for one update.
        Batch accum_iter: usize = 1;
        /// Processes that train together; filled in when a run is made. An update takes
        /// `batch_size · accum_iter · ranks` images.
        Batch ranks: usize;
        /// The dtype of matrix products: f32 by default; on the command line, bf16 if the device is a GPU that supports
        /// it.
        Free precision: Precision;
        /// Whether blocks recompute their activations in the backward pass instead of keeping them.
        Free grad_checkpointing: bool = false;
    }
}

crate::section! {
    /// The data section of a recipe.
    pub DataRecipe => DataSettings {
        /// Folder of images, one sub-folder per class, or of tar files packed from them. Without it, the built-in
        /// shapes are used.
        Images path: Option<PathBuf> = None;
        /// Folder of held-out images to measure on.
        Local val: Option<PathBuf> = None;
        /// Table of the images' classes, for a folder without class folders; see [`LabelTable`](mae_data::LabelTable).
        /// It also applies to the held-out images, unless they have a table of their own.
        Images labels: Option<PathBuf> = None;
        /// Separator between the classes in a cell of the table. With it, each image may have several classes or none.
        Fixed label_separator: Option<String> = None;
        /// Table of the held-out images' classes.
        Local val_labels: Option<PathBuf> = None;
        /// Share of the images of each class that is held out for evaluation, drawn by the seed. Only without a folder
        /// of held-out images.
        Fixed val_share: Option<f64> = None;
        /// Decoding threads.
        Local workers: usize = 1;
        /// Decoded batches held in memory ahead of the model.
        Local prefetch_batches: usize = 4;
        /// Share of unreadable files that a run tolerates.
        Free max_bad_share: f64 = 0.05;
        /// Whether to stop at the first unreadable file.
        Free strict: bool = false;
        /// Side in pixels of a square window that stands for the image. Training crops are drawn within a window at a
        /// random position; evaluation sees the central one. For scenes that are much larger than what the model should
        /// see at a time.
        Free window: Option<usize> = None;
        /// Samples that an epoch takes from each image, at different times.
        Fixed crops_per_image: usize = 1;
        /// Range of a training crop's area, as a share of the image or the window. By default 0.2 to 1 for
        /// pre-training, 0.08 to 1 for probes and fine-tuning.
        // MAE table 8 and §A.1: torchvision's RandomResizedCrop with this scale, or with torchvision's default.
        Free crop_scale: (f64, f64) = (0.2, 1.0);
        /// Whether a random half of the training images is mirrored.
        Free flip: bool = true;
        /// Whether a random half of the training images is mirrored top to bottom, which suits images without an
        /// upright orientation.
        Free flip_vertical: bool = false;
        /// Whether the training images are rotated by 0, 90, 180 or 270 degrees, with equal probability.
        Free quarter_turns: bool = false;
        /// RandAugment's magnitude, 0 to 10; 0 turns it off. It applies two operations per image, with magnitudes that
        /// have a standard deviation of 0.5.
        Free rand_augment: f64 = 0.0;
        /// Share of the training images in which a rectangle is replaced by noise.
        Free erasing: f64 = 0.0;
        /// Pixels of the model's shorter side when evaluation resizes images, before it crops them; the model's own by
        /// default. See [`EvalTransform::new`](mae_data::EvalTransform::new).
        Free resize: Option<usize> = None;
        /// Crops made of each image when it is decoded. All of them are in the same batch, and an epoch is longer by
        /// that factor.
        Fixed repeats: usize = 1;
        /// Whether an epoch leaves out images that do not fill an update. Otherwise, its last update is filled up with
        /// images from the epoch's start. True by default, as in the official code's loader.
        Fixed drop_last: bool = true;
        /// Number of built-in shapes to train on.
        Fixed shapes: usize = 8192;
        /// The format that image files are decoded to: rgb8, or the stored type and number of channels, such as u16x1
        /// or f32x13. By default, that of the weight file, or that of the image files if 32 of them, spread over the
        /// folder, agree; otherwise rgb8.
        Fixed pixels: PixelFormat;
        /// Means and standard deviations of the pixels, by channel. By default, those of the weight file, ImageNet's
        /// for rgb8, or those measured on at most 1000 training images.
        Fixed normalize: Normalize;
        /// Number of training images: filled in when a run is made, and checked against the folder when it is resumed.
        Fixed images: usize;
    }
}

crate::section! {
    /// The optimizer section of a recipe.
    pub OptimRecipe => OptimSettings {
        /// Learning rate for an effective batch of 256 images.
        // Small batches need a higher rate per image than the paper's 1.5e-4 at 4096 images.
        Free base_lr: f64 = 2e-3;
        /// Learning rate at the end of the schedule.
        Free min_lr: f64 = 0.0;
        /// Shape of the decay of the learning rate after warm-up: cosine or linear.
        Free schedule: RateDecay = RateDecay::default();
        /// Epochs of linear warm-up; a tenth of the epochs by default.
        Free warmup_epochs: f64;
        /// AdamW's decay rates of the first and second moment; 0.9 and 0.999 by default for fine-tuning and
        /// segmentation.
        Free betas: (f32, f32) = (0.9, 0.95);
        /// The constant that AdamW adds to the square root of the second moment.
        Free eps: f32 = 1e-8;
        /// AdamW's decoupled weight decay, for the parameters that have weight decay.
        Free weight_decay: f32 = 0.05;
        /// Maximum norm of the gradient over all parameters; larger gradients are scaled down to it.
        Free clip_grad: Option<f64> = None;
        /// Decay of a moving average of the weights. If set, the average is what is evaluated, drawn and kept at the
        /// end.
        Free ema: Option<f64> = None;
        /// What happens to an update whose loss or gradient is not finite.
        Free on_nan: OnNan = OnNan::Stop;
        /// Maximum number of updates that are skipped for that reason.
        Free max_nan: u64 = 10;
    }
}

crate::section! {
    /// The evaluation section of a recipe.
    pub EvalRecipe => EvalSettings {
        /// Maximum number of images on each side (training and held-out) of a feature evaluation.
        Free max_images: usize = 10_000;
        /// Number of images in the pictures.
        Free pictures: usize = 8;
        /// Channels that pictures show, counted from 1: one, or those for red, green and blue. By default the first
        /// three, or the first if there are fewer.
        Free show: Option<Vec<usize>> = None;
        /// Epochs between evaluations; a tenth of the run by default, and at least 5 in pre-training. The last epoch is
        /// always evaluated.
        Free every_epochs: u64;
        /// Whether to evaluate after the first epoch too, so that the first pictures and accuracies come early.
        Free first_epoch: bool = true;
        /// Evaluations in a row without an improvement on the best one before, after which a run ends early.
        Free patience: Option<u64> = None;
        /// Minutes between checkpoints; one is written at the end in any case.
        Free checkpoint_minutes: f64 = 5.0;
        /// Updates between checkpoints, in addition to those written by time.
        Free checkpoint_steps: Option<u64> = None;
        /// Updates between reads of loss and gradient norm; each read waits for a device that works ahead. 1 by
        /// default; on the command line, 10 if the device is a GPU. If gradients are clipped, every update is read.
        Free metric_steps: u64;
        /// How many of the newest checkpoints are kept.
        Free keep_checkpoints: usize = 2;
    }
}

impl OptimSettings {
    /// The optimizer's hyperparameters.
    pub fn adamw(&self) -> AdamW {
        AdamW { betas: self.betas, eps: self.eps, weight_decay: self.weight_decay }
    }
}
