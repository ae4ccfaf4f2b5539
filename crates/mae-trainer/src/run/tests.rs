//! Helpers for the tests of several modules.

use super::resolve;
use crate::{Pretrain, PretrainRecipe, Recipe, SettingsOf, TrainerError};

/// Resolves a pre-training recipe for `len` images.
pub(crate) fn settled(
    recipe: &Recipe<PretrainRecipe>,
    len: usize,
) -> Result<SettingsOf<Pretrain>, TrainerError> {
    resolve::<Pretrain>(recipe.clone(), len).map(|(settings, _)| settings)
}
