//! Tests that the managed loop equals the explicit one to the last bit, and that burn-train's own strategy trains the
//! same model.
#![cfg(feature = "managed")]

use std::path::Path;
use std::sync::Arc;

use burn::data::dataloader::DataLoader;
use burn::data::dataloader::split::split_dataloader;
use burn::tensor::Device;
use burn_train::{ExecutionStrategy, Learner, SupervisedTraining, TrainingStrategy};
use mae_model::Mae;
use mae_report::EvaluationWriter;
use mae_trainer::managed::{Launch, Loss, Pretraining, RunSchedule, Scalar, Screen, UpdateLoader};
use mae_trainer::{
    OnNan, Pretrain, PretrainRecipe, Progress, Recipe, Run, TrainState, Update, read_evaluations,
    read_records, summarize, train_step,
};

/// Three epochs of three updates, each of two batches of two crops of two images, with a moving average.
fn recipe() -> Recipe<PretrainRecipe> {
    let mut recipe = Recipe::<PretrainRecipe>::default();
    (recipe.train.epochs, recipe.train.batch_size, recipe.train.accum_iter) = (3, Some(4), 2);
    (recipe.data.shapes, recipe.data.repeats, recipe.optim.ema) = (13, 2, Some(0.9));
    recipe.task.model.patch_size = Some(8);
    recipe
}

fn plain(recipe: &Recipe<PretrainRecipe>, folder: &Path) -> (Run<Pretrain>, TrainState<Mae>) {
    let run = Run::<Pretrain>::create(recipe, folder).unwrap();
    let device = Device::flex();
    let mut state = run.latest_state(&device).unwrap().state;
    let mut progress = Progress::start(&run, &state, |_| ()).unwrap();
    let mut updates = run.updates();
    while state.step < run.pace.total_steps {
        let report = train_step(&run, &mut state, &mut updates, &device).unwrap().unwrap();
        let record = progress.update(&run, state.step, report, updates.waiting()).unwrap();
        state.elapsed_s = record.elapsed_s;
    }
    run.save(&state).unwrap();
    (run, state)
}

fn managed(run: &Arc<Run<Pretrain>>, stop_at: u64) -> TrainState<Mae> {
    let device = Device::flex();
    let state = run.latest_state(&device).unwrap().state;
    let launch =
        Launch { device: &device, screen: Screen::Quiet, tell: |_| (), stop_at, stop: Box::new(|| false) };
    launch.train(run, state).unwrap()
}

/// The losses' bits, and the bits of all weights and of their average.
fn outcome(run: &Run<Pretrain>, state: &TrainState<Mae>) -> (Vec<u64>, Vec<u8>) {
    let losses = read_records(run.path("metrics.jsonl")).unwrap();
    let weights = [&state.model, state.averaged()].map(|model| {
        let file = run.path("weights.safetensors");
        mae_model::save(model, &run.settings.data.normalize, &Default::default(), &file).unwrap();
        let bytes = std::fs::read(file).unwrap();
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        bytes[8 + header..].to_vec()
    });
    (losses.iter().map(|r| r.loss.to_bits()).collect(), weights.concat())
}

#[test]
fn managed_and_plain_agree_to_the_last_bit() {
    let folder = tempfile::tempdir().unwrap();
    let (run, state) = plain(&recipe(), &folder.path().join("plain"));
    let expected = outcome(&run, &state);
    assert_eq!(expected.0.len(), 9);
    let half = expected.1.len() / 2;
    assert_ne!(expected.1[..half], expected.1[half..], "the average is not the weights");

    let run = Arc::new(Run::<Pretrain>::create(&recipe(), folder.path().join("managed")).unwrap());
    let state = managed(&run, u64::MAX);
    assert!(outcome(&run, &state) == expected);

    // The explicit loop stops in the middle of an epoch, and the managed one continues from its checkpoint.
    let path = folder.path().join("mixed");
    {
        let run = Run::<Pretrain>::create(&recipe(), &path).unwrap();
        let device = Device::flex();
        let mut state = run.latest_state(&device).unwrap().state;
        let mut progress = Progress::start(&run, &state, |_| ()).unwrap();
        let mut updates = run.updates();
        while state.step < 2 {
            let report = train_step(&run, &mut state, &mut updates, &device).unwrap().unwrap();
            progress.update(&run, state.step, report, updates.waiting()).unwrap();
        }
        run.save(&state).unwrap();
    }
    let state = managed(&Arc::new(Run::<Pretrain>::open(&path).unwrap()), 5);
    assert_eq!(state.step, 5);
    let run = Arc::new(Run::<Pretrain>::open(&path).unwrap());
    let state = managed(&run, u64::MAX);
    assert!(outcome(&run, &state) == expected);
}

