//! Several processes, each on its part of the data, train like a single one, and end together.
#![cfg(unix)]
#![allow(clippy::print_stdout, reason = "a test says what it measured")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use image::RgbImage;
use mae_trainer::{
    DeviceName, Pretrain, PretrainRecipe, Recipe, Run, evaluate, launched_ranks, read_records,
};
use serde::{Deserialize, Serialize};

/// The `mpirun` command, as `cargo xtask train distributed` calls it.
fn mpirun(at: &Path) -> Command {
    let mut command = Command::new("mpirun");
    command.current_dir(at).args(["--oversubscribe", "--bind-to", "none"]);
    for (name, value) in
        [("OMPI_ALLOW_RUN_AS_ROOT", "1"), ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"), ("RAYON_NUM_THREADS", "1")]
    {
        command.env(name, value);
    }
    command
}

/// The device to compute on; CI runs these tests on libtorch as well.
fn device() -> String {
    std::env::var("MAE_TEST_DEVICE").unwrap_or_else(|_| "flex".into())
}

fn train(at: &Path, ranks: usize, args: &str) -> Command {
    let mut command = mpirun(at);
    command.args(["-n", &ranks.to_string(), env!("CARGO_BIN_EXE_distributed"), "--quiet"]);
    command.args(["--device", &device()]);
    command.args(args.split_whitespace());
    command
}

fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

fn fail(command: &mut Command) -> String {
    let began = Instant::now();
    let output = command.output().unwrap();
    assert!(!output.status.success() && began.elapsed() < Duration::from_secs(30), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A number of images that no number of ranks divides.
const IMAGES: usize = 107;

/// Images of two classes, and a folder of held-out ones.
fn images(at: &Path) {
    for (set, count) in [("photos", IMAGES), ("held", 23)] {
        for i in 0..count {
            let folder = at.join(set).join(if i % 2 == 0 { "even" } else { "odd" });
            fs::create_dir_all(&folder).unwrap();
            let pixel = |x: u32, y: u32| {
                let wave = ((x * (i as u32 % 5 + 1) + y * (i as u32 % 3)) * 20 % 256) as u8;
                image::Rgb([wave, (i * 40 % 256) as u8, (x * y % 256) as u8])
            };
            RgbImage::from_fn(24, 20, pixel).save(folder.join(format!("{i:03}.png"))).unwrap();
        }
    }
}

const RUN: &str = "--data photos --image-size 16 --patch-size 4 --checkpoint-steps 1";

fn losses(run: &Path) -> Vec<f64> {
    read_records(run.join("metrics.jsonl")).unwrap().iter().map(|record| record.loss).collect()
}

/// The largest relative difference of the losses.
fn difference(a: &Path, b: &Path) -> f64 {
    let (a, b) = (losses(a), losses(b));
    assert!(a.len() == b.len() && a.len() >= 20, "{} and {}", a.len(), b.len());
    a.iter().zip(&b).map(|(a, b)| ((a - b) / a).abs()).fold(0.0, f64::max)
}

/// |a - b| / |a| over all values.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert!(a.len() == b.len() && !a.is_empty());
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let pairs = a.iter().zip(b);
    norm(&mut pairs.map(|(a, b)| f64::from(*a) - f64::from(*b))) / norm(&mut a.iter().map(|a| f64::from(*a)))
}

fn weights(run: &Path) -> Vec<f32> {
    let mut steps: Vec<_> =
        fs::read_dir(run.join("checkpoints")).unwrap().map(|entry| entry.unwrap().path()).collect();
    steps.sort();
    let bytes = fs::read(steps.last().unwrap().join("model.safetensors")).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[8 + header..].as_chunks().0.iter().map(|x| f32::from_le_bytes(*x)).collect()
}

#[test]
fn ranks_train_as_one_process_with_all_their_images() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    images(at);
    let cases = [
        (2, "--batch-size 4", "--batch-size 8"),
        (2, "--batch-size 2 --accum-iter 2", "--batch-size 4 --accum-iter 2"),
        (3, "--batch-size 4", "--batch-size 12"),
        (4, "--batch-size 2", "--batch-size 8"),
    ];
    for (case, (ranks, mine, whole)) in cases.into_iter().enumerate() {
        let out = |kind: &str| format!("{kind}-{case}");
        let go = |ranks, batch: &str, out: &str| {
            let args = format!("{RUN} --epochs 8 {batch} --stop-after 20 --out {out}");
            // 130: stopped, with a checkpoint.
            let quiet = |mut command: Command| command.stdout(Stdio::null()).stderr(Stdio::null()).status();
            assert_eq!(quiet(train(at, ranks, &args)).unwrap().code(), Some(130));
        };
        go(ranks, mine, &out("ranks"));
        go(1, whole, &out("one"));
        let (a, b) = (at.join(out("one")), at.join(out("ranks")));
        let (losses, weights) = (difference(&a, &b), distance(&weights(&a), &weights(&b)));
        println!("{ranks} ranks, {mine}: losses within {losses:.1e}, weights within {weights:.1e}");
        assert!(losses < 1e-5, "{losses}");
        assert!(weights < 1e-5, "{weights}");
    }
}

/// The results that the processes of a test below write.
#[derive(Serialize, Deserialize)]
struct Found {
    gradient: Vec<f32>,
    /// Image indices of an epoch by rank: with the incomplete last update dropped, and with it filled up.
    read: [Vec<Vec<f64>>; 2],
    val_loss: Option<f64>,
    metrics: BTreeMap<String, f64>,
}

/// A recipe with 24 images per update, in two accumulated batches.
fn recipe(ranks: usize) -> Recipe<PretrainRecipe> {
    let mut recipe = Recipe::<PretrainRecipe>::default();
    (recipe.train.epochs, recipe.train.batch_size, recipe.train.accum_iter) = (2, Some(12 / ranks), 2);
    recipe.data.path = Some("photos".into());
    recipe.data.val = Some("held".into());
    (recipe.task.model.image_size, recipe.task.model.patch_size) = (Some((16, 16)), Some(4));
    recipe
}

#[test]
#[ignore = "a process of the tests below"]
fn process() {
    struct Flat<'a>(&'a GradientsParams, Vec<f32>);
    impl ModuleVisitor for Flat<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.get::<D>(param.id) {
                self.1.extend(gradient.into_data().try_to_vec::<f32>().unwrap());
            }
        }
    }
    let (device, ranks) =
        (device().parse::<DeviceName>().unwrap().open().unwrap(), launched_ranks().unwrap());
    let out = format!("out-{}", ranks.size());
    let run = Run::<Pretrain>::create_on(&ranks, &recipe(ranks.size()), &out).unwrap();
    let state = run.latest_state(&device).unwrap().state;
    let mut updates = run.updates();
    let mut gradient = Vec::new();
    // The second update's gradients are all-reduced during its backward pass.
    for step in [0, 1] {
        let (gradients, _) = updates.at(step).unwrap().gradients(&mut state.model.clone(), &device).unwrap();
        let mut flat = Flat(&gradients, Vec::new());
        state.model.visit(&mut flat);
        let bits: Vec<u8> = flat.1.iter().flat_map(|x| x.to_le_bytes()).collect();
        assert!(
            ranks.gather(&bits).unwrap().iter().all(|other| *other == bits),
            "ranks have other gradients, to the bit"
        );
        gradient.extend(flat.1);
    }
    let read = [true, false].map(|drop_last| {
        let mut recipe = recipe(ranks.size());
        recipe.data.drop_last = drop_last;
        let run = Run::<Pretrain>::create_on(&ranks, &recipe, format!("{out}-{drop_last}")).unwrap();
        let (mut updates, mut read) = (run.updates(), Vec::new());
        for step in 0..run.pace.steps_per_epoch {
            for batch in updates.at(step).unwrap().batches() {
                read.extend(batch.indices.iter().map(|index| *index as f64));
            }
        }
        ranks.gather_numbers(&read).unwrap()
    });
    let evaluation = evaluate(&run, &state.model, 0, &device).unwrap();
    if ranks.is_main() {
        let found = Found { gradient, read, val_loss: evaluation.val_loss, metrics: evaluation.metrics };
        fs::write(format!("{out}.json"), serde_json::to_vec(&found).unwrap()).unwrap();
    }
}

