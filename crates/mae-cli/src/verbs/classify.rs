//! Classifiers on an encoder: probes and fine-tuning.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use mae_trainer::cli::{Ended, TaskArgs, TrainArgs, fill, output, set, task_and_recipe};
use mae_trainer::{
    ClassifierScores, Collective, EncoderRecipe, Finetune, FinetuneRecipe, INTERRUPTED, Probe, ProbeRecipe,
    Recipe, TaskRecipe, TrainerError,
};
use mae_vit::Pooling;

use crate::weights::Described;

pub const PROBE_EXAMPLES: &str = "\
Examples:
  mae probe runs/digits-tiny-1 digits/train digits/test
  mae probe runs/digits-tiny-1 digits/train digits/test --cached
  mae probe runs/photos-tiny-1 photos --labels photos.csv --val-share 0.2
  mae probe mae_pretrain_vit_base.pth imagenet/train imagenet/val --recipe probe-base
  mae probe --resume runs/digits-probe-1

First-level sub-folders are the classes; both folders of images need the same ones. For images without such folders, --labels
names a table of their paths and classes.";

pub const FINETUNE_EXAMPLES: &str = "\
Examples:
  mae finetune runs/digits-tiny-1 digits/train digits/test
  mae finetune runs/digits-tiny-1 digits/train digits/test --blocks 2
  mae finetune runs/photos-tiny-1 photos --labels photos.csv --val-share 0.2
  mae finetune mae_pretrain_vit_base.pth imagenet/train imagenet/val --recipe finetune-base
  mae finetune --resume runs/digits-finetune-1 --epochs 200

First-level sub-folders are the classes; both folders of images need the same ones. For images without such folders, --labels
names a table of their paths and classes.";

/// Where the encoder and the images are.
#[derive(clap::Args, Clone, Debug)]
struct Sources {
    /// Weights with an encoder: a file, a run's folder, or a folder of transformers.
    #[arg(required_unless_present_any = ["resume", "config"])]
    weights: Option<PathBuf>,
    /// Labelled images to train on.
    #[arg(required_unless_present_any = ["resume", "config"], conflicts_with = "data")]
    train: Option<PathBuf>,
    /// Labelled held-out images to evaluate on.
    #[arg(
        value_name = "VAL",
        required_unless_present_any = ["resume", "config", "val_share"],
        conflicts_with_all = ["val", "val_share"]
    )]
    held_out: Option<PathBuf>,
    /// Tokens that make the features of an image: class or mean [default: mean for fine-tuning, class for probes].
    #[arg(long, value_enum, help_heading = "Recipe")]
    tokens: Option<Tokens>,
    /// Print the scores as JSON, with the confusion matrix: rows are the true classes.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    described: Described,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Tokens {
    /// The class token.
    Class,
    /// The mean of the patch tokens.
    Mean,
}

impl Sources {
    fn apply<S: TaskRecipe>(
        &self,
        recipe: &mut Recipe<S>,
        model: impl Fn(&mut S) -> &mut EncoderRecipe,
    ) -> Result<(), TrainerError> {
        fill(&mut recipe.data.path, &self.train);
        fill(&mut recipe.data.val, &self.held_out);
        let model = model(&mut recipe.task);
        set(&mut model.weights, &self.weights);
        fill(&mut model.weights_key, &self.described.weights_key);
        fill(
            &mut model.pooling,
            &self.tokens.map(|tokens| match tokens {
                Tokens::Class => Pooling::ClassToken,
                Tokens::Mean => Pooling::MeanPatch,
            }),
        );
        if self.weights.is_some() {
            // Opening the file prints which of several models is used.
            let file = crate::weights::open(&model.weights, model.weights_key.as_deref())?;
            model.encoder = Some(file.vit_config(&self.described.hints())?);
        }
        Ok(())
    }
}

#[derive(clap::Args, Clone, Debug)]
pub struct ProbeArgs {
    #[command(flatten)]
    sources: Sources,
    /// Compute the features once, from centre crops, instead of from a new random crop in every epoch.
    #[arg(long, help_heading = "Recipe")]
    cached: bool,
}

