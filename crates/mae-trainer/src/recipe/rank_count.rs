//! Adapts a recipe to a number of ranks.

use super::{Recipe, TaskRecipe};
use crate::TrainerError;

impl<S: TaskRecipe> Recipe<S> {
    /// Sets the number of ranks. If the recipe was made for another number, an update keeps its number of images:
    /// `accum_iter` changes if possible, otherwise `batch_size`.
    ///
    /// # Errors
    /// If the images of an update cannot be divided among the ranks.
    pub(crate) fn on_ranks(mut self, ranks: usize) -> Result<Self, TrainerError> {
        let train = &mut self.train;
        let (batch, before) = (train.batch_size, train.ranks.replace(ranks).unwrap_or(ranks));
        // A recipe that no run has resolved does not set `ranks`: its batch size is that of each rank.
        let Some(batch) = batch.filter(|_| before != ranks) else { return Ok(self) };
        let effective = batch.saturating_mul(train.accum_iter).saturating_mul(before);
        if effective.is_multiple_of(batch * ranks) {
            train.accum_iter = effective / (batch * ranks);
        } else if effective.is_multiple_of(train.accum_iter * ranks) {
            train.batch_size = Some(effective / (train.accum_iter * ranks));
        } else {
            let bound = format!(
                "a number that divides the {effective} images of an update evenly: the run began on {before} ranks \
                 ({batch} images x {} accumulated)",
                train.accum_iter
            );
            return Err(TrainerError::argument("the number of ranks", ranks, bound));
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PretrainRecipe;

    fn of(ranks: Option<usize>, batch: usize, accum_iter: usize) -> Recipe<PretrainRecipe> {
        let mut recipe = Recipe::default();
        (recipe.train.ranks, recipe.train.batch_size, recipe.train.accum_iter) =
            (ranks, Some(batch), accum_iter);
        recipe
    }

    #[test]
    fn another_number_of_ranks_keeps_the_images_of_an_update() {
        let cases =
            [((2, 4, 1), (1, 4, 2)), ((1, 8, 1), (2, 4, 1)), ((1, 4, 6), (3, 4, 2)), ((4, 2, 3), (6, 2, 2))];
        for ((ranks, batch, accum_iter), (now, batch_now, accum_now)) in cases {
            let recipe = of(Some(ranks), batch, accum_iter).on_ranks(now).unwrap();
            assert_eq!(recipe, of(Some(now), batch_now, accum_now));
        }
        let error = of(Some(2), 4, 1).on_ranks(3).unwrap_err().to_string();
        assert!(error.contains("ranks is 3") && error.contains("8 images"), "{error}");
        assert_eq!(of(None, 4, 1).on_ranks(2).unwrap(), of(Some(2), 4, 1));
    }
}
