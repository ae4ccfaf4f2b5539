//! Named recipes.

use std::path::Path;

use super::{Recipe, TaskRecipe};
use crate::TrainerError;

/// Names and texts of this crate's recipes.
#[macro_export]
#[doc(hidden)]
macro_rules! named {
    ($folder:literal, [$($name:literal),*]) => {
        &[$(($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/recipes/", $folder, "/", $name, ".toml")))),*]
    };
}

impl<S: TaskRecipe> Recipe<S> {
    /// The task's named recipes, each with its opening sentence.
    pub fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
        S::NAMED
            .iter()
            .map(|(name, text)| (*name, text.lines().next().unwrap_or("").trim_start_matches("# ")))
    }

    /// The text of a named recipe: its source, its command and the expected result as comments, and its settings as
    /// TOML.
    ///
    /// # Errors
    /// If there is no recipe of that name; lists the known ones.
    pub fn named_text(name: &str) -> Result<&'static str, TrainerError> {
        let found = S::NAMED.iter().find(|(known, _)| *known == name);
        let names = || match S::NAMED {
            [] => "left out: this task has no named recipes".to_owned(),
            all => format!("one of {}", all.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")),
        };
        found.map(|(_, text)| *text).ok_or_else(|| TrainerError::argument("recipe", name, names()))
    }

    /// Reads a named recipe.
    ///
    /// # Errors
    /// As [`named_text`](Self::named_text).
    pub fn named(name: &str) -> Result<Self, TrainerError> {
        Self::parse(Self::named_text(name)?, Path::new(name))
    }
}

#[cfg(test)]
mod tests {
    use mae_vit::Normalize;

    use super::*;
    use crate::{FinetuneRecipe, Pace, PretrainRecipe, ProbeRecipe, Section, SegmentRecipe};

    const IMAGES: usize = 1_281_167;
    const ADE20K: usize = 20_210;

    /// Checks that every recipe of a task states its source, command and expected result. Returns each with its pace on
    /// `images` images.
    fn paces<S: TaskRecipe>(command: &str, images: usize) -> Vec<(&'static str, Pace)> {
        let each = S::NAMED.iter().map(|(name, text)| {
            for word in ["# Source: ", command, "# Expect: "] {
                assert!(text.contains(word), "{name} has no {word}");
            }
            let mut recipe = Recipe::<S>::named(name).unwrap();
            recipe.data.normalize.get_or_insert_with(Normalize::imagenet);
            recipe.fill(images).unwrap();
            let Recipe { train, data, optim, eval, .. } = recipe;
            (*name, Pace::new(&train.settle(), &data.settle(), &optim.settle(), &eval.settle()).unwrap())
        });
        each.collect()
    }

    #[test]
    fn recipes_have_the_papers_numbers() {
        for (name, pace) in paces::<PretrainRecipe>("# Command: cargo xtask train", IMAGES) {
            assert!(pace.total_steps > 0, "{name}");
            if let Some((_, epochs)) = name.split_once('-') {
                assert_eq!(
                    (pace.effective_batch, pace.epochs.to_string().as_str()),
                    (4096, epochs),
                    "{name}"
                );
                assert!((pace.schedule.peak_lr() - 2.4e-3).abs() < 1e-12, "{name}");
            }
        }
        // MAE tables 9 and 10: images per update, and the learning rate for 256 of them.
        let check = |name: &str, pace: Pace| {
            let (batch, base_lr) = match name {
                "probe-base" | "probe-large" => (16384, 0.1),
                "finetune-base" => (1024, 5e-4),
                "finetune-large" | "finetune-huge" => (1024, 1e-3),
                _ => return,
            };
            assert_eq!(pace.effective_batch, batch, "{name}");
            assert!((pace.schedule.peak_lr() - base_lr * batch as f64 / 256.0).abs() < 1e-12, "{name}");
        };
        paces::<ProbeRecipe>("# Command: mae ", IMAGES)
            .into_iter()
            .for_each(|(name, pace)| check(name, pace));
        paces::<FinetuneRecipe>("# Command: mae ", IMAGES)
            .into_iter()
            .for_each(|(name, pace)| check(name, pace));
        // MAE §A.4: 160,000 updates of 16 images at a rate of 1e-4, on ADE20K.
        let (_, pace) = paces::<SegmentRecipe>("# Command: mae segment ", ADE20K).pop().unwrap();
        assert_eq!(pace.effective_batch, 16);
        assert!(pace.total_steps.abs_diff(160_000) < 1000, "{} updates", pace.total_steps);
        assert!((pace.schedule.peak_lr() - 1e-4).abs() < 1e-12);
    }

    #[test]
    fn another_name_is_refused_with_those_there_are() {
        assert_eq!(
            Recipe::<PretrainRecipe>::names().next(),
            Some(("shapes", "The demonstration: built-in shapes, a few minutes on two cores."))
        );
        let error = Recipe::<PretrainRecipe>::named("gigantic").unwrap_err().to_string();
        assert!(error.contains("gigantic") && error.contains("huge-1600"), "{error}");
        let error = Recipe::<FinetuneRecipe>::named("probe-nano").unwrap_err().to_string();
        assert!(error.contains("probe-nano") && error.contains("finetune-huge"), "{error}");
    }
}
