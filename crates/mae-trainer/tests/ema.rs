//! Tests that the moving average follows its formula, whatever weights an optimizer produces.

use burn::tensor::Device;
use mae_model::Mae;
use mae_trainer::{Pretrain, PretrainRecipe, Recipe, Run, train_step};

fn recipe(ema: Option<f64>) -> Recipe<PretrainRecipe> {
    let mut recipe = Recipe::<PretrainRecipe>::default();
    (recipe.train.epochs, recipe.train.batch_size) = (2, Some(4));
    recipe.data.shapes = 24;
    recipe.task.model.patch_size = Some(8);
    // With these settings, the weights change noticeably.
    (recipe.optim.base_lr, recipe.optim.warmup_epochs, recipe.optim.ema) = (0.5, Some(0.0), ema);
    recipe
}

fn weights(run: &Run<Pretrain>, model: &Mae) -> Vec<f64> {
    let file = run.path("weights.safetensors");
    mae_model::save(model, &run.settings.data.normalize, &Default::default(), &file).unwrap();
    let bytes = std::fs::read(file).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let numbers = bytes[8 + header..].chunks_exact(4);
    numbers.map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect()
}

fn difference(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn the_average_follows_its_formula() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::<Pretrain>::create(&recipe(Some(0.3)), folder.path().join("run")).unwrap();
    let mut state = run.initial_state(&Device::flex()).unwrap();
    let mut expected = weights(&run, &state.model);
    let mut updates = run.updates();
    for step in 1..=6 {
        train_step(&run, &mut state, &mut updates, &Device::flex()).unwrap();
        // The decay is 2/11, 3/12, and 0.3 from the third update on.
        let decay = [2.0 / 11.0, 0.25, 0.3, 0.3, 0.3, 0.3][step - 1];
        let now = weights(&run, &state.model);
        for (average, weight) in expected.iter_mut().zip(&now) {
            *average += (1.0 - decay) * (weight - *average);
        }
        let average = weights(&run, state.averaged());
        assert!(difference(&average, &expected) < 1e-6, "{step}: {}", difference(&average, &expected));
        assert!(difference(&average, &now) > 1e-3, "{step}: the weights move");
    }
}

#[test]
fn an_average_can_begin_in_the_middle_of_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let device = Device::flex();
    let run = Run::<Pretrain>::create(&recipe(None), &path).unwrap();
    let mut state = run.initial_state(&device).unwrap();
    train_step(&run, &mut state, &mut run.updates(), &device).unwrap();
    run.save(&state).unwrap();
    let now = weights(&run, &state.model);
    assert!(state.ema.is_none() && difference(&weights(&run, state.averaged()), &now) == 0.0);
    drop(run);

    let (run, changes) = Run::<Pretrain>::open_with(&path, |_| Ok(recipe(Some(0.5)))).unwrap();
    assert_eq!(changes, ["optim.ema (nothing before, 0.5 now)"]);
    let mut state = run.latest_state(&device).unwrap().state;
    assert_eq!(weights(&run, &state.ema.as_ref().unwrap().model), now);
    // From here on, the average is part of the checkpoint.
    train_step(&run, &mut state, &mut run.updates(), &device).unwrap();
    run.save(&state).unwrap();
    let restored = run.latest_state(&device).unwrap().state;
    assert_eq!(weights(&run, restored.averaged()), weights(&run, state.averaged()));
    assert_ne!(weights(&run, restored.averaged()), weights(&run, &state.model));
}
