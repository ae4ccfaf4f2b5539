//! What tests of several files need.

use super::resolve;
use crate::{Pretrain, PretrainRecipe, Recipe, SettingsOf, TrainerError};

/// What a recipe of pre-training is resolved to for so many images.
pub(crate) fn settled(
    recipe: &Recipe<PretrainRecipe>,
    len: usize,
) -> Result<SettingsOf<Pretrain>, TrainerError> {
    resolve::<Pretrain>(recipe.clone(), len).map(|(settings, _)| settings)
}
