//! `mae knn` and `mae doctor` on folders of classes.

mod common;

use std::fs;
use std::path::Path;

use common::{BLUE, RED, colours, mae, refused, setting};

#[test]
fn neighbours_tell_red_from_blue() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    setting(at);
    // One of the three red images is labelled blue.
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
    refused(
        at,
        "knn . train other --k 3",
        &["the training images have the classes [blue, red]", "[green, red]"],
    );
    colours(&at.join("one"), &[("red", RED, 2)]);
    refused(at, "knn . one one", &["one has 1 classes", "at least 2"]);
    refused(at, "knn . train/red train/red", &["0 classes"]);
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

/// The images of `train` and `val` side by side in one folder, with a table of their classes.
fn flat(at: &Path) {
    fs::create_dir(at.join("flat")).unwrap();
    let mut table = String::from("file_name,label\n");
    for part in ["train", "val"] {
        for class in ["red", "blue"] {
            for entry in fs::read_dir(at.join(part).join(class)).unwrap() {
                let path = entry.unwrap().path();
                let name = format!("{part}-{class}-{}", path.file_name().unwrap().display());
                fs::copy(&path, at.join("flat").join(&name)).unwrap();
                table += &format!("{name},{class}\n");
            }
        }
    }
    table += "gone.png,red\n";
    fs::copy(at.join("train/red/0.png"), at.join("flat/unknown.png")).unwrap();
    fs::write(at.join("flat/labels.csv"), table).unwrap();
}

#[test]
fn classes_come_from_a_table_and_held_out_images_by_share() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    setting(at);
    colours(&at.join("val"), &[("red", RED, 4), ("blue", BLUE, 3)]);
    flat(at);
    let printed = |args: &str| {
        let output = mae(at, args);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let text = printed("doctor flat");
    assert!(text.contains("not read: labels.csv; --labels FILE"), "{text}");
    let text = printed("doctor flat --labels flat/labels.csv --val-share 0.3");
    for line in [
        "table           19 rows, 18 of which name an image here",
        "classes         2, of 8 to 10 files each",
        "warning         1 of 19 rows in the table of classes name no image in the folder",
        "held out        5 images; 13 are left to train on",
    ] {
        assert!(text.contains(line), "{text}");
    }

    // kNN uses the same images whether folders or a table hold their classes.
    let by_table = "knn . flat --labels flat/labels.csv --val-share 0.3 --json -q";
    let found: serde_json::Value = serde_json::from_str(&printed(by_table)).unwrap();
    assert_eq!((found["accuracy"].as_f64(), found["train_images"].as_u64()), (Some(1.0), Some(13)));
    assert_eq!(found["classes"], serde_json::json!(["blue", "red"]));
    fs::write(at.join("flat.csv"), fs::read(at.join("flat/labels.csv")).unwrap()).unwrap();
    refused(at, "knn . flat val --labels flat.csv", &["flat.csv", "none of its 19 images is in val"]);
    refused(at, "knn . flat --val-share 1.5", &["val_share is 1.5", "between 0 and 1"]);

    refused(
        at,
        "finetune . flat --labels flat.csv --val-share 0.3 --val-labels flat.csv",
        &["val_labels is", "left out if val names no folder"],
    );
    refused(at, "pretrain --dry-run --labels flat.csv", &["labels is", "left out for the built-in images"]);

    // Pre-training uses the image without a class; a classifier leaves it out.
    let shape = "--image-size 16 --patch-size 4 --batch-size 4 --epochs 1";
    let text =
        printed(&format!("pretrain --data flat --labels flat.csv --val-share 0.25 {shape} --out pretrained"));
    assert!(text.contains("data            ") && text.contains("flat: 14 images"), "{text}");
    assert!(text.contains("5 images of the same folder, 0.25 of each class"), "{text}");
    assert!(text.contains("18 of 19 rows name an image") && !text.contains("left out"), "{text}");
    let finetune = "finetune pretrained flat --labels flat.csv --val-share 0.3 --batch-size 4 --epochs 4";
    let text = printed(&format!("{finetune} --out whole"));
    assert!(
        text.contains("flat: 13 images") && text.contains("images without a class: 1, which are left out"),
        "{text}"
    );
    assert_eq!(mae(at, &format!("{finetune} --out parts --stop-after 5")).status.code(), Some(130));
    printed("finetune --resume parts");
    let losses = |run: &str| -> Vec<serde_json::Value> {
        let text = fs::read_to_string(at.join(run).join("metrics.jsonl")).unwrap();
        let loss = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["loss"].clone();
        text.lines().map(loss).collect()
    };
    assert_eq!((losses("whole").len(), losses("whole")), (12, losses("parts")));
    let recipe = fs::read_to_string(at.join("parts/recipe.toml")).unwrap();
    assert!(recipe.contains("val_share = 0.3") && recipe.contains("flat.csv"), "{recipe}");

    // Images whose classes in the table have changed count as other images. The same table may lie elsewhere.
    fs::rename(at.join("flat.csv"), at.join("moved.csv")).unwrap();
    refused(at, "finetune --resume parts --epochs 5", &["flat.csv", "with --labels FILE"]);
    printed("finetune --resume parts --epochs 5 --labels moved.csv");
    let other = fs::read_to_string(at.join("moved.csv"))
        .unwrap()
        .replace("train-red-0.png,red", "train-red-0.png,blue");
    fs::write(at.join("other.csv"), other).unwrap();
    let resumed = "finetune --resume parts --epochs 6";
    refused(at, &format!("{resumed} --labels other.csv"), &["training images are not those", "class blue"]);
    refused(at, &format!("{resumed} --val-share 0.5"), &["data.val_share (0.3 before, 0.5 now)"]);
}
