//! Classifiers on an encoder: probes and fine-tuning.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use mae_trainer::{
    ClassifyRecipe, ClassifyRun, INTERRUPTED, Job, Method, StopFlag, Trained, new_folder, output,
    train_classifier,
};
use mae_vit::{Normalize, Pooling, Precision};

use crate::weights::Described;

pub const PROBE_EXAMPLES: &str = "\
Examples:
  mae probe runs/images-tiny-1 train val
  mae probe runs/images-tiny-1 train val --cached
  mae probe mae_pretrain_vit_base.pth imagenet/train imagenet/val --recipe probe-base
  mae probe --resume runs/train-probe-1

Sub-folders at the first level are classes, the same ones in both folders of images.";

pub const FINETUNE_EXAMPLES: &str = "\
Examples:
  mae finetune runs/images-tiny-1 train val
  mae finetune runs/images-tiny-1 train val --blocks 2
  mae finetune mae_pretrain_vit_base.pth imagenet/train imagenet/val --recipe finetune-base
  mae finetune --resume runs/train-finetune-1

Sub-folders at the first level are classes, the same ones in both folders of images.";

#[derive(clap::Args)]
pub struct ProbeArgs {
    #[command(flatten)]
    common: Common,
    /// Take the features once, of the centres of the images, instead of a new crop of each in every epoch.
    #[arg(long, help_heading = "Recipe", conflicts_with = "resume")]
    cached: bool,
    #[command(flatten)]
    described: Described,
}

#[derive(clap::Args)]
pub struct FinetuneArgs {
    #[command(flatten)]
    common: Common,
    /// Train the last blocks alone, so many of them; all, and what is before them, otherwise.
    #[arg(long, value_name = "N", help_heading = "Recipe", conflicts_with = "resume")]
    blocks: Option<usize>,
    /// Start from random weights of the same shape, to compare with.
    #[arg(long, help_heading = "Recipe", conflicts_with = "resume")]
    from_scratch: bool,
    /// By what the rate of each layer is multiplied, once for each layer above it.
    #[arg(long, value_name = "X", help_heading = "Recipe", conflicts_with = "resume")]
    layer_decay: Option<f64>,
    /// Share of the samples for which a branch of the last block is left out.
    #[arg(long, value_name = "SHARE", help_heading = "Recipe", conflicts_with = "resume")]
    drop_path: Option<f64>,
    /// RandAugment's magnitude, 0 to 10: 9 in the paper.
    #[arg(long, value_name = "X", help_heading = "Recipe", conflicts_with = "resume")]
    rand_augment: Option<f64>,
    /// Share of the training images of which a rectangle is erased.
    #[arg(long, value_name = "SHARE", help_heading = "Recipe", conflicts_with = "resume")]
    erasing: Option<f64>,
    /// Parameter of mixup: 0.8 in the paper.
    #[arg(long, value_name = "X", help_heading = "Recipe", conflicts_with = "resume")]
    mixup: Option<f64>,
    /// Parameter of CutMix: 1 in the paper.
    #[arg(long, value_name = "X", help_heading = "Recipe", conflicts_with = "resume")]
    cutmix: Option<f64>,
    /// Share of each target that all classes get alike.
    #[arg(long, value_name = "SHARE", help_heading = "Recipe", conflicts_with = "resume")]
    label_smoothing: Option<f64>,
    #[command(flatten)]
    described: Described,
}

