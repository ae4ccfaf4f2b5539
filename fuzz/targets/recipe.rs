//! Recipes: what is read is written as it was read, and what is resolved stays as it is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mae_fuzz::file;
use mae_trainer::{Finetune, Pretrain, Probe, Recipe, Run, Task, TaskRecipe};

fn check<T: Task>(data: &[u8]) {
    let read = |name, bytes: &[u8]| Recipe::<T::Recipe>::read_file(&file(name, bytes));
    let Ok(recipe) = read("recipe.toml", data) else { return };
    let text = recipe.to_toml();
    assert_eq!(read("again.toml", text.as_bytes()).expect("written by us").to_toml(), text);
    // A classifier's file of weights is not there: only what needs none is resolved.
    if let Ok(settings) = Run::<T>::resolve(&recipe, 60) {
        let text = settings.to_toml(T::Recipe::TASK);
        let again = read("resolved.toml", text.as_bytes()).expect("written by us");
        let again = Run::<T>::resolve(&again, 60).expect("resolved already");
        assert_eq!(again.to_toml(T::Recipe::TASK), text);
    }
}

fuzz_target!(|data: &[u8]| {
    check::<Pretrain>(data);
    check::<Probe>(data);
    check::<Finetune>(data);
});
