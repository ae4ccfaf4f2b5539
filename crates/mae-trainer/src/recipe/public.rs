//! A run's recipe in the form that may be shown to others.

use std::path::Path;

use toml::Value;

/// A recipe without details of the machine that it ran on.
#[derive(Clone, Debug, PartialEq)]
pub struct PublicRecipe {
    /// The recipe as TOML, without absolute paths.
    pub text: String,
    /// The share of patches that was masked, if it is a pre-training recipe.
    pub mask_ratio: Option<f64>,
}

impl PublicRecipe {
    /// The key of a run's recipe in the metadata of its weight files.
    pub const KEY: &str = "mae.recipe";

    /// Makes the public form of a recipe from a file's metadata, whatever its task. `None` if the text is not TOML.
    pub fn of(text: &str) -> Option<Self> {
        let mut recipe: toml::Table = toml::from_str(text).ok()?;
        let mask_ratio = recipe.get("masking").and_then(|masking| masking.get("mask_ratio")?.as_float());
        without_paths(&mut recipe);
        Some(Self { text: toml::to_string(&recipe).ok()?, mask_ratio })
    }
}

fn without_paths(table: &mut toml::Table) {
    let absolute = |value: &Value| value.as_str().is_some_and(is_absolute);
    table.retain(|_, value| !absolute(value));
    table.iter_mut().filter_map(|(_, value)| value.as_table_mut()).for_each(without_paths);
}

/// Whether a path is absolute on any system: the file may come from another one.
fn is_absolute(text: &str) -> bool {
    let drive = matches!(text.as_bytes(), [letter, b':', b'\\' | b'/', ..] if letter.is_ascii_alphabetic());
    Path::new(text).is_absolute() || text.starts_with('/') || text.starts_with("\\\\") || drive
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PretrainRecipe, Recipe};

    #[test]
    fn what_tells_of_the_machine_is_left_out_and_the_rest_stays() {
        let mut recipe = Recipe::<PretrainRecipe>::default();
        recipe.data.path = Some("/home/someone/images".into());
        recipe.data.val = Some("C:\\images\\val".into());
        recipe.task.masking.mask_ratio = 0.6;
        let public = PublicRecipe::of(&recipe.to_toml()).unwrap();
        assert!(!public.text.contains("images\\val") && !public.text.contains("someone"), "{}", public.text);
        assert_eq!(public.mask_ratio, Some(0.6));
        (recipe.data.path, recipe.data.val) = (None, None);
        assert_eq!(Recipe::parse(&public.text, Path::new("recipe.toml")).unwrap(), recipe);
        assert_eq!(PublicRecipe::of("epochs ="), None);
    }
}
