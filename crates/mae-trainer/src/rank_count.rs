//! A recipe for so many processes.

use crate::{Recipe, TrainerError};

impl Recipe {
    /// Images of an update, each crop counted, as far as the recipe says.
    pub(crate) fn effective_batch(&self) -> usize {
        self.batch_size.unwrap_or(1).saturating_mul(self.accum_iter).saturating_mul(self.ranks.unwrap_or(1))
    }

    /// The recipe for so many processes. One that was made for another number keeps the images of an update: through
    /// more or fewer forward passes, or else through their size.
    ///
    /// # Errors
    /// If they cannot be dealt out.
    pub(crate) fn on_ranks(mut self, ranks: usize) -> Result<Self, TrainerError> {
        let effective = self.effective_batch();
        let (batch, before) = (self.batch_size.unwrap_or(1), self.ranks.replace(ranks).unwrap_or(ranks));
        if before == ranks {
            return Ok(self);
        }
        if effective.is_multiple_of(batch * ranks) {
            self.accum_iter = effective / (batch * ranks);
        } else if effective.is_multiple_of(self.accum_iter * ranks) {
            self.batch_size = Some(effective / (self.accum_iter * ranks));
        } else {
            let bound = format!(
                "a number that deals out the {effective} images of an update, which {before} ranks began with \
                 ({batch} images x {} accumulated)",
                self.accum_iter
            );
            return Err(TrainerError::argument("the number of ranks", ranks, bound));
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_number_of_ranks_keeps_the_images_of_an_update() {
        let of = |ranks, batch, accum_iter| Recipe {
            ranks: Some(ranks),
            batch_size: Some(batch),
            accum_iter,
            ..Recipe::default()
        };
        let cases =
            [((2, 4, 1), (1, 4, 2)), ((1, 8, 1), (2, 4, 1)), ((1, 4, 6), (3, 4, 2)), ((4, 2, 3), (6, 2, 2))];
        for ((ranks, batch, accum_iter), (now, batch_now, accum_now)) in cases {
            let recipe = of(ranks, batch, accum_iter).on_ranks(now).unwrap();
            assert_eq!(recipe, of(now, batch_now, accum_now));
        }
        let error = of(2, 4, 1).on_ranks(3).unwrap_err().to_string();
        assert!(error.contains("ranks is 3") && error.contains("8 images"), "{error}");
        // A recipe that no run has resolved says nothing of ranks: its batch is each one's.
        let fresh = Recipe { batch_size: Some(4), ..Recipe::default() }.on_ranks(2).unwrap();
        assert_eq!((fresh.effective_batch(), fresh.batch_size), (8, Some(4)));
    }
}
