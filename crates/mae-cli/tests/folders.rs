//! `mae knn` and `mae doctor` on folders of classes.

mod common;

use std::fs;

use common::{BLUE, RED, colours, mae, refused, setting};

#[test]
fn neighbours_tell_red_from_blue() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    setting(at);
    // Of three red images, one lies among the blue ones.
    colours(&at.join("test"), &[("red", RED, 2), ("blue", BLUE, 4)]);
    fs::copy(at.join("train/red/5.png"), at.join("test/blue/9.png")).unwrap();
    fs::write(at.join("test/red/9.png"), "no image").unwrap();
    let output = mae(at, "knn . train test --k 3 --json");
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stderr).contains("9.png"),
        "{output:?}"
    );
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["classes"], serde_json::json!(["blue", "red"]));
    assert_eq!(found["confusion"], serde_json::json!([[4, 1], [0, 2]]));
    assert_eq!((found["train_images"].as_u64(), found["test_images"].as_u64()), (Some(11), Some(7)));
    let accuracy = found["accuracy"].as_f64().unwrap();
    assert!((accuracy - 6.0 / 7.0).abs() < 1e-12);
    let output = mae(at, "knn . train test --k 3 --quiet");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("85.7%") && text.contains("red (1)") && text.contains("80.0%"), "{text}");
}

#[test]
fn folders_that_cannot_be_compared_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    setting(at);
    colours(&at.join("other"), &[("red", RED, 2), ("green", BLUE, 2)]);
    refused(at, "knn . train other --k 3", &["train has the classes blue, red", "other has green, red"]);
    colours(&at.join("one"), &[("red", RED, 2)]);
    refused(at, "knn . one train", &["one has 1 classes", "two at least"]);
    refused(at, "knn . train/red train", &["0 classes"]);
    refused(at, "knn . train train --k 12", &["k is 12", "from 1 to the number of training images, 11"]);
    refused(at, "knn . train train --tokens all", &["--tokens is all"]);
    refused(at, "knn . train train --temperature 0", &["temperature is 0"]);
}

#[test]
fn the_doctor_reads_every_file() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    setting(at);
    fs::write(at.join("train/red/9.png"), "no image").unwrap();
    let output = mae(at, "doctor train --image-size 20");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("12, 11 of them readable"), "{text}");
    let output = mae(at, "doctor train --json");
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(found.is_object());
    refused(at, "doctor nowhere", &["nowhere"]);
    assert_eq!(mae(at, "doctor train --image-size big").status.code(), Some(2));
}
