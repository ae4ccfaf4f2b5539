//! Recipes that have a name.

use std::path::Path;

use crate::{Recipe, TrainerError};

macro_rules! recipes {
    ($($name:literal),*) => {
        /// Name and text of each recipe, small to large.
        const RECIPES: &[(&str, &str)] = &[$(($name, include_str!(concat!("../recipes/", $name, ".toml")))),*];
    };
}

recipes!(
    "shapes",
    "digits",
    "small",
    "lightly",
    "base-800",
    "base-1600",
    "large-800",
    "large-1600",
    "huge-800",
    "huge-1600"
);

impl Recipe {
    /// The recipes that have a name, each with the sentence that it opens with.
    pub fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
        RECIPES.iter().map(|(name, text)| (*name, text.lines().next().unwrap_or("").trim_start_matches("# ")))
    }

    /// The text of a recipe: its source, its command and what to expect as comments, and its settings as TOML.
    ///
    /// # Errors
    /// If there is none of that name; lists those there are.
    pub fn named_text(name: &str) -> Result<&'static str, TrainerError> {
        let found = RECIPES.iter().find(|(known, _)| *known == name);
        let names = || RECIPES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        found
            .map(|(_, text)| *text)
            .ok_or_else(|| TrainerError::argument("recipe", name, format!("one of {}", names())))
    }

    /// A recipe by its name.
    ///
    /// # Errors
    /// As [`named_text`](Self::named_text).
    pub fn named(name: &str) -> Result<Self, TrainerError> {
        Self::parse(Self::named_text(name)?, Path::new(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_says_where_it_comes_from_and_can_be_used() {
        for (name, text) in RECIPES {
            for word in ["# Source: ", "# Command: cargo xtask train", "# Expect: "] {
                assert!(text.contains(word), "{name} has no {word}");
            }
            let recipe = Recipe::named(name).unwrap().resolve(1_281_167).unwrap();
            let plan = crate::Plan::new(&recipe, 1_281_167).unwrap();
            assert!(plan.pace.total_steps > 0, "{name}");
            if name.contains('-') {
                assert_eq!(plan.pace.effective_batch, 4096, "{name}");
                assert!((plan.pace.schedule.peak_lr() - 2.4e-3).abs() < 1e-12, "{name}");
                assert_eq!(name.split_once('-').unwrap().1, recipe.epochs.to_string());
            }
        }
        assert_eq!(
            Recipe::names().next(),
            Some(("shapes", "The demonstration: built-in shapes, a few minutes on two cores."))
        );
        let error = Recipe::named("gigantic").unwrap_err().to_string();
        assert!(error.contains("gigantic") && error.contains("huge-1600"), "{error}");
    }
}
