//! Recipes of classifiers that have a name.

use std::path::Path;

use super::ClassifyRecipe;
use crate::TrainerError;

macro_rules! recipes {
    ($($name:literal),*) => {
        /// Name and text of each recipe.
        const RECIPES: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../recipes/classify/", $name, ".toml")))),*];
    };
}

recipes!(
    "probe-digits",
    "probe-base",
    "probe-large",
    "finetune-digits",
    "finetune-base",
    "finetune-large",
    "finetune-huge"
);

impl ClassifyRecipe {
    /// The recipes that have a name, each with the sentence that it opens with.
    pub fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
        RECIPES.iter().map(|(name, text)| (*name, text.lines().next().unwrap_or("").trim_start_matches("# ")))
    }

    /// A recipe by its name.
    ///
    /// # Errors
    /// If there is none of that name; lists those there are.
    pub fn named(name: &str) -> Result<Self, TrainerError> {
        let names = || RECIPES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let found = RECIPES.iter().find(|(known, _)| *known == name);
        let (_, text) =
            found.ok_or_else(|| TrainerError::argument("recipe", name, format!("one of {}", names())))?;
        Self::parse(text, Path::new(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::Method;

    #[test]
    fn recipes_have_the_papers_numbers() {
        const IMAGES: usize = 1_281_167;
        for (name, text) in RECIPES {
            assert!(["# Source: ", "# Command: mae ", "# Expect: "].iter().all(|word| text.contains(word)));
            let recipe = ClassifyRecipe::named(name).unwrap().resolve(IMAGES).unwrap();
            let probe = recipe.method == Method::Probe;
            assert_eq!(name.starts_with("probe"), probe, "{name}");
            let pace = recipe.pace(IMAGES).unwrap();
            // MAE tables 9 and 10: images of an update, and the rate for 256 of them.
            let (batch, base_lr) = match *name {
                "probe-base" | "probe-large" => (16384, 0.1),
                "finetune-base" => (1024, 5e-4),
                "finetune-large" | "finetune-huge" => (1024, 1e-3),
                _ => continue,
            };
            assert_eq!(pace.effective_batch, batch, "{name}");
            assert!((pace.schedule.peak_lr() - base_lr * batch as f64 / 256.0).abs() < 1e-12, "{name}");
        }
        let error = ClassifyRecipe::named("probe-nano").unwrap_err().to_string();
        assert!(error.contains("probe-nano") && error.contains("finetune-huge"), "{error}");
    }
}
