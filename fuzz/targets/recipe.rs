//! Recipes: what is read is written as it was read, and what is resolved stays as it is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mae_fuzz::file;
use mae_trainer::{ClassifyRecipe, Plan, Recipe};

fuzz_target!(|data: &[u8]| {
    let path = file("recipe.toml", data);
    if let Ok(recipe) = Recipe::read(&path) {
        let text = recipe.to_toml();
        assert_eq!(
            Recipe::read(&file("again.toml", text.as_bytes())).expect("written by us").to_toml(),
            text
        );
        if let Ok(resolved) = recipe.resolve(60) {
            let text = resolved.to_toml();
            assert_eq!(resolved.clone().resolve(60).expect("resolved already").to_toml(), text);
            resolved.mae_config().expect("checked");
            let _ = Plan::new(&resolved, 60);
        }
    }
    if let Ok(recipe) = ClassifyRecipe::read(&path) {
        let text = recipe.to_toml();
        let again = ClassifyRecipe::read(&file("again.toml", text.as_bytes())).expect("written by us");
        assert_eq!(again.to_toml(), text);
        if let Ok(resolved) = recipe.resolve(60) {
            assert_eq!(resolved.clone().resolve(60).expect("resolved already").to_toml(), resolved.to_toml());
        }
    }
});
