//! A task of your own trains, evaluates, resumes bit for bit and runs in several processes, like the trainer's tasks.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use image::RgbImage;

/// Writes images whose number is their brightness, and the CSV file of these numbers.
fn images(at: &Path) {
    let mut lines = String::from("name,number\n");
    for (folder, count) in [("train", 32), ("val", 12)] {
        fs::create_dir(at.join(folder)).unwrap();
        for i in 0..count {
            let level = (i * 53 + 20 * folder.len()) % 200;
            let pixel = |x: u32, y: u32| {
                image::Rgb([0, 1, 2].map(|c| (level as u32 + (x * 5 + y * 3 + c) % 50) as u8))
            };
            let name = format!("{folder}-{i}.png");
            RgbImage::from_fn(16, 16, pixel).save(at.join(folder).join(&name)).unwrap();
            lines += &format!("{name},{}\n", level as f64 / 100.0);
        }
    }
    fs::write(at.join("numbers.csv"), lines).unwrap();
}

/// Writes the weights of a pre-training run before its first update.
fn encoder(at: &Path) {
    use mae::prelude::*;
    let mut recipe = Recipe::<PretrainRecipe>::default();
    (recipe.data.path, recipe.train.epochs) = (Some(at.join("train")), 1);
    (recipe.task.model.image_size, recipe.task.model.patch_size) = (Some((16, 16)), Some(4));
    let run = Run::<Pretrain>::create(&recipe, at.join("pretrained")).unwrap();
    let state = run.latest_state(&Device::flex()).unwrap().state;
    run.save_model(&state.model, run.path("model.safetensors")).unwrap();
}

fn command(at: &Path, program: &[&str], args: &str) -> Output {
    let mut command = Command::new(program[0]);
    command.current_dir(at).args(&program[1..]).args(args.split_whitespace());
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    command.output().unwrap()
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_own_task");

const NEW: &str = "--data train --val val --epochs 8 --batch-size 4 --quiet --base-lr 0.01 --min-crop 1 \
     --set model.weights=pretrained --set target.numbers=numbers.csv --set eval.every_epochs=2";

fn losses(run: &Path) -> Vec<f64> {
    let records = mae::trainer::read_records(run.join("metrics.jsonl")).unwrap();
    records.iter().map(|record| record.loss).collect()
}

#[test]
fn it_is_trained_measured_and_continued() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    images(at);
    encoder(at);
    let output = command(at, &[PROGRAM], &format!("{NEW} --out whole"));
    assert!(output.status.success(), "{output:?}");
    let evaluations = mae::trainer::read_evaluations(at.join("whole/evaluations.jsonl")).unwrap();
    let error = |i: usize| evaluations[i].metrics["mae"];
    assert!(evaluations.len() == 5 && error(4) < 0.7 * error(1), "{evaluations:?}");
    let page = fs::read_to_string(at.join("whole/report.html")).unwrap();
    for words in ["regression run", "Mean absolute error", "Training images as the model sees them"] {
        assert!(page.contains(words), "{words}");
    }
    assert!(at.join("whole/pictures/examples.png").is_file() && at.join("whole/loss.png").is_file());

    let output = command(at, &[PROGRAM], &format!("{NEW} --out parts --stop-after 13"));
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    // Resuming does not need the weights that the run started from.
    fs::remove_dir_all(at.join("pretrained")).unwrap();
    assert!(command(at, &[PROGRAM], "--resume parts --quiet").status.success());
    assert_eq!((losses(&at.join("whole")).len(), losses(&at.join("whole"))), (64, losses(&at.join("parts"))));
    let weights = |run: &str| {
        let bytes = fs::read(at.join(run).join("model.safetensors")).unwrap();
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        bytes[8 + header..].to_vec()
    };
    assert!(weights("whole") == weights("parts"));

    fs::write(at.join("numbers.csv"), "train-0.png,1\n").unwrap();
    let output = command(at, &[PROGRAM], &format!("{} --out other", NEW.replace("pretrained", "whole")));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("numbers.csv has no number for ") && !at.join("other").exists(), "{text}");
}

#[test]
#[cfg(feature = "mpi")]
fn two_processes_train_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    images(at);
    encoder(at);
    assert!(command(at, &[PROGRAM], &format!("{NEW} --out one --accum-iter 2")).status.success());
    let mpirun = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", "2", PROGRAM];
    let output = command(at, &mpirun, &format!("{NEW} --out two"));
    assert!(output.status.success(), "{output:?}");
    let (one, two) = (losses(&at.join("one")), losses(&at.join("two")));
    assert_eq!((one.len(), two.len()), (32, 32));
    let difference = one.iter().zip(&two).map(|(a, b)| (a / b - 1.0).abs()).fold(0.0, f64::max);
    assert!(difference < 1e-4, "{difference}");
    let last =
        |run: &str| mae::trainer::read_evaluations(at.join(run).join("evaluations.jsonl")).unwrap().pop();
    let (one, two) = (last("one").unwrap().metrics["mae"], last("two").unwrap().metrics["mae"]);
    assert!((one / two - 1.0).abs() < 1e-3, "{one} and {two}");
}