/// What both take.
#[derive(clap::Args)]
struct Common {
    /// Weights with an encoder: a file, or a folder of a run or of transformers.
    #[arg(required_unless_present = "resume")]
    weights: Option<PathBuf>,
    /// Labelled images to learn from.
    #[arg(required_unless_present = "resume")]
    train: Option<PathBuf>,
    /// Labelled images to be measured on.
    #[arg(required_unless_present = "resume")]
    val: Option<PathBuf>,
    /// Continue the run in this folder from its last checkpoint; needs nothing else.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["weights", "out"])]
    resume: Option<PathBuf>,
    /// New folder of the training images, if they have moved since the run that --resume continues.
    #[arg(long, value_name = "DIR", requires = "resume")]
    data: Option<PathBuf>,
    /// New folder of the held-out images, if they have moved since the run that --resume continues.
    #[arg(long = "val", value_name = "DIR", requires = "resume")]
    new_val: Option<PathBuf>,
    /// Folder of the new run [default: the first free runs/NAME-N].
    #[arg(long, value_name = "RUN")]
    out: Option<PathBuf>,
    /// Stop after this many updates, with a checkpoint; --resume continues.
    #[arg(long, value_name = "STEPS")]
    stop_after: Option<u64>,
    /// Where to compute: flex, tch, tch:cuda:0, vulkan, wgpu, …; other than flex each needs its feature.
    #[arg(long, default_value = "flex")]
    device: mae_trainer::DeviceName,
    /// Print no progress lines.
    #[arg(long, short)]
    quiet: bool,
    /// Print the scores as JSON, with the confusion matrix: rows are the true classes.
    #[arg(long)]
    json: bool,
    /// TOML file to start from; options below override it.
    #[arg(long, value_name = "FILE", help_heading = "Recipe", conflicts_with = "resume")]
    config: Option<PathBuf>,
    /// Named recipe to start from, instead of a file; --help lists them.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["config", "resume"], help_heading = "Recipe", long_help = recipes())]
    recipe: Option<String>,
    /// Passes over the images.
    #[arg(long, help_heading = "Recipe", conflicts_with = "resume")]
    epochs: Option<u64>,
    /// Images of one forward pass.
    #[arg(long, value_name = "N", help_heading = "Recipe", conflicts_with = "resume")]
    batch_size: Option<usize>,
    /// Forward passes that make one update.
    #[arg(long, value_name = "N", help_heading = "Recipe", conflicts_with = "resume")]
    accum_iter: Option<usize>,
    /// Type of matrix products, f32 or bf16 [default: bf16 on cards that have it, else f32].
    #[arg(long, help_heading = "Recipe", conflicts_with = "resume")]
    precision: Option<Precision>,
    /// Compute activations again in the backward pass instead of keeping them: less memory, a third more work.
    #[arg(long, help_heading = "Recipe", conflicts_with = "resume")]
    grad_checkpointing: bool,
    /// Learning rate for an update of 256 images.
    #[arg(long, value_name = "LR", help_heading = "Recipe", conflicts_with = "resume")]
    base_lr: Option<f64>,
    /// Epochs of linear warm-up [default: a tenth].
    #[arg(long, value_name = "EPOCHS", help_heading = "Recipe", conflicts_with = "resume")]
    warmup_epochs: Option<f64>,
    /// What is taken of an image: class or mean [default: mean for fine-tuning, class for probes].
    #[arg(long, value_enum, help_heading = "Recipe", conflicts_with = "resume")]
    tokens: Option<Tokens>,
    /// Smallest share of an image's area that a training crop keeps.
    #[arg(long, value_name = "SHARE", help_heading = "Recipe", conflicts_with = "resume")]
    min_crop: Option<f64>,
    /// Mirror half of the training images.
    #[arg(long, value_name = "BOOL", help_heading = "Recipe", conflicts_with = "resume")]
    flip: Option<bool>,
    /// Resize images to cover the model's size enlarged to PX pixels on its shorter side, before the centre is measured
    /// [default: the model's own size].
    #[arg(long, value_name = "PX", help_heading = "Recipe", conflicts_with = "resume")]
    resize: Option<usize>,
    /// The channels' means by which images are normalised, such as 0.5,0.5,0.5 [default: the file's, or ImageNet's].
    #[arg(
        long,
        value_name = "X,…",
        value_delimiter = ',',
        requires = "std",
        help_heading = "Recipe",
        conflicts_with = "resume"
    )]
    mean: Vec<f32>,
    /// The channels' deviations.
    #[arg(
        long,
        value_name = "X,…",
        value_delimiter = ',',
        requires = "mean",
        help_heading = "Recipe",
        conflicts_with = "resume"
    )]
    std: Vec<f32>,
    /// Decoding threads.
    #[arg(long, value_name = "N", help_heading = "Recipe", conflicts_with = "resume")]
    workers: Option<usize>,
    /// Everything random follows from it.
    #[arg(long, help_heading = "Recipe", conflicts_with = "resume")]
    seed: Option<u64>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Tokens {
    /// The class token.
    Class,
    /// The mean of the patches' tokens.
    Mean,
}

fn recipes() -> String {
    let names =
        ClassifyRecipe::names().map(|(name, about)| format!("\n- {name}: {about}")).collect::<String>();
    format!("Named recipe to start from, instead of a file; options override it.{names}")
}

fn set<T: Copy>(target: &mut T, option: Option<T>) {
    *target = option.unwrap_or(*target);
}

pub fn probe(args: &ProbeArgs) -> Result<ExitCode> {
    run(&args.common, &args.described, Method::Probe, |recipe| recipe.data.cached |= args.cached)
}

pub fn finetune(args: &FinetuneArgs) -> Result<ExitCode> {
    run(&args.common, &args.described, Method::Finetune, |recipe| {
        recipe.model.blocks = args.blocks.or(recipe.model.blocks);
        recipe.model.from_scratch |= args.from_scratch;
        set(&mut recipe.optim.layer_decay, args.layer_decay);
        set(&mut recipe.model.drop_path, args.drop_path);
        set(&mut recipe.data.rand_augment, args.rand_augment);
        set(&mut recipe.data.erasing, args.erasing);
        set(&mut recipe.mix.mixup, args.mixup);
        set(&mut recipe.mix.cutmix, args.cutmix);
        set(&mut recipe.mix.label_smoothing, args.label_smoothing);
    })
}

