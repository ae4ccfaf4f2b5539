//! The command line that every training program shares.

mod parse;

use std::path::PathBuf;
use std::sync::Arc;

use burn::tensor::Device;
use clap::Args;
use mae_masking::Strategy;
use mae_model::Preset;
use mae_vit::Precision;

use crate::device::{DEVICE_NAMES, DeviceName, check_compute};
use crate::run::single;
use crate::run_folder::new_folder;
use crate::{Collective, OnNan, Recipe, Restored, Run, TrainerError, dry_run};

pub use parse::parse;

/// What `--help` ends with.
pub const EXAMPLES: &str = "\
Examples:
  cargo xtask train
  cargo xtask train -- --data photos --preset tiny --epochs 200
  cargo xtask train -- --recipe digits --data digits/train --val digits/test
  cargo xtask train -- --resume runs/photos-tiny-1

Exit status: 0 when done, 1 after an error, 2 for wrong options, 130 when interrupted with a checkpoint written.";

/// Options of a pre-training program.
#[derive(Args, Clone, Debug)]
pub struct TrainArgs {
    /// Where to compute: flex, tch, tch:cuda:0, vulkan, wgpu, …; other than flex each needs its feature.
    #[arg(long, default_value = "flex", long_help = device_help())]
    pub device: DeviceName,

    /// Continue the run in this folder from its last checkpoint; needs nothing else.
    ///
    /// Options under Recipe change it from here on, where weights, order and position do not depend on them:
    /// --epochs, --base-lr, --workers and the like.
    #[arg(long, value_name = "RUN", conflicts_with = "out")]
    pub resume: Option<PathBuf>,

    /// Folder of the new run [default: the first free runs/NAME-N].
    #[arg(long, value_name = "RUN")]
    pub out: Option<PathBuf>,

    /// Stop after this many updates, with a checkpoint; --resume continues.
    #[arg(long, value_name = "STEPS")]
    pub stop_after: Option<u64>,

    /// Start from the weights of a model.safetensors, or of a run's folder.
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    pub init_from: Option<PathBuf>,

    /// Print the plan, look at the data, measure time and memory on a few updates, and train nothing.
    #[arg(long, conflicts_with_all = ["resume", "out"])]
    pub dry_run: bool,

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

fn recipe_help() -> String {
    let names = Recipe::names().map(|(name, about)| format!("\n- {name}: {about}")).collect::<String>();
    format!("Named recipe to start from, instead of a file; options below override it.{names}")
}

/// Options that change a [`Recipe`].
#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(next_help_heading = "Recipe")]
pub struct RecipeArgs {
    /// TOML file to start from; options below override it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Named recipe to start from, instead of a file.
    #[arg(long, value_name = "NAME", conflicts_with = "config", long_help = recipe_help())]
    pub recipe: Option<String>,

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

    /// Type of matrix products, f32 or bf16 [default: bf16 on cards that have it, else f32].
    #[arg(long)]
    pub precision: Option<Precision>,

    /// Compute activations again in the backward pass instead of keeping them: less memory, a third more work.
    #[arg(long)]
    pub grad_checkpointing: bool,

    /// Learning rate for an effective batch of 256 images.
    #[arg(long, value_name = "LR")]
    pub base_lr: Option<f64>,

    /// Epochs of linear warm-up [default: a tenth].
    #[arg(long, value_name = "EPOCHS")]
    pub warmup_epochs: Option<f64>,

    /// Largest norm of the whole gradient; larger ones are scaled down to it [default: none].
    #[arg(long, value_name = "NORM")]
    pub clip_grad: Option<f64>,

    /// Evaluate and keep a moving average of the weights with this decay, e.g. 0.999 [default: none].
    #[arg(long, value_name = "DECAY")]
    pub ema: Option<f64>,

    /// What to do with an update whose loss or gradient is not finite [default: stop].
    #[arg(long)]
    pub on_nan: Option<OnNan>,

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

    /// Crops made of each image when it is decoded [default: 1].
    #[arg(long, value_name = "N")]
    pub repeats: Option<usize>,

    /// Decoding threads.
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,

    /// Stop at the first image that cannot be read, instead of replacing up to 5% of them.
    #[arg(long)]
    pub strict: bool,

    /// End the run after this many evaluations in a row without a lower held-out loss [default: never].
    #[arg(long, value_name = "N")]
    pub patience: Option<u64>,

    /// Updates between checkpoints, beside those by time.
    #[arg(long, value_name = "N")]
    pub checkpoint_steps: Option<u64>,

    /// Minutes between checkpoints [default: 5].
    #[arg(long, value_name = "MINUTES")]
    pub checkpoint_minutes: Option<f64>,

    /// Updates between readings of loss and gradient norm [default: 10 on cards, else 1].
    #[arg(long, value_name = "N")]
    pub metric_steps: Option<u64>,

    /// Everything random follows from it.
    #[arg(long)]
    pub seed: Option<u64>,
}

/// A card works ahead, and reading a number waits for it.
const METRIC_STEPS_ON_CARDS: u64 = 10;

impl TrainArgs {
    /// What `--dry-run` prints, if it was given.
    ///
    /// # Errors
    /// If the recipe or the data cannot be used.
    pub fn dry_run(&self, device: &Device) -> Result<Option<String>, TrainerError> {
        self.dry_run_on(&single(), device)
    }

