//! The sections that every task has.

use std::path::PathBuf;

use mae_data::PixelFormat;
use mae_vit::{Normalize, Precision};

use crate::{AdamW, OnNan, RateDecay};

crate::section! {
    /// How long a run trains, in which batches, and with which numbers: the keys at the top of a [`Recipe`](crate::Recipe).
    pub TrainRecipe => TrainSettings {
        /// Everything random is drawn from it: weights, order, crops, masks.
        Fixed seed: u64 = 0;
        /// Passes over the data set.
        Free epochs: u64 = 100;
        /// Images of one forward pass of each rank, each crop counted where `data.repeats` makes several; by default at most
        /// 64 and at most a quarter of the rank's part of an epoch.
        Batch batch_size: usize;
        /// Forward passes whose gradients are averaged for one update.
        Batch accum_iter: usize = 1;
        /// Processes that train together; filled in when a run is made. An update takes
        /// `batch_size · accum_iter · ranks` images.
        Batch ranks: usize;
        /// The type of matrix products; f32 by default, and on the command line bf16 where the device is a card that has it.
        Free precision: Precision;
        /// Whether blocks compute their activations again in the backward pass instead of keeping them.
        Free grad_checkpointing: bool = false;
    }
}

crate::section! {
    /// The data section of a recipe.
    pub DataRecipe => DataSettings {
        /// Folder of images or of tar files packed from them, one sub-folder a class; without one, the built-in shapes.
        Images path: Option<PathBuf> = None;
        /// Folder of held-out images to measure on.
        Local val: Option<PathBuf> = None;
        /// Table of the images' classes, for a folder without class folders; see [`LabelTable`](mae_data::LabelTable). It names the
        /// held-out images too, unless these have a table of their own.
        Images labels: Option<PathBuf> = None;
        /// Separator of the classes in a table's cell. Each image may then have several classes or none.
        Fixed label_separator: Option<String> = None;
        /// Table of the held-out images' classes.
        Local val_labels: Option<PathBuf> = None;
        /// Share of the images of each class that is held out to measure on, drawn by the seed, where there is no folder of held-out
        /// images.
        Fixed val_share: Option<f64> = None;
        /// Decoding threads.
        Local workers: usize = 1;
        /// Decoded batches held in memory ahead of the model.
        Local prefetch_batches: usize = 4;
        /// Share of unreadable files that a run puts up with.
        Free max_bad_share: f64 = 0.05;
        /// Stop at the first unreadable file.
        Free strict: bool = false;
        /// Side in pixels of a square window, which stands for the image: training crops are drawn in one at a random place, evaluation looks at
        /// the central one. For scenes that are much larger than what the model is to see at a time.
        Free window: Option<usize> = None;
        /// Samples that an epoch makes of each image, at different times.
        Fixed crops_per_image: usize = 1;
        /// Range of the share of an image's, or a window's, area that a training crop keeps; by default 0.2 to 1 for pre-training, 0.08 to 1 for
        /// probes and fine-tuning.
        // MAE table 8 and §A.1: torchvision's RandomResizedCrop with this scale, or with its own.
        Free crop_scale: (f64, f64) = (0.2, 1.0);
        /// Whether half of the training images are mirrored.
        Free flip: bool = true;
        /// Whether half of the training images are mirrored top to bottom, as suits images without an upright.
        Free flip_vertical: bool = false;
        /// Whether the training images are turned by 0, 90, 180 or 270 degrees, each as often.
        Free quarter_turns: bool = false;
        /// RandAugment's magnitude, 0 to 10; 0 for none. Two operations an image, magnitudes that deviate by half of one.
        Free rand_augment: f64 = 0.0;
        /// Share of the training images of which a rectangle is replaced by noise.
        Free erasing: f64 = 0.0;
        /// Pixels of the model's shorter side before the crop of an evaluation; the model's own by default.
        /// [`EvalTransform::new`](mae_data::EvalTransform::new) says what it does.
        Free resize: Option<usize> = None;
        /// Crops made of each image when it is decoded: all of them are in the same batch, and an epoch is as many times
        /// longer.
        Fixed repeats: usize = 1;
        /// Whether images that fill no update are left out of an epoch; otherwise its last update is filled up with images
        /// from the epoch's start. True by default, as in the official code's loader.
        Fixed drop_last: bool = true;
        /// Number of built-in shapes to train on.
        Fixed shapes: usize = 8192;
        /// What image files are decoded to: rgb8, or type and channels of the numbers that are stored in them, such as u16x1 or f32x13. By
        /// default as the weights' file says, or what the files have, if 32 of them spread over the folder agree, and else rgb8.
        Fixed pixels: PixelFormat;
        /// Pixel means and deviations by channel; by default as the weights' file says, ImageNet's for rgb8, or as measured on at most 1000
        /// training images.
        Fixed normalize: Normalize;
        /// Number of training images: filled in when a run is made, held against the folder when it is continued.
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
        /// Linear warm-up; a tenth of the epochs by default.
        Free warmup_epochs: f64;
        /// AdamW's decay rates of the first and second moment; 0.9 and 0.999 by default for fine-tuning.
        Free betas: (f32, f32) = (0.9, 0.95);
        /// What AdamW adds to the root of the second moment.
        Free eps: f32 = 1e-8;
        /// AdamW's decoupled weight decay, of the parameters that decay.
        Free weight_decay: f32 = 0.05;
        /// Largest norm of the gradient of all parameters together; larger ones are scaled down to it.
        Free clip_grad: Option<f64> = None;
        /// Decay of a moving average of the weights, which is then what is evaluated, drawn and kept at the end.
        Free ema: Option<f64> = None;
        /// What happens to an update whose loss or gradient is not finite.
        Free on_nan: OnNan = OnNan::Stop;
        /// Most updates that are left out for that.
        Free max_nan: u64 = 10;
    }
}

crate::section! {
    /// The evaluation section of a recipe.
    pub EvalRecipe => EvalSettings {
        /// Most images used on each side of an evaluation of features.
        Free max_images: usize = 10_000;
        /// Images in the pictures.
        Free pictures: usize = 8;
        /// Channels that pictures show, counted from 1: one, or those for red, green and blue. By default the first three, or of fewer
        /// the first.
        Free show: Option<Vec<usize>> = None;
        /// Epochs between evaluations; a tenth of the run by default, and at least 5 in pre-training. The last epoch is always
        /// evaluated.
        Free every_epochs: u64;
        /// Whether to evaluate after the first epoch too, so that the first pictures and accuracies come early.
        Free first_epoch: bool = true;
        /// Evaluations in a row that are no better than the best one before, after which a run ends early.
        Free patience: Option<u64> = None;
        /// Minutes between checkpoints; one is written at the end in any case.
        Free checkpoint_minutes: f64 = 5.0;
        /// Updates between checkpoints, beside those by time.
        Free checkpoint_steps: Option<u64> = None;
        /// Updates between readings of loss and gradient norm, for each of which a device that works ahead is waited for; 1
        /// by default, and on the command line 10 where the device is a card. Every update is read where gradients are
        /// clipped.
        Free metric_steps: u64;
        /// Checkpoints that are kept, the newest.
        Free keep_checkpoints: usize = 2;
    }
}

impl OptimSettings {
    /// The optimizer's numbers.
    pub fn adamw(&self) -> AdamW {
        AdamW { betas: self.betas, eps: self.eps, weight_decay: self.weight_decay }
    }
}