fn run(
    args: &Common,
    described: &Described,
    method: Method,
    change: impl FnOnce(&mut ClassifyRecipe),
) -> Result<ExitCode> {
    let device = args.device.open()?;
    let (run, mut state, damaged) = match &args.resume {
        Some(folder) => {
            let moved = [args.data.as_deref(), args.new_val.as_deref()];
            ClassifyRun::open(folder, method, moved, &device)?
        }
        None => {
            let mut recipe = args.recipe(method)?;
            change(&mut recipe);
            if args.device.is_card() {
                recipe.precision.get_or_insert_with(|| args.device.default_precision(&device));
            }
            if described.weights_key.is_some() {
                recipe.model.weights_key.clone_from(&described.weights_key);
            }
            // Says which model is taken where there are several.
            crate::weights::open(&recipe.model.weights, recipe.model.weights_key.as_deref())?;
            let what = if method == Method::Probe { "probe" } else { "finetune" };
            let folder = args.out.clone().unwrap_or_else(|| new_folder(Some(&recipe.data.train), what));
            let (run, state) = ClassifyRun::create(&recipe, &described.hints(), &folder, &device)?;
            (run, state, Vec::new())
        }
    };
    let say = |text: &str| if args.json { output::warn(text) } else { output::tell(text) };
    say(&run.describe(&state, &args.device.describe(&device), &damaged));
    say("\n");
    let flag = StopFlag::listen()?;
    let stop_at = args.stop_after.map_or(u64::MAX, |steps| state.step.saturating_add(steps));
    let quiet = args.quiet || args.json;
    let trained =
        train_classifier(&run, &mut state, &device, quiet, &|state| flag.raised() || state.step >= stop_at)?;
    match trained {
        Trained::Stopped => {
            let folder = run.path("");
            say(&format!(
                "\nstopped after step {}; continue with --resume {}\n",
                state.step,
                folder.display()
            ));
            Ok(ExitCode::from(INTERRUPTED))
        }
        Trained::Finished(scores) if args.json => {
            output::print(format_args!("{}\n", serde_json::to_string_pretty(&scores.to_json())?))?;
            Ok(ExitCode::SUCCESS)
        }
        Trained::Finished(scores) => {
            let summary = run.summarize(&state, &scores)?;
            output::tell(format_args!("\n{scores}\n{}\n", summary.trim_end()));
            Ok(ExitCode::SUCCESS)
        }
    }
}

impl Common {
    fn recipe(&self, method: Method) -> Result<ClassifyRecipe> {
        let mut recipe = match (&self.config, &self.recipe) {
            (Some(path), _) => ClassifyRecipe::read(path)?,
            (None, Some(name)) => ClassifyRecipe::named(name)?,
            (None, None) => ClassifyRecipe::default_of(method),
        };
        ensure!(recipe.method == method, "the recipe is one of {:?}, not of {method:?}", recipe.method);
        for (path, given) in [
            (&mut recipe.model.weights, &self.weights),
            (&mut recipe.data.train, &self.train),
            (&mut recipe.data.val, &self.val),
        ] {
            if let Some(given) = given {
                path.clone_from(given);
            }
        }
        if self.train.is_some() {
            // A recipe of another run counts that one's images.
            recipe.data.images = None;
        }
        set(&mut recipe.epochs, self.epochs);
        recipe.batch_size = self.batch_size.or(recipe.batch_size);
        set(&mut recipe.accum_iter, self.accum_iter);
        recipe.precision = self.precision.or(recipe.precision);
        recipe.grad_checkpointing |= self.grad_checkpointing;
        set(&mut recipe.optim.base_lr, self.base_lr);
        recipe.optim.warmup_epochs = self.warmup_epochs.or(recipe.optim.warmup_epochs);
        recipe.model.pooling = match self.tokens {
            Some(Tokens::Class) => Some(Pooling::ClassToken),
            Some(Tokens::Mean) => Some(Pooling::MeanPatch),
            None => recipe.model.pooling,
        };
        set(&mut recipe.data.crop_scale.0, self.min_crop);
        set(&mut recipe.data.flip, self.flip);
        recipe.data.resize = self.resize.or(recipe.data.resize);
        if !self.mean.is_empty() {
            recipe.data.normalize = Some(Normalize::new(self.mean.clone(), self.std.clone())?);
        }
        set(&mut recipe.data.workers, self.workers);
        set(&mut recipe.seed, self.seed);
        Ok(recipe)
    }
}