    /// The same on several ranks.
    ///
    /// # Errors
    /// As [`dry_run`](Self::dry_run); if the ranks are not about to do the same.
    pub fn dry_run_on(
        &self,
        ranks: &Arc<dyn Collective>,
        device: &Device,
    ) -> Result<Option<String>, TrainerError> {
        let name = self.device.describe(device);
        self.dry_run.then(|| dry_run(ranks, &self.recipe(device)?, device, &name)).transpose()
    }

    /// The run that the options ask for, a new one or one to continue, and what its recipe changes.
    ///
    /// # Errors
    /// If the run cannot be made, or cannot go on with the options.
    pub fn run(&self, device: &Device) -> Result<(Run, Vec<String>), TrainerError> {
        self.run_on(&single(), device)
    }

    /// The same on several ranks.
    ///
    /// # Errors
    /// As [`run`](Self::run); if the ranks are not about to do the same.
    pub fn run_on(
        &self,
        ranks: &Arc<dyn Collective>,
        device: &Device,
    ) -> Result<(Run, Vec<String>), TrainerError> {
        if let Some(folder) = &self.resume {
            let whole = self.recipe.config.is_some() || self.recipe.recipe.is_some();
            return Run::open_on(ranks, folder, |recipe| {
                let recipe = if whole { self.recipe(device)? } else { self.recipe.apply(recipe.clone()) };
                check_compute(recipe.compute(), device)?;
                Ok(recipe)
            });
        }
        let recipe = self.recipe(device)?;
        check_compute(recipe.compute(), device)?;
        let folder = self
            .out
            .clone()
            .unwrap_or_else(|| new_folder(recipe.data.path.as_deref(), &recipe.model.preset.to_string()));
        Ok((Run::create_on(ranks, &recipe, &folder)?, Vec::new()))
    }

    /// The recipe of a new run, with what suits the device where nothing else is asked for.
    fn recipe(&self, device: &Device) -> Result<Recipe, TrainerError> {
        let mut recipe = self.recipe.recipe()?;
        if self.device.is_card() {
            recipe.precision.get_or_insert_with(|| self.device.default_precision(device));
            recipe.eval.metric_steps.get_or_insert(METRIC_STEPS_ON_CARDS);
        }
        Ok(recipe)
    }

    /// The state that the run goes on from, or begins with, and newer checkpoints that are damaged.
    ///
    /// # Errors
    /// If a file with weights cannot be used.
    pub fn state(&self, run: &Run, device: &Device) -> Result<Restored, TrainerError> {
        let mut restored = run.latest_state(device)?;
        if let Some(path) = &self.init_from {
            if run.ranks().is_main() {
                restored.state = restored.state.with_weights(path).map_err(TrainerError::with_advice)?;
                // Whoever continues the run finds the weights in its folder.
                run.save(&restored.state)?;
            }
            restored.state = run.share(restored.state)?;
        }
        Ok(restored)
    }
}

impl RecipeArgs {
    /// The recipe of the file, or the default one, with the options applied.
    ///
    /// # Errors
    /// If the file is no recipe.
    pub fn recipe(&self) -> Result<Recipe, TrainerError> {
        Ok(self.apply(match (&self.config, &self.recipe) {
            (Some(path), _) => Recipe::read(path)?,
            (None, Some(name)) => Recipe::named(name)?,
            (None, None) if self.data.is_none() => Recipe::named("shapes")?,
            (None, None) => Recipe::default(),
        }))
    }

    /// A recipe with the options applied.
    fn apply(&self, mut recipe: Recipe) -> Recipe {
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
        if self.data.is_some() {
            // A recipe of another run counts that one's images.
            recipe.data.images = None;
        }
        fill(&mut recipe.data.val, &self.val);
        set(&mut recipe.data.workers, &self.workers);
        set(&mut recipe.data.repeats, &self.repeats);
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
        fill(&mut recipe.precision, &self.precision);
        recipe.grad_checkpointing |= self.grad_checkpointing;
        fill(&mut recipe.eval.metric_steps, &self.metric_steps);
        set(&mut recipe.optim.base_lr, &self.base_lr);
        fill(&mut recipe.optim.warmup_epochs, &self.warmup_epochs);
        set(&mut recipe.masking.mask_ratio, &self.mask_ratio);
        set(&mut recipe.masking.strategy, &self.masking);
        fill(&mut recipe.optim.clip_grad, &self.clip_grad);
        fill(&mut recipe.optim.ema, &self.ema);
        set(&mut recipe.optim.on_nan, &self.on_nan);
        fill(&mut recipe.eval.patience, &self.patience);
        fill(&mut recipe.eval.checkpoint_steps, &self.checkpoint_steps);
        set(&mut recipe.eval.checkpoint_minutes, &self.checkpoint_minutes);
        set(&mut recipe.seed, &self.seed);
        recipe
    }
}

/// `N` or `HEIGHTxWIDTH`, as (height, width).
///
/// # Errors
/// If it is neither.
pub fn parse_size(text: &str) -> Result<(usize, usize), String> {
    let refused =
        |_| format!("'{text}' is not a size in pixels: expected N or HEIGHTxWIDTH, such as 224 or 96x64");
    let (height, width) = text.split_once('x').unwrap_or((text, text));
    Ok((height.parse().map_err(refused)?, width.parse().map_err(refused)?))
}