#[derive(clap::Args, Clone, Debug)]
pub struct FinetuneArgs {
    #[command(flatten)]
    sources: Sources,
    /// Train only the last N blocks of the encoder [default: the whole encoder].
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
    /// Alpha of mixup: 0.8 in the paper [default: 0].
    #[arg(long, value_name = "X", help_heading = "Recipe")]
    mixup: Option<f64>,
    /// Alpha of CutMix: 1 in the paper [default: 0].
    #[arg(long, value_name = "X", help_heading = "Recipe")]
    cutmix: Option<f64>,
    /// Label smoothing: share of each target that is spread evenly over all classes [default: 0].
    #[arg(long, value_name = "SHARE", help_heading = "Recipe")]
    label_smoothing: Option<f64>,
}

impl TaskArgs for ProbeArgs {
    type Task = Probe;

    fn apply(&self, recipe: &mut Recipe<ProbeRecipe>) -> Result<(), TrainerError> {
        recipe.task.probe.cached |= self.cached;
        self.sources.apply(recipe, |task| &mut task.model)
    }

    fn folder_name(recipe: &Recipe<ProbeRecipe>, named: Option<&str>) -> String {
        let cached = if recipe.task.probe.cached { "-cached" } else { "" };
        task_and_recipe(ProbeRecipe::TASK, named) + cached
    }
}

impl TaskArgs for FinetuneArgs {
    type Task = Finetune;

    fn apply(&self, recipe: &mut Recipe<FinetuneRecipe>) -> Result<(), TrainerError> {
        let FinetuneRecipe { finetune, mix, .. } = &mut recipe.task;
        fill(&mut finetune.blocks, &self.blocks);
        finetune.from_scratch |= self.from_scratch;
        set(&mut finetune.layer_decay, &self.layer_decay);
        set(&mut finetune.drop_path, &self.drop_path);
        set(&mut mix.mixup, &self.mixup);
        set(&mut mix.cutmix, &self.cutmix);
        set(&mut mix.label_smoothing, &self.label_smoothing);
        self.sources.apply(recipe, |task| &mut task.model)
    }

    fn folder_name(recipe: &Recipe<FinetuneRecipe>, named: Option<&str>) -> String {
        let name = task_and_recipe(FinetuneRecipe::TASK, named);
        match (recipe.task.finetune.from_scratch, recipe.task.finetune.blocks) {
            (true, _) => format!("{name}-scratch"),
            (false, Some(blocks)) => format!("{name}-blocks-{blocks}"),
            (false, None) => name,
        }
    }
}

pub fn probe(args: &TrainArgs<ProbeArgs>, ranks: &Arc<dyn Collective>) -> Result<ExitCode> {
    run(args, ranks, args.own.sources.json, Probe::scores)
}

pub fn finetune(args: &TrainArgs<FinetuneArgs>, ranks: &Arc<dyn Collective>) -> Result<ExitCode> {
    run(args, ranks, args.own.sources.json, Finetune::scores)
}

fn run<A: TaskArgs + Clone>(
    args: &TrainArgs<A>,
    ranks: &Arc<dyn Collective>,
    json: bool,
    scores: impl Fn(&A::Task) -> Option<ClassifierScores>,
) -> Result<ExitCode> {
    let tell = |text: String| if json { output::warn(text) } else { output::tell(text) };
    let quiet = args.quiet || json;
    match (TrainArgs { quiet, ..args.clone() }).train(ranks, &tell)? {
        Ended::Stopped => return Ok(ExitCode::from(INTERRUPTED)),
        _ if !ranks.is_main() => {}
        Ended::DryRun(text) => output::print(text)?,
        Ended::Finished(run, summary) => match scores(&run.task) {
            Some(scores) if json => {
                output::print(format_args!("{}\n", serde_json::to_string_pretty(&scores.to_json())?))?;
            }
            Some(scores) => output::tell(format_args!("\n{scores}\n{}\n", summary.trim_end())),
            None => output::tell(format_args!("\n{summary}")),
        },
    }
    Ok(ExitCode::SUCCESS)
}