#[test]
fn the_stock_strategy_trains_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    // burn-train's strategy has no moving average.
    let mut recipe = recipe();
    recipe.optim.ema = None;
    let (run, state) = plain(&recipe, &folder.path().join("plain"));
    let (_, expected) = outcome(&run, &state);

    let run = Arc::new(Run::<Pretrain>::create(&recipe, folder.path().join("stock")).unwrap());
    let device = Device::flex();
    let state = run.initial_state(&device).unwrap();
    let loader = Arc::new(UpdateLoader::new(run.clone(), 0));
    let held_out = Arc::new(UpdateLoader::new(run.clone(), 0));
    let schedule = RunSchedule::new(run.pace.schedule, 0);
    let learner = Learner::new(Pretraining { mae: state.model.clone() }, state.optimizer, schedule);
    let result = SupervisedTraining::new(folder.path().join("burn"), loader, held_out)
        .metrics((Scalar::<Loss>::new(),))
        .num_epochs(3)
        .with_application_logger(None)
        .with_training_strategy(TrainingStrategy::Default(ExecutionStrategy::single(device.clone())))
        .launch(learner);
    assert!(result.error.is_none());
    std::fs::write(run.path("metrics.jsonl"), "").unwrap();
    let state = TrainState { model: result.model.mae, ..run.initial_state(&device).unwrap() };
    assert!(outcome(&run, &state).1 == expected);
}

#[test]
fn the_devices_of_a_process_share_every_update() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = recipe();
    (recipe.data.shapes, recipe.data.repeats) = (52, 1);
    let run = Arc::new(Run::<Pretrain>::create(&recipe, folder.path().join("run")).unwrap());
    let whole: Arc<dyn DataLoader<Update<Pretrain>>> = Arc::new(UpdateLoader::new(run, 1));
    // Reads the images of each update from the second on, and their passes, in any order.
    let read = |loader: &dyn DataLoader<Update<Pretrain>>| {
        let updates = loader.iter().map(|update| {
            let update = update.unwrap();
            let crops = update.batches().iter().flat_map(|batch| batch.samples().collect::<Vec<_>>());
            crops.collect::<Vec<_>>()
        });
        updates.collect::<Vec<_>>()
    };
    let expected = read(whole.slice(0, whole.num_items()).as_ref());
    assert_eq!(expected.iter().map(Vec::len).collect::<Vec<_>>(), [8; 5]);
    for devices in [2, 4] {
        let device = Device::flex();
        let parts = split_dataloader(whole.clone(), &vec![device; devices]);
        let mut together = vec![Vec::new(); 5];
        for part in &parts {
            assert_eq!(part.num_items() * devices, whole.num_items());
            for (together, part) in together.iter_mut().zip(read(part.as_ref())) {
                assert_eq!(part.len(), 8 / devices);
                together.extend(part);
            }
        }
        for (together, expected) in together.iter_mut().zip(&expected) {
            let mut expected = expected.clone();
            expected.sort_unstable();
            together.sort_unstable();
            assert_eq!(*together, expected);
        }
    }
    let refused = whole.slice(0, whole.num_items() / 3).iter().next().unwrap().err().unwrap().to_string();
    assert!(refused.contains("the number of ranks is 3") && refused.contains("8 images"), "{refused}");
}

