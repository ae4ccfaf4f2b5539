//! Tests that several processes train as one process does with all their images.
#![cfg(feature = "mpi")]
#![allow(clippy::print_stdout, reason = "a test says what it measured")]

mod common;
#[path = "common/label_maps.rs"]
mod label_maps;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use common::{BLUE, RED, colours, mae, refused, setting};
use label_maps::rectangles;

fn mpirun(at: &Path, ranks: usize, args: &str) -> Output {
    let mut command = Command::new("mpirun");
    command.current_dir(at).args(["--oversubscribe", "--bind-to", "none", "-n", &ranks.to_string()]);
    for (name, value) in
        [("OMPI_ALLOW_RUN_AS_ROOT", "1"), ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"), ("RAYON_NUM_THREADS", "1")]
    {
        command.env(name, value);
    }
    command.arg(env!("CARGO_BIN_EXE_mae")).args(args.split_whitespace()).output().unwrap()
}

fn losses(run: &Path) -> Vec<f64> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["loss"].as_f64().unwrap())
        .collect()
}

/// The largest relative difference between two lists of values.
fn difference(a: &[f64], b: &[f64]) -> f64 {
    assert!(a.len() == b.len() && a.len() > 5);
    a.iter().zip(b).map(|(a, b)| (a / b - 1.0).abs()).fold(0.0, f64::max)
}

/// The distance between the weights of two runs, relative to the norm of the first.
fn distance(a: &Path, b: &Path) -> f64 {
    let read = |run: &Path| -> Vec<f32> {
        let bytes = fs::read(run.join("model.safetensors")).unwrap();
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        bytes[8 + header..].as_chunks().0.iter().map(|x| f32::from_le_bytes(*x)).collect()
    };
    let (a, b) = (read(a), read(b));
    let norm = |numbers: Vec<f32>| numbers.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    norm(a.iter().zip(&b).map(|(a, b)| a - b).collect()) / norm(a)
}

#[test]
fn two_processes_train_a_classifier_as_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    setting(at);
    colours(&at.join("train"), &[("red", RED, 21), ("blue", BLUE, 20)]);
    colours(&at.join("val"), &[("red", RED, 4), ("blue", BLUE, 3)]);
    let mixed = "--drop-path 0.2 --mixup 0.8 --cutmix 1 --label-smoothing 0.1 --ema 0.9 --rand-augment 9";
    for (name, args) in [
        ("finetune", format!("finetune . train val --base-lr 0.05 {mixed}")),
        ("probe", "probe . train val --base-lr 30".to_owned()),
        ("cached", "probe . train val --base-lr 30 --cached".to_owned()),
    ] {
        let args = format!("{args} --epochs 4 --batch-size 4 --quiet");
        let output = mae(at, &format!("{args} --accum-iter 2 --out {name}-one"));
        assert!(output.status.success(), "{output:?}");
        let output = mpirun(at, 2, &format!("{args} --out {name}-two"));
        assert!(output.status.success(), "{output:?}");
        let (one, two) = (at.join(format!("{name}-one")), at.join(format!("{name}-two")));
        let (losses, weights) = (difference(&losses(&one), &losses(&two)), distance(&one, &two));
        println!("{name}: losses within {losses:.1e}, weights within {weights:.1e}");
        assert!(losses < 1e-4 && weights < 1e-3, "{name}: {losses} and {weights}");
        let scores = |run: &Path| fs::read_to_string(run.join("scores.json")).unwrap();
        let confusion =
            |text: String| serde_json::from_str::<serde_json::Value>(&text).unwrap()["confusion"].clone();
        assert_eq!(confusion(scores(&one)), confusion(scores(&two)), "{name}");
        assert!(two.join("report.html").is_file());
    }
    // A run resumed with another number of processes continues with the same updates.
    let output =
        mpirun(at, 2, "finetune . train val --epochs 4 --batch-size 4 --quiet --out parts --stop-after 7");
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    refused(at, "finetune --resume parts --batch-size 2", &["cannot continue with another", "batch_size"]);
    assert!(mae(at, "finetune --resume parts --quiet").status.success());
    assert!(
        mae(at, "finetune . train val --epochs 4 --batch-size 4 --accum-iter 2 --quiet --out whole")
            .status
            .success()
    );
    assert!(difference(&losses(&at.join("whole")), &losses(&at.join("parts"))) < 1e-4);
}

#[test]
fn two_processes_train_a_segmenter_as_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    setting(at);
    rectangles(&at.join("train"), 16);
    rectangles(&at.join("val"), 5);
    let args = "segment . train/images train/masks --val-images val/images --val-masks val/masks --channels 8 --drop-path 0.2 \
                --dice 0.5 --base-lr 0.05 --epochs 4 --batch-size 4 --quiet";
    let output = mae(at, &format!("{args} --accum-iter 2 --out one"));
    assert!(output.status.success(), "{output:?}");
    let output = mpirun(at, 2, &format!("{args} --out two"));
    assert!(output.status.success(), "{output:?}");
    let (one, two) = (at.join("one"), at.join("two"));
    let (losses, weights) = (difference(&losses(&one), &losses(&two)), distance(&one, &two));
    let miou = |run: &Path| {
        let text = fs::read_to_string(run.join("scores.json")).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["mean_iou"].as_f64().unwrap()
    };
    let (first, second) = (miou(&one), miou(&two));
    println!("segment: losses within {losses:.1e}, weights within {weights:.1e}, mIoU {first} and {second}");
    // The weights include the running statistics of the batch norms.
    assert!(losses < 1e-4 && weights < 1e-3, "{losses} and {weights}");
    assert!((first - second).abs() < 5e-3, "{first} and {second}");
}