#[test]
fn gradients_images_and_evaluations_are_those_of_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    images(at);
    let found = |ranks: usize| -> Found {
        let mut command = mpirun(at);
        command.args(["-n", &ranks.to_string()]).arg(std::env::current_exe().unwrap());
        succeed(command.args(["--ignored", "--exact", "process", "--test-threads=1"]));
        serde_json::from_slice(&fs::read(at.join(format!("out-{ranks}.json"))).unwrap()).unwrap()
    };
    let one = found(1);
    assert!(one.val_loss.is_some() && one.metrics.len() == 2);
    for ranks in [2, 3, 4] {
        let found = found(ranks);
        let gradient = distance(&one.gradient, &found.gradient);
        println!("{ranks} ranks: gradient within {gradient:.1e}");
        assert!(gradient < 1e-6, "{gradient}");
        // 107 images fill four updates of 24, and part of a fifth.
        for (read, whole, (all, twice)) in
            [(&found.read[0], &one.read[0], (96, 0)), (&found.read[1], &one.read[1], (120, 13))]
        {
            assert_eq!(read.len(), ranks);
            assert!(read.iter().all(|read| read.len() == all / ranks));
            let times = |read: &[Vec<f64>]| {
                let mut times = BTreeMap::<usize, usize>::new();
                read.iter().flatten().for_each(|index| *times.entry(*index as usize).or_default() += 1);
                times
            };
            let found = times(read);
            assert_eq!(found.values().filter(|times| **times == 2).count(), twice);
            assert_eq!((found.len(), found.values().sum::<usize>()), (all - twice, all), "{found:?}");
            assert_eq!(found, times(whole), "others than one process reads");
        }
        let loss = |found: &Found| found.val_loss.unwrap();
        assert!((loss(&one) - loss(&found)).abs() / loss(&one) < 1e-6);
        assert_eq!(one.metrics, found.metrics);
    }
}