#[test]
fn a_loss_that_is_not_finite_is_undone_here_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = recipe();
    // A learning rate at which the first update ruins the model: every later one must be left out.
    (recipe.optim.base_lr, recipe.optim.warmup_epochs) = (1e30, Some(0.0));
    (recipe.optim.on_nan, recipe.optim.max_nan) = (OnNan::Rollback, 3);
    let run = Arc::new(Run::<Pretrain>::create(&recipe, folder.path().join("run")).unwrap());
    let device = Device::flex();
    let state = run.latest_state(&device).unwrap().state;
    let launch = Launch {
        device: &device,
        screen: Screen::Quiet,
        tell: |_| (),
        stop_at: u64::MAX,
        stop: Box::new(|| false),
    };
    let error = launch.train(&run, state).err().unwrap().to_string();
    assert!(error.contains("after 3 such steps were skipped"), "{error}");
    assert!(run.path("nan-step-000000002.json").is_file());
}

#[test]
fn a_run_ends_when_its_patience_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let mut recipe = recipe();
    recipe.train.epochs = 9;
    (recipe.eval.every_epochs, recipe.eval.patience, recipe.eval.max_images) = (Some(1), Some(2), 8);
    let run = Arc::new(Run::<Pretrain>::create(&recipe, &path).unwrap());
    assert_eq!(managed(&run, 3).step, 3);

    // Lowers the first loss so that no later one is better.
    let evaluations = path.join("evaluations.jsonl");
    let mut first = read_evaluations(&evaluations).unwrap().remove(0);
    first.val_loss = Some(0.0);
    std::fs::remove_file(&evaluations).unwrap();
    EvaluationWriter::open(&evaluations, 0).unwrap().write(&first).unwrap();
    assert_eq!(managed(&run, u64::MAX).step, 9);
    assert!(run.finished(9).unwrap() && !run.finished(6).unwrap() && !run.finished(8).unwrap());
    assert_eq!(run.best().unwrap().unwrap().0.step, 3);
    assert!(run.checkpoint(3).join("state.json").exists(), "the best checkpoint is kept");
    // If it is resumed, the run ends at once. With more patience, it goes on.
    let state = managed(&run, u64::MAX);
    assert_eq!(state.step, 9);
    let best = path.join("best.safetensors");
    let text = summarize(&run, &state, &Device::flex()).unwrap();
    assert!(text.contains("best.safetensors (after step 3: held-out loss 0.0000)"), "{text}");
    let kept = run.checkpoint(3).join("ema.safetensors");
    assert!(std::fs::read(&best).unwrap() == std::fs::read(kept).unwrap());
    // If no evaluation is better than the last one, there is no file of the best weights.
    let kept = std::fs::read(&evaluations).unwrap();
    std::fs::remove_file(&evaluations).unwrap();
    summarize(&run, &state, &Device::flex()).unwrap();
    assert!(!best.exists());
    std::fs::write(&evaluations, kept).unwrap();
    drop(run);
    recipe.eval.patience = Some(4);
    let run = Arc::new(Run::<Pretrain>::open_with(&path, |_| Ok(recipe)).unwrap().0);
    assert_eq!(managed(&run, u64::MAX).step, 15);
}

#[test]
fn patience_needs_something_to_watch() {
    let folder = tempfile::tempdir().unwrap();
    let image = image::RgbImage::from_fn(32, 32, |x, y| image::Rgb([x as u8, y as u8, 7]));
    image.save(folder.path().join("one.png")).unwrap();
    let mut recipe = recipe();
    (recipe.data.path, recipe.data.repeats, recipe.train.accum_iter) = (Some(folder.path().into()), 4, 1);
    recipe.eval.patience = Some(1);
    let refused = Run::<Pretrain>::create(&recipe, folder.path().join("run")).err().unwrap().to_string();
    assert!(refused.contains("patience is 1") && refused.contains("held-out"), "{refused}");
    assert!(!folder.path().join("run").exists());
}
