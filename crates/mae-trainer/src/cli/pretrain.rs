//! Options of pre-training.

use std::path::PathBuf;

use clap::Args;
use mae_masking::Strategy;
use mae_model::Preset;

use super::{RecipeArgs, TaskArgs, fill, parse_size, set};
use crate::{Pretrain, PretrainRecipe, Recipe, TrainerError};

/// Options of pre-training.
#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(next_help_heading = "Recipe")]
pub struct PretrainArgs {
    /// Start a new run from the weights of a file, or of a run's folder.
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    pub init_from: Option<PathBuf>,

    /// Size of the model: nano, tiny, small, base, large, huge or lightly.
    #[arg(long)]
    pub preset: Option<Preset>,

    /// Image size in pixels, N or HEIGHTxWIDTH [default: the preset's].
    #[arg(long, value_name = "PX", value_parser = parse_size)]
    pub image_size: Option<(usize, usize)>,

    /// Side of a patch in pixels [default: the preset's].
    #[arg(long, value_name = "PX")]
    pub patch_size: Option<usize>,

    /// Share of the patches that is masked.
    #[arg(long, value_name = "RATIO")]
    pub mask_ratio: Option<f64>,

    /// Masking strategy: random, block or grid.
    #[arg(long, value_name = "STRATEGY")]
    pub masking: Option<Strategy>,

    /// Predict pixels normalised by patch (true) or plain pixels (false).
    #[arg(long, value_name = "BOOL")]
    pub norm_pix_loss: Option<bool>,
}

impl TaskArgs for PretrainArgs {
    type Task = Pretrain;

    fn start(&self, common: &RecipeArgs) -> Result<Recipe<PretrainRecipe>, TrainerError> {
        match common.data {
            None => Recipe::named("shapes"),
            Some(_) => Ok(Recipe::default()),
        }
    }

    fn apply(&self, recipe: &mut Recipe<PretrainRecipe>) -> Result<(), TrainerError> {
        let PretrainRecipe { model, masking, .. } = &mut recipe.task;
        fill(&mut model.init_from, &self.init_from);
        set(&mut model.preset, &self.preset);
        fill(&mut model.image_size, &self.image_size);
        fill(&mut model.patch_size, &self.patch_size);
        set(&mut model.norm_pix_loss, &self.norm_pix_loss);
        set(&mut masking.mask_ratio, &self.mask_ratio);
        set(&mut masking.strategy, &self.masking);
        Ok(())
    }

    fn folder_name(recipe: &Recipe<PretrainRecipe>, named: Option<&str>) -> String {
        named.map_or_else(|| recipe.task.model.preset.to_string(), str::to_owned)
    }
}
