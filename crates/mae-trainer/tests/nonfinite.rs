//! Losses and gradients that are not finite: what is reported, left out and undone, and when the run ends.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor};
use mae_model::Mae;
use mae_trainer::{
    OnNan, Pretrain, PretrainRecipe, Progress, Recipe, Run, TrainState, TrainerError, read_records,
    train_step,
};

fn recipe(on_nan: OnNan) -> Recipe<PretrainRecipe> {
    let mut recipe = Recipe::<PretrainRecipe>::default();
    (recipe.train.epochs, recipe.train.batch_size, recipe.train.accum_iter) = (2, Some(4), 2);
    recipe.data.shapes = 25;
    recipe.task.model.patch_size = Some(8);
    (recipe.optim.on_nan, recipe.optim.max_nan) = (on_nan, 2);
    recipe
}

/// Turns a model's weights into NaN, as a bad update would.
fn poison(state: &mut TrainState<Mae>) {
    struct Poison;
    impl ModuleMapper for Poison {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|tensor| tensor.mul_scalar(f32::NAN).detach().require_grad())
        }
    }
    state.model = state.model.clone().map(&mut Poison);
}

/// Trains, poisons the model before update `at`, and goes on to the end.
fn train(run: &Run<Pretrain>, at: u64) -> Result<TrainState<Mae>, TrainerError> {
    let device = Device::flex();
    let mut state = run.latest_state(&device)?.state;
    let mut progress = Progress::start(run, &state, |_| ())?;
    let mut updates = run.updates();
    let mut poisoned = false;
    while state.step < run.pace.total_steps {
        if state.step == at && !poisoned {
            poisoned = true;
            poison(&mut state);
        }
        let Some(report) = train_step(run, &mut state, &mut updates, &device)? else { continue };
        progress.update(run, state.step, report, updates.waiting())?;
        if state.step == 2 {
            run.save(&state)?;
        }
    }
    Ok(state)
}

#[test]
fn it_stops_and_says_which_images() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::<Pretrain>::create(&recipe(OnNan::Stop), folder.path().join("run")).unwrap();
    let error = train(&run, 3).err().unwrap();
    let path = run.path("nan-step-000000004.json");
    assert!(error.to_string().contains("step 4 has the loss NaN"), "{error}");
    assert!(error.to_string().contains("nan-step-000000004.json"), "{error}");
    let offence: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!((offence["step"].as_u64(), offence["loss"].is_null()), (Some(4), true));
    assert_eq!(offence["files"].as_array().unwrap().len(), 8);
    let files: std::collections::BTreeSet<_> =
        offence["files"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(files.len(), 8, "eight images of the set");
    assert_eq!(offence["pixels"].as_array().unwrap().len(), 3);
    assert_eq!(run.latest_state(&Device::flex()).unwrap().state.step, 2, "the last good checkpoint");
}

#[test]
fn rolled_back_a_run_ends_well_without_the_update() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::<Pretrain>::create(&recipe(OnNan::Rollback), folder.path().join("run")).unwrap();
    let state = train(&run, 3).unwrap();
    assert_eq!((state.step, state.skipped.as_slice()), (6, &[3][..]));
    let records = read_records(run.path("metrics.jsonl")).unwrap();
    assert_eq!(records.iter().map(|r| r.step).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert!(records.iter().all(|r| r.loss.is_finite()));

    // An update that was left out stays so when the run resumes from a checkpoint.
    run.save(&state).unwrap();
    assert_eq!(run.latest_state(&Device::flex()).unwrap().state.skipped, [3]);
}

