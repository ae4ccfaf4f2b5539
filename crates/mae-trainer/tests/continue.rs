//! Tests that a seed determines losses and weights to the last bit, whatever the number of the loader's workers and
//! wherever the run was interrupted.

use std::fs;
use std::path::Path;

use burn::tensor::Device;
use mae_model::Mae;
use mae_report::EvaluationWriter;
use mae_trainer::{
    Evaluation, Pretrain, PretrainRecipe, Progress, Recipe, Run, TrainState, TrainerError, read_records,
    train_step,
};

/// Two epochs of three updates, each of two batches of four images.
fn recipe(workers: usize) -> Recipe<PretrainRecipe> {
    let mut recipe = Recipe::<PretrainRecipe>::default();
    (recipe.train.epochs, recipe.train.batch_size, recipe.train.accum_iter) = (2, Some(4), 2);
    (recipe.data.shapes, recipe.data.workers) = (25, workers);
    recipe.task.model.patch_size = Some(8);
    recipe.optim.ema = Some(0.9);
    recipe
}

/// Trains until `stop_at` updates are done and writes a checkpoint.
fn train(run: &Run<Pretrain>, stop_at: u64) -> TrainState<Mae> {
    let device = Device::flex();
    let mut state = run.latest_state(&device).unwrap().state;
    let mut progress = Progress::start(run, &state, |_| ()).unwrap();
    let mut updates = run.updates();
    while state.step < stop_at {
        let report = train_step(run, &mut state, &mut updates, &device).unwrap().unwrap();
        let record = progress.update(run, state.step, report, updates.waiting()).unwrap();
        state.elapsed_s = record.elapsed_s;
    }
    run.save(&state).unwrap();
    state
}

/// The losses' bits, and the bytes of the last checkpoint's weights and their average without the headers.
fn outcome(folder: &Path) -> (Vec<u64>, Vec<u8>) {
    let losses = read_records(folder.join("metrics.jsonl")).unwrap();
    let weights = ["model.safetensors", "ema.safetensors"].map(|name| {
        let bytes = std::fs::read(folder.join("checkpoints/step-000000006").join(name)).unwrap();
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        bytes[8 + header..].to_vec()
    });
    (losses.iter().map(|r| r.loss.to_bits()).collect(), weights.concat())
}

#[test]
fn workers_and_interruptions_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let undisturbed = folder.path().join("undisturbed");
    train(&Run::<Pretrain>::create(&recipe(1), &undisturbed).unwrap(), 6);
    let expected = outcome(&undisturbed);
    assert_eq!(expected.0.len(), 6);

    let workers = folder.path().join("workers");
    train(&Run::<Pretrain>::create(&recipe(4), &workers).unwrap(), 6);
    assert!(outcome(&workers) == expected, "4 workers");

    for step in 1..6 {
        let path = folder.path().join(format!("stopped-{step}"));
        train(&Run::<Pretrain>::create(&recipe(1), &path).unwrap(), step);
        // The run continues from the folder alone, as in a new process.
        let run = Run::<Pretrain>::open(&path).unwrap();
        train(&run, 6);
        assert!(outcome(&path) == expected, "stopped after step {step}");
    }
}

#[test]
fn damaged_checkpoints_are_named_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let run = Run::<Pretrain>::create(&recipe(1), &path).unwrap();
    train(&run, 1);
    let checkpoint = path.join("checkpoints/step-000000001");
    for (name, truncate) in [
        ("model.safetensors", true),
        ("optimizer.bpk", true),
        ("ema.safetensors", false),
        ("model.safetensors", false),
    ] {
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
    assert_eq!(run.latest_state(&Device::flex()).unwrap().state.step, 1);
    drop(run);

    // The same folder with a recipe for a model of another shape.
    let recipe_file = path.join("recipe.toml");
    let text = std::fs::read_to_string(&recipe_file).unwrap();
    std::fs::write(&recipe_file, text.replace("patch_size = 8", "patch_size = 4")).unwrap();
    let error = Run::<Pretrain>::open(&path).unwrap().latest_state(&Device::flex()).err().unwrap();
    assert!(error.to_string().contains("model.safetensors"), "{error}");
    assert!(error.to_string().contains("[1, 17, 64]") || error.to_string().contains('4'), "{error}");
}

