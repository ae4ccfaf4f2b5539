//! Same seed, same losses and weights to the last bit, whatever the loader's workers and wherever the run was
//! interrupted.

use std::path::Path;

use burn::tensor::Device;
use mae_trainer::{Progress, Recipe, Run, TrainState, TrainerError, read_records, train_step};

/// Two epochs of three updates, each of two batches of four images.
fn recipe(workers: usize) -> Recipe {
    let mut recipe = Recipe { epochs: 2, batch_size: Some(4), accum_iter: 2, ..Recipe::default() };
    (recipe.data.shapes, recipe.data.workers) = (25, workers);
    recipe.model.patch_size = Some(8);
    recipe
}

/// Trains until `stop_at` updates are done and writes a checkpoint.
fn train(run: &Run, stop_at: u64) -> TrainState {
    let device = Device::flex();
    let mut state = run.latest_state(&device).unwrap();
    let mut progress = Progress::start(run, &state, true).unwrap();
    while state.step < stop_at {
        let (epoch, _) = run.plan.position(state.step);
        let mut batches = run.batches(state.step).unwrap();
        while state.step < stop_at && run.plan.position(state.step).0 == epoch {
            let loss = train_step(run, &mut state, &mut batches, &device).unwrap();
            progress.update(run, &mut state, loss, batches.waiting()).unwrap();
        }
    }
    run.save(&state).unwrap();
    state
}

/// The losses' bits, and the bytes of the last checkpoint's weights without their header.
fn outcome(folder: &Path) -> (Vec<u64>, Vec<u8>) {
    let losses = read_records(&folder.join("metrics.jsonl")).unwrap();
    let weights = folder.join("checkpoints/step-000000006/model.safetensors");
    let bytes = std::fs::read(weights).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (losses.iter().map(|r| r.loss.to_bits()).collect(), bytes[8 + header..].to_vec())
}

#[test]
fn workers_and_interruptions_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let undisturbed = folder.path().join("undisturbed");
    train(&Run::create(&recipe(1), &undisturbed).unwrap(), 6);
    let expected = outcome(&undisturbed);
    assert_eq!(expected.0.len(), 6);

    let workers = folder.path().join("workers");
    train(&Run::create(&recipe(4), &workers).unwrap(), 6);
    assert!(outcome(&workers) == expected, "4 workers");

    for step in 1..6 {
        let path = folder.path().join(format!("stopped-{step}"));
        train(&Run::create(&recipe(1), &path).unwrap(), step);
        // As a new process would: from the folder alone.
        let run = Run::open(&path).unwrap();
        // A process that died later leaves records that nobody will continue from.
        train(&run, 6);
        assert!(outcome(&path) == expected, "stopped after step {step}");
    }
}

#[test]
fn damaged_checkpoints_are_named_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let run = Run::create(&recipe(1), &path).unwrap();
    train(&run, 1);
    let checkpoint = path.join("checkpoints/step-000000001");
    for (name, truncate) in
        [("model.safetensors", true), ("optimizer.bpk", true), ("model.safetensors", false)]
    {
        let file = checkpoint.join(name);
        let whole = std::fs::read(&file).unwrap();
        let mut damaged = whole.clone();
        if truncate {
            damaged.truncate(whole.len() / 2);
        } else {
            damaged[whole.len() / 2] ^= 1;
        }
        std::fs::write(&file, &damaged).unwrap();
        let error = run.latest_state(&Device::flex()).err().unwrap().to_string();
        assert!(error.contains(name) && error.contains("written"), "{error}");
        assert_eq!(std::fs::read(&file).unwrap(), damaged, "the evidence is left alone");
        std::fs::write(&file, whole).unwrap();
    }
    assert_eq!(run.latest_state(&Device::flex()).unwrap().step, 1);

    // The same folder under a recipe of another shape.
    let recipe_file = path.join("recipe.toml");
    let text = std::fs::read_to_string(&recipe_file).unwrap();
    std::fs::write(&recipe_file, text.replace("patch_size = 8", "patch_size = 4")).unwrap();
    let error = Run::open(&path).unwrap().latest_state(&Device::flex()).err().unwrap();
    assert!(error.to_string().contains("model.safetensors"), "{error}");
    assert!(error.to_string().contains("[1, 17, 64]") || error.to_string().contains('4'), "{error}");
}

#[test]
fn a_run_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    drop(Run::create(&recipe(1), &path).unwrap());
    let error = Run::create(&recipe(1), &path).err().unwrap();
    assert!(matches!(error, TrainerError::RunExists { .. }) && error.to_string().contains("--resume"));
}