/// Several updates are made between two reads, and one of them is not finite: the run goes back and finds out which.
#[test]
fn read_together_a_bad_update_is_found_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = recipe(OnNan::Skip);
    recipe.eval.metric_steps = Some(3);
    let run = Run::<Pretrain>::create(&recipe, folder.path().join("run")).unwrap();
    let device = Device::flex();
    let mut state = run.latest_state(&device).unwrap().state;
    let mut progress = Progress::start(&run, &state, |_| ()).unwrap();
    let mut updates = run.updates();
    let (mut poisoned, mut read) = (false, Vec::new());
    while state.step < run.pace.total_steps {
        if state.step == 4 && !poisoned {
            poisoned = true;
            poison(&mut state);
        }
        let Some(report) = train_step(&run, &mut state, &mut updates, &device).unwrap() else { continue };
        read.push((state.step, report.is_finite()));
        progress.update(&run, state.step, report, updates.waiting()).unwrap();
        if state.step == 3 {
            run.save(&state).unwrap();
        }
    }
    // The run goes back to the checkpoint of step 3, then reads one update at a time to where it was.
    assert_eq!(read, [(1, true), (3, true), (3, false), (4, true), (5, true), (6, true)]);
    assert_eq!((state.step, state.skipped.len()), (6, 0), "the images were not to blame");
    let records = read_records(run.path("metrics.jsonl")).unwrap();
    assert_eq!(records.iter().map(|r| r.step).collect::<Vec<_>>(), [1, 3, 4, 5, 6]);

    // The weights are those of a run that reads each update, and the losses are means of its losses.
    let each = {
        recipe.eval.metric_steps = None;
        Run::<Pretrain>::create(&recipe, folder.path().join("each")).unwrap()
    };
    let state_of_each = train(&each, u64::MAX).unwrap();
    let bytes = |run: &Run<Pretrain>, state: &TrainState<Mae>| {
        let path = run.path("weights.safetensors");
        mae_model::save(&state.model, &run.settings.data.normalize, &Default::default(), &path).unwrap();
        let bytes = std::fs::read(path).unwrap();
        // The header may list its metadata in another order.
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        bytes[8 + header..].to_vec()
    };
    assert!(bytes(&run, &state) == bytes(&each, &state_of_each));
    let losses: Vec<_> = read_records(each.path("metrics.jsonl")).unwrap().iter().map(|r| r.loss).collect();
    let mean = (losses[1] + losses[2]) / 2.0;
    assert!((records[1].loss - mean).abs() < 1e-12 && records[2].loss == losses[3]);
}

#[test]
fn skipping_does_not_help_a_ruined_model_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::<Pretrain>::create(&recipe(OnNan::Skip), folder.path().join("run")).unwrap();
    let error = train(&run, 3).err().unwrap();
    assert!(error.to_string().contains("step 6") && error.to_string().contains("after 2 such"), "{error}");
    let losses: Vec<_> = read_records(run.path("metrics.jsonl")).unwrap().iter().map(|r| r.loss).collect();
    assert!(losses[..3].iter().all(|l| l.is_finite()) && losses[3..].iter().all(|l| l.is_nan()));
}

#[test]
fn the_whole_gradient_is_clipped() {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::flex();
    let norm_after = |clip: Option<f64>, name: &str| {
        let mut recipe = recipe(OnNan::Stop);
        recipe.optim.clip_grad = clip;
        let run = Run::<Pretrain>::create(&recipe, folder.path().join(name)).unwrap();
        let state = run.initial_state(&device).unwrap();
        let (gradients, measured) =
            run.updates().at(0).unwrap().gradients(&mut state.model.clone(), &device).unwrap();
        let report = measured.read();
        let squares: f64 = mae_model::list_params(&state.model)
            .iter()
            .filter(|param| param.trained)
            .map(|param| {
                fn square<const D: usize>(gradient: Tensor<D>) -> f64 {
                    let values = gradient.into_data().convert::<f64>();
                    values.as_slice::<f64>().unwrap().iter().map(|v| v * v).sum()
                }
                match param.shape.len() {
                    1 => square(gradients.get::<1>(param.id).unwrap()),
                    2 => square(gradients.get::<2>(param.id).unwrap()),
                    3 => square(gradients.get::<3>(param.id).unwrap()),
                    _ => square(gradients.get::<4>(param.id).unwrap()),
                }
            })
            .sum();
        (squares.sqrt(), report)
    };
    let (free, report) = norm_after(None, "free");
    assert!((free - report.grad_norm).abs() < 1e-5 * free, "{free} and {}", report.grad_norm);
    let bound = free / 3.0;
    let (clipped, same) = norm_after(Some(bound), "clipped");
    assert!((clipped - bound).abs() < 1e-4 * bound, "{clipped} for {bound}");
    assert_eq!(same, report, "what is reported is the norm before");
    assert!((norm_after(Some(10.0 * free), "loose").0 - free).abs() < 1e-6 * free);
}