#[test]
fn the_checkpoint_before_a_damaged_one_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let run = Run::<Pretrain>::create(&recipe(1), &path).unwrap();
    train(&run, 2);
    train(&run, 4);
    let checkpoints = path.join("checkpoints");
    let [older, newer] = [2, 4].map(|step| checkpoints.join(format!("step-{step:09}")));
    let damage: [(&str, &dyn Fn()); 4] = [
        // Changes one digit of the step, which is still valid JSON.
        ("checksum", &|| {
            let text = std::fs::read_to_string(newer.join("state.json")).unwrap();
            std::fs::write(newer.join("state.json"), text.replace("\"step\": 4", "\"step\": 5")).unwrap();
        }),
        // Copies whole files of another checkpoint.
        ("model.safetensors", &|| {
            std::fs::copy(older.join("model.safetensors"), newer.join("model.safetensors")).unwrap();
        }),
        ("belongs to step 2", &|| {
            for file in ["state.json", "model.safetensors", "optimizer.bpk"] {
                std::fs::copy(older.join(file), newer.join(file)).unwrap();
            }
        }),
        ("optimizer.bpk", &|| std::fs::remove_file(newer.join("optimizer.bpk")).unwrap()),
    ];
    for (word, damage) in damage {
        train(&run, 4); // writes the newer one again
        damage();
        let restored = run.latest_state(&Device::flex()).unwrap();
        assert_eq!(restored.state.step, 2, "{word}");
        let text = mae_trainer::chain(&restored.damaged[0]);
        assert!(text.contains(word) && text.contains("step-000000004"), "{text}");
    }
    train(&run, 6);
    drop(run);
    let undisturbed = folder.path().join("undisturbed");
    train(&Run::<Pretrain>::create(&recipe(1), &undisturbed).unwrap(), 6);
    assert!(outcome(&path) == outcome(&undisturbed));
}

#[test]
fn the_newest_checkpoints_and_the_best_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::<Pretrain>::create(&recipe(1), folder.path().join("run")).unwrap();
    let mut state = run.initial_state(&Device::flex()).unwrap();
    let mut evaluations = EvaluationWriter::open(run.path("evaluations.jsonl"), 0).unwrap();
    for (step, loss) in [(1, 0.9), (2, 0.5), (3, 0.7), (4, 0.8), (5, 0.6)] {
        let evaluation = Evaluation { step, val_loss: Some(loss), ..Evaluation::default() };
        evaluations.write(&evaluation).unwrap();
        state.step = step;
        run.save(&state).unwrap();
    }
    let names = || {
        let entries = std::fs::read_dir(run.path("checkpoints")).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names(), ["step-000000002", "step-000000004", "step-000000005"]);
    // A run that goes back to an earlier step has another history, so the later checkpoints are removed.
    state.step = 3;
    run.save(&state).unwrap();
    assert_eq!(names(), ["step-000000002", "step-000000003"]);
}

#[test]
fn a_run_is_changed_only_where_it_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let run = Run::<Pretrain>::create(&recipe(1), &path).unwrap();
    train(&run, 2);
    let busy = Run::<Pretrain>::open(&path).err().unwrap();
    assert!(matches!(busy, TrainerError::RunInUse { .. }) && busy.to_string().contains("another process"));
    drop(run);

    let mut other = recipe(1);
    (other.train.batch_size, other.train.epochs) = (Some(2), 3);
    let error = Run::<Pretrain>::open_with(&path, |_| Ok(other)).err().unwrap().to_string();
    assert!(error.contains("batch_size (4 before, 2 now)") && !error.contains("epochs"), "{error}");
    let change = |recipe: &Recipe<PretrainRecipe>| {
        let mut longer = recipe.clone();
        longer.train.epochs = 3;
        Ok(longer)
    };
    let (run, changes) = Run::<Pretrain>::open_with(&path, change).unwrap();
    assert_eq!(changes, ["epochs (2 before, 3 now)"]);
    assert_eq!(run.pace.total_steps, 9);
    drop(run);
    assert_eq!(Run::<Pretrain>::open(&path).unwrap().settings.train.epochs, 3, "the change lasts");
}

#[test]
fn a_run_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    drop(Run::<Pretrain>::create(&recipe(1), &path).unwrap());
    let error = Run::<Pretrain>::create(&recipe(1), &path).err().unwrap();
    assert!(matches!(error, TrainerError::RunExists { .. }));
}

#[test]
fn a_new_run_replaces_no_file() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["data.json", "model.safetensors", "report.html"] {
        let path = folder.path().join(name.replace('.', "-"));
        fs::create_dir(&path).unwrap();
        fs::write(path.join(name), "mine").unwrap();
        let error = Run::<Pretrain>::create(&recipe(1), &path).err().unwrap();
        let said = format!("{} contains {name}, which a new run would replace", path.display());
        assert_eq!(error.to_string(), said);
        assert_eq!(fs::read_to_string(path.join(name)).unwrap(), "mine");
    }
    // Other files are no obstacle, and neither is the summary of a run that was killed while it was created.
    let path = folder.path().join("run");
    drop(Run::<Pretrain>::create(&recipe(1), &path).unwrap());
    fs::remove_file(path.join("recipe.toml")).unwrap();
    fs::write(path.join("slurm.out"), "").unwrap();
    assert!(Run::<Pretrain>::create(&recipe(1), &path).is_ok());
}
