//! The program as a user sees it: which input it refuses, its error messages, and resuming a stopped run.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use image::RgbImage;

/// Runs the program in a folder.
fn plain(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_plain"))
        .current_dir(folder)
        .args(args)
        .output()
        .expect("the program starts")
}

/// Small enough for a debug build.
const SMALL: [&str; 8] = ["--image-size", "16", "--patch-size", "4", "--epochs", "1", "--batch-size", "4"];

/// Expects failure without a panic, and a message of at most five lines that contains all of `words`.
fn refused(folder: &Path, args: &[&str], words: &[&str]) {
    let output = plain(folder, args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{args:?} went through");
    assert!(!error.contains("panicked"), "{args:?}: {error}");
    assert!(error.trim_end().lines().count() <= 5, "{args:?}: {error}");
    for word in words {
        assert!(error.contains(word), "{args:?}: '{word}' is not in: {error}");
    }
}

/// `count` coloured images of 20x24 px.
fn images(folder: &Path, count: u8) {
    fs::create_dir_all(folder).unwrap();
    for i in 0..count {
        let image = RgbImage::from_fn(24, 20, |x, y| image::Rgb([i * 20, x as u8 * 10, y as u8 * 10]));
        image.save(folder.join(format!("{i:02}.png"))).unwrap();
    }
}

#[test]
fn what_cannot_work_is_refused_with_reasons() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::create_dir(at.join("empty")).unwrap();
    images(&at.join("photos"), 8);
    let small = |more: &[&'static str]| [&["--data", "photos"], &SMALL[..], more].concat();

    refused(at, &["--data", "nowhere"], &["nowhere"]);
    refused(at, &["--data", "empty"], &["empty", "png"]);
    refused(
        at,
        &["--data", "photos", "--image-size", "16", "--patch-size", "4", "--batch-size", "9"],
        &["9", "8 images"],
    );
    refused(at, &["--data", "photos", "--image-size", "20", "--patch-size", "8"], &["8", "20 px"]);
    refused(at, &small(&["--mask-ratio", "0.95"]), &["0.95", "16 patches"]);
    refused(at, &small(&["--preset", "giant"]), &["giant", "lightly"]);
    refused(at, &small(&["--device", "gpu"]), &["gpu", "tch:cuda"]);
    refused(at, &small(&["--device", "rocm"]), &["rocm", "--features rocm"]);
    refused(at, &["--resume", "nowhere"], &["nowhere"]);
    refused(at, &["--resume", "nowhere", "--out", "elsewhere"], &["--resume", "--out"]);
    refused(at, &small(&["--recipe", "giant"]), &["giant", "base-1600"]);
    refused(at, &small(&["--clip-grad", "0"]), &["clip_grad", "positive"]);
    fs::write(at.join("recipe.toml"), "epochs = 3\nlearning_rate = 1.0\n").unwrap();
    refused(at, &["--config", "recipe.toml"], &["recipe.toml", "learning_rate"]);
    let output = plain(at, &small(&["--dry-run"]));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for word in ["learning rate", "8 images, 0 of them unreadable", "images/s", "memory"] {
        assert!(text.contains(word), "{word} is not in:\n{text}");
    }
    assert!(!at.join("runs").exists(), "neither a refused run nor a dry one leaves anything");
}

#[test]
fn unreadable_files_are_replaced_up_to_a_share_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    images(&at.join("photos"), 12);
    fs::write(at.join("photos/broken.png"), b"").unwrap();
    let args = [&["--data", "photos", "--out", "strict", "--strict"], &SMALL[..]].concat();
    let output = plain(at, &args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("broken.png") && error.contains("0 bytes"), "{error}");

    // One bad file of thirteen exceeds the default limit of one in twenty.
    let args = [&["--data", "photos", "--out", "over"], &SMALL[..]].concat();
    let output = plain(at, &args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("broken.png") && error.contains("0.05"), "{error}");

    fs::write(at.join("recipe.toml"), "[data]\nmax_bad_share = 0.1\n").unwrap();
    let args = [&["--config", "recipe.toml", "--data", "photos", "--out", "run"], &SMALL[..]].concat();
    let output = plain(at, &args);
    let (text, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{error}");
    assert!(text.contains("1 file"), "{text}");
    assert!(fs::read_to_string(at.join("run/bad_files.log")).unwrap().contains("broken.png"));
}

#[test]
fn a_stopped_run_goes_on_from_its_folder_alone() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    images(&at.join("photos/a"), 6);
    images(&at.join("photos/b"), 6);
    let whole = [&["--data", "photos", "--out", "whole"], &SMALL[..]].concat();
    let output = plain(at, &whole);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    for word in ["learning rate", "GFLOP", "weight decay", "kNN accuracy", "for predicting zero", "loss.png"]
    {
        assert!(text.contains(word), "{word} is not in:\n{text}");
    }
    for name in
        ["recipe.toml", "metrics.jsonl", "loss.png", "model.safetensors", "pictures/step-000000003.png"]
    {
        assert!(at.join("whole").join(name).is_file(), "{name}");
    }

    let stopped = [&["--data", "photos", "--out", "stopped", "--stop-after", "1"], &SMALL[..]].concat();
    let output = plain(at, &stopped);
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("--resume stopped"));
    let output = plain(&at.join("photos"), &["--resume", "../stopped", "--quiet"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let losses = |run: &str| {
        let text = fs::read_to_string(at.join(run).join("metrics.jsonl")).unwrap();
        let loss = |line: &str| line.split("\"loss\":").nth(1).unwrap().split(',').next().unwrap().to_owned();
        text.lines().map(loss).collect::<Vec<_>>()
    };
    assert_eq!(losses("stopped"), losses("whole"));
    assert_eq!(losses("whole").len(), 3);

    // A finished run can be trained for longer, but not with settings that its weights or its order do not fit.
    refused(
        at,
        &["--resume", "whole", "--batch-size", "3"],
        &["batch_size (4 before, 3 now)", "--init-from"],
    );
    let output = plain(at, &["--resume", "whole", "--epochs", "2"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("epochs (1 before, 2 now)") && text.contains("6 of 6 steps"), "{text}");
    assert_eq!(losses("whole").len(), 6);

    // The weights can initialise another run.
    let more = [&["--data", "photos", "--out", "more", "--init-from", "whole"], &SMALL[..]].concat();
    let output = plain(at, &more);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_ne!(losses("more")[0], losses("stopped")[0]);
    let narrow = ["--data", "photos", "--init-from", "whole", "--image-size", "32", "--out", "narrow"];
    refused(at, &narrow, &["model.safetensors"]);
    refused(at, &whole, &["--resume"]);
}

#[cfg(unix)]
#[test]
fn a_signal_ends_the_run_with_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    images(&at.join("photos"), 12);
    let mut child = Command::new(env!("CARGO_BIN_EXE_plain"))
        .current_dir(at)
        .args(["--data", "photos", "--out", "run", "--image-size", "16", "--patch-size", "4"])
        .args(["--batch-size", "4", "--epochs", "100000", "--quiet"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let metrics = at.join("run/metrics.jsonl");
    while fs::metadata(&metrics).map_or(0, |m| m.len()) == 0 {
        assert!(child.try_wait().unwrap().is_none(), "the run ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let kill = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(fs::read_dir(at.join("run/checkpoints")).unwrap().count(), 1);
}
