//! The command line that every training program shares.

use std::path::PathBuf;

use clap::Args;
use mae_masking::Strategy;
use mae_model::Preset;

use crate::device::{DEVICE_NAMES, DeviceName};
use crate::run::next_folder;
use crate::{Recipe, Run, TrainerError};

/// Options of a pre-training program.
#[derive(Args, Clone, Debug)]
pub struct TrainArgs {
    /// Where to compute: flex, tch, tch:cuda:0, vulkan, wgpu, …; other than flex each needs its feature.
    #[arg(long, default_value = "flex", long_help = device_help())]
    pub device: DeviceName,

    /// Continue the run in this folder from its last checkpoint; needs nothing else.
    #[arg(long, value_name = "RUN")]
    pub resume: Option<PathBuf>,

    /// Folder of the new run [default: the first free runs/NAME-N].
    #[arg(long, value_name = "RUN")]
    pub out: Option<PathBuf>,

    /// Stop after this many updates, with a checkpoint; --resume continues.
    #[arg(long, value_name = "STEPS")]
    pub stop_after: Option<u64>,

    /// Print no progress lines.
    #[arg(long, short)]
    pub quiet: bool,

    /// Changes to the recipe.
    #[command(flatten)]
    pub recipe: RecipeArgs,
}

fn device_help() -> String {
    format!(
        "Where to compute: {DEVICE_NAMES}. Every device but flex needs the feature of its name at build time."
    )
}

/// Options that change a [`Recipe`].
#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(next_help_heading = "Recipe")]
pub struct RecipeArgs {
    /// TOML file to start from; options below override it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Folder of images, with one sub-folder a class if there are labels [default: built-in shapes].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// Folder of held-out images, for kNN accuracy and pictures.
    #[arg(long, value_name = "DIR")]
    pub val: Option<PathBuf>,

    /// Size of the model: nano, tiny, small, base, large, huge or lightly.
    #[arg(long)]
    pub preset: Option<Preset>,

    /// Image size in pixels, N or HEIGHTxWIDTH [default: the preset's].
    #[arg(long, value_name = "PX", value_parser = parse_size)]
    pub image_size: Option<(usize, usize)>,

    /// Side of a patch in pixels [default: the preset's].
    #[arg(long, value_name = "PX")]
    pub patch_size: Option<usize>,

    /// Passes over the data set.
    #[arg(long)]
    pub epochs: Option<u64>,

    /// Images of one forward pass.
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,

    /// Forward passes whose gradients are averaged for one update.
    #[arg(long, value_name = "N")]
    pub accum_iter: Option<usize>,

    /// Learning rate for an effective batch of 256 images.
    #[arg(long, value_name = "LR")]
    pub base_lr: Option<f64>,

    /// Epochs of linear warm-up [default: a tenth].
    #[arg(long, value_name = "EPOCHS")]
    pub warmup_epochs: Option<f64>,

    /// Share of the patches that is hidden.
    #[arg(long, value_name = "RATIO")]
    pub mask_ratio: Option<f64>,

    /// Which patches are hidden: random, block or grid.
    #[arg(long, value_name = "STRATEGY")]
    pub masking: Option<Strategy>,

    /// Predict pixels normalised by patch (true) or plain ones (false).
    #[arg(long, value_name = "BOOL")]
    pub norm_pix_loss: Option<bool>,

    /// Mirror half of the images.
    #[arg(long, value_name = "BOOL")]
    pub flip: Option<bool>,

    /// Smallest share of an image's area that a training crop keeps.
    #[arg(long, value_name = "SHARE")]
    pub min_crop: Option<f64>,

    /// Decoding threads.
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,

    /// Stop at the first image that cannot be read, instead of replacing up to 5% of them.
    #[arg(long)]
    pub strict: bool,

    /// Everything random follows from it.
    #[arg(long)]
    pub seed: Option<u64>,
}

impl TrainArgs {
    /// The run that the options ask for: a new one, or one to continue.
    ///
    /// # Errors
    /// If the options contradict each other or the run cannot be made.
    pub fn run(&self) -> Result<Run, TrainerError> {
        if let Some(folder) = &self.resume {
            if self.out.is_some() || self.recipe != RecipeArgs::default() {
                let options = "--out and all options under Recipe".into();
                return Err(TrainerError::ResumeWithOptions { options });
            }
            return Run::open(folder);
        }
        let recipe = self.recipe.recipe()?;
        let folder = self.out.clone().unwrap_or_else(|| {
            let data = recipe.data.path.as_ref().and_then(|p| p.file_name());
            let data = data.map_or("shapes".into(), |name| name.to_string_lossy());
            next_folder("runs".as_ref(), &format!("{data}-{}", recipe.model.preset))
        });
        Run::create(&recipe, &folder)
    }
}

impl RecipeArgs {
    /// The recipe of the file, or the default one, with the options applied.
    ///
    /// # Errors
    /// If the file is no recipe.
    pub fn recipe(&self) -> Result<Recipe, TrainerError> {
        let mut recipe = match &self.config {
            Some(path) => Recipe::read(path)?,
            None if self.data.is_none() => Recipe::shapes(),
            None => Recipe::default(),
        };
        fn set<T: Clone>(target: &mut T, option: &Option<T>) {
            if let Some(value) = option {
                *target = value.clone();
            }
        }
        fn fill<T: Clone>(target: &mut Option<T>, option: &Option<T>) {
            if option.is_some() {
                target.clone_from(option);
            }
        }
        fill(&mut recipe.data.path, &self.data);
        fill(&mut recipe.data.val, &self.val);
        set(&mut recipe.data.workers, &self.workers);
        set(&mut recipe.data.flip, &self.flip);
        set(&mut recipe.data.crop_scale.0, &self.min_crop);
        recipe.data.strict |= self.strict;
        set(&mut recipe.model.preset, &self.preset);
        fill(&mut recipe.model.image_size, &self.image_size);
        fill(&mut recipe.model.patch_size, &self.patch_size);
        set(&mut recipe.model.norm_pix_loss, &self.norm_pix_loss);
        set(&mut recipe.epochs, &self.epochs);
        fill(&mut recipe.batch_size, &self.batch_size);
        set(&mut recipe.accum_iter, &self.accum_iter);
        set(&mut recipe.optim.base_lr, &self.base_lr);
        fill(&mut recipe.optim.warmup_epochs, &self.warmup_epochs);
        set(&mut recipe.masking.mask_ratio, &self.mask_ratio);
        set(&mut recipe.masking.strategy, &self.masking);
        set(&mut recipe.seed, &self.seed);
        Ok(recipe)
    }
}

/// `N` or `HEIGHTxWIDTH`.
fn parse_size(text: &str) -> Result<(usize, usize), String> {
    let number = |t: &str| t.parse().map_err(|_| format!("'{t}' is not a number of pixels"));
    match text.split_once('x') {
        Some((height, width)) => Ok((number(height)?, number(width)?)),
        None => number(text).map(|side| (side, side)),
    }
}
