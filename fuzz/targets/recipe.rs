//! Recipes: reading and writing round-trips, and resolving a resolved recipe does not change it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mae_fuzz::file;
use mae_trainer::{Finetune, Pretrain, Probe, Recipe, Run, Segment, Task, TaskRecipe};

fn check<T: Task>(data: &[u8]) {
    let read = |name, bytes: &[u8]| Recipe::<T::Recipe>::read_file(&file(name, bytes));
    let Ok(recipe) = read("recipe.toml", data) else { return };
    let text = recipe.to_toml();
    assert_eq!(read("again.toml", text.as_bytes()).expect("written by us").to_toml(), text);
    // There is no weight file of a classifier, so only recipes that need none are resolved.
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
    check::<Segment>(data);
});