/// The processes that a launcher has started.
fn children(launcher: &Child) -> Vec<String> {
    let output = Command::new("pgrep").args(["-P", &launcher.id().to_string()]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// Waits until `updates` updates are recorded.
fn wait_for(run: &Path, updates: usize) {
    let count = || fs::read(run.join("metrics.jsonl")).map_or(0, |t| t.split(|b| *b == b'\n').count());
    let began = Instant::now();
    while count() <= updates {
        assert!(began.elapsed() < Duration::from_secs(60), "no updates");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits for a process to end, which it must do within 30 s.
fn end_of(mut child: Child) -> std::process::ExitStatus {
    let began = Instant::now();
    loop {
        match child.try_wait().unwrap() {
            Some(status) => return status,
            None => assert!(began.elapsed() < Duration::from_secs(30), "still there after 30 s"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_killed_rank_ends_all_and_the_run_goes_on_with_as_many_ranks_as_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    images(at);
    let args = format!("{RUN} --epochs 8 --batch-size 4");
    succeed(&mut train(at, 2, &format!("{args} --out whole")));

    let mut child = train(at, 2, &format!("{args} --out run")).stderr(Stdio::null()).spawn().unwrap();
    wait_for(&at.join("run"), 20);
    let ranks = children(&child);
    assert_eq!(ranks.len(), 2, "{ranks:?}");
    assert!(child.try_wait().unwrap().is_none(), "the run is too short for this test");
    assert!(Command::new("kill").args(["-KILL", &ranks[1]]).status().unwrap().success());
    assert!(!end_of(child).success());

    // The launcher gets the signal to stop, and passes it on to its ranks.
    let child = train(at, 2, "--resume run").stderr(Stdio::null()).spawn().unwrap();
    wait_for(&at.join("run"), 40);
    assert!(Command::new("kill").args(["-USR1", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(end_of(child).code(), Some(130));
    let before = losses(&at.join("run")).len();
    let newest = fs::read_dir(at.join("run/checkpoints")).unwrap();
    let newest = newest.map(|entry| entry.unwrap().file_name().into_string().unwrap()).max().unwrap();
    assert_eq!(newest, format!("step-{before:09}"), "no checkpoint of the last update");

    // One process now does the work of two: eight images per update, in twice as many accumulated batches.
    let output = fail(&mut train(at, 3, "--resume run"));
    assert!(output.contains("the number of ranks is 3") && output.contains("8 images"), "{output}");
    succeed(&mut train(at, 1, "--resume run"));
    let recipe = fs::read_to_string(at.join("run/recipe.toml")).unwrap();
    assert!(recipe.contains("ranks = 1") && recipe.contains("accum_iter = 2"), "{recipe}");
    let difference = difference(&at.join("whole"), &at.join("run"));
    println!("losses within {difference:.1e}");
    assert!(difference < 1e-4, "{difference}");
}

#[test]
fn a_rank_that_hangs_ends_all() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    images(at);
    let log = fs::File::create(at.join("log")).unwrap();
    let mut command = train(at, 2, &format!("{RUN} --epochs 1000 --batch-size 4 --out run"));
    let child = command.env("MAE_TIMEOUT_S", "3").stdout(Stdio::null()).stderr(log).spawn().unwrap();
    wait_for(&at.join("run"), 5);
    assert!(Command::new("kill").args(["-STOP", &children(&child)[1]]).status().unwrap().success());
    assert!(!end_of(child).success());
    let log = fs::read_to_string(at.join("log")).unwrap();
    assert!(log.contains("rank 0: another rank has not answered for 3 s"), "{log}");
}

#[test]
fn an_error_on_one_rank_ends_all_and_says_which() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    images(at);
    let program = env!("CARGO_BIN_EXE_distributed");
    let run = |lr: &str| {
        let args = format!(
            "-n 1 {program} --quiet --device {} {RUN} --batch-size 4 --out run --base-lr {lr}",
            device()
        );
        args.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let error = fail(mpirun(at).args(run("0.001")).arg(":").args(run("0.002")));
    assert!(error.contains("optim.base_lr") && error.contains("rank 1 has another recipe"), "{error}");
    assert!(!at.join("run").exists());

    // A learning rate at which the first update ruins the model.
    let error =
        fail(&mut train(at, 2, &format!("{RUN} --batch-size 4 --base-lr 1e30 --warmup-epochs 0 --out nan")));
    assert!(error.contains("error: rank ") && error.contains("has the loss NaN"), "{error}");
    assert!(at.join("nan/nan-step-000000002.json").is_file());

    let other = |data: &str| {
        let rank = |data| {
            let run = RUN.replace("photos", data);
            format!("-n 1 {program} --quiet --device {} {run} --batch-size 4 --out other", device())
        };
        fail(mpirun(at).args(format!("{} : {}", rank("photos"), rank(data)).split_whitespace()))
    };
    let error = other("held");
    assert!(error.contains("rank 1 has another recipe: data.images (23 there, 107 here)"), "{error}");
    // As many images, but one has another name.
    succeed(Command::new("cp").args(["-r", "photos", "renamed"]).current_dir(at));
    fs::rename(at.join("renamed/odd/001.png"), at.join("renamed/odd/one.png")).unwrap();
    let error = other("renamed");
    assert!(error.contains("rank 1 has other images (107), or under other names"), "{error}");
    assert!(!at.join("other").exists());

    fs::write(at.join("photos/even/002.png"), "no image").unwrap();
    let error = fail(&mut train(at, 2, &format!("{RUN} --batch-size 4 --strict --out run")));
    assert!(error.contains("002.png") && error.contains("error: rank "), "{error}");
}

/// A file system fills up while the main rank writes to it. Needs permission to mount.
#[test]
#[ignore = "mounts a file system"]
fn a_full_disk_ends_all_and_leaves_what_was_written() {
    struct Mounted<'a>(&'a Path);
    impl Drop for Mounted<'_> {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("-l").arg(self.0).status();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    images(at);
    let disk = at.join("disk");
    fs::create_dir(&disk).unwrap();
    succeed(Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(&disk));
    let _mounted = Mounted(&disk);
    let log = fs::File::create(at.join("log")).unwrap();
    let mut command = train(at, 2, &format!("{RUN} --epochs 1000 --batch-size 4 --out disk/run"));
    let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
    wait_for(&disk.join("run"), 5);
    // Takes whatever space is left; the write itself fails.
    let _ = fs::write(disk.join("filler"), vec![1; 24 << 20]);
    assert!(!end_of(child).success());
    let log = fs::read_to_string(at.join("log")).unwrap();
    assert!(log.contains("error: rank 0") && log.contains("No space left"), "{log}");
    fs::remove_file(disk.join("filler")).unwrap();

    let output = train(at, 2, "--resume disk/run --stop-after 3").output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
}
