//! `mae probe` and `mae finetune` on folders of classes.

mod common;

use std::fs;
use std::path::Path;

use common::{BLUE, RED, colours, mae, refused, setting};
use mae_data::{FolderOptions, ImageFolder, PackOptions, pack};
use safetensors::SafeTensors;

/// The names and bytes of all tensors in a folder's `model.safetensors`, sorted.
fn tensors(path: &Path) -> Vec<(String, Vec<u8>)> {
    let bytes = fs::read(path.join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut all: Vec<_> = file.iter().map(|(name, view)| (name.to_owned(), view.data().to_vec())).collect();
    all.sort();
    all
}

fn folders(at: &Path) {
    setting(at);
    colours(&at.join("val"), &[("red", RED, 4), ("blue", BLUE, 3)]);
}

fn json(at: &Path, args: &str) -> serde_json::Value {
    let output = mae(at, args);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

const FINETUNE: &str = "finetune . train val --epochs 6 --batch-size 4 --drop-path 0.2 --mixup 0.8 --cutmix 1 --label-smoothing 0.1";

#[test]
fn an_interrupted_fine_tuning_ends_as_one_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    folders(at);
    let output = mae(at, &format!("{FINETUNE} --out whole"));
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("2 classes") && text.contains("top-1"), "{text}");
    let output = mae(at, &format!("{FINETUNE} --out parts --stop-after 5"));
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("continue with --resume parts"), "{output:?}");
    assert!(!at.join("parts/model.safetensors").exists());
    let output = mae(at, "finetune --resume parts");
    assert!(output.status.success(), "{output:?}");
    assert!(tensors(&at.join("whole")) == tensors(&at.join("parts")));
    let losses = |run: &str| -> Vec<serde_json::Value> {
        let text = fs::read_to_string(at.join(run).join("metrics.jsonl")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["loss"].clone())
            .collect()
    };
    assert_eq!((losses("whole").len(), losses("whole")), (12, losses("parts")));
    for file in ["scores.json", "confusion.png", "loss.png", "pictures/examples.png", "evaluations.jsonl"] {
        assert!(at.join("parts").join(file).is_file(), "{file}");
    }
    // A finished run can be resumed and reports its results again.
    assert!(mae(at, "finetune --resume parts").status.success());
}

#[test]
fn what_is_trained_is_what_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    folders(at);
    let before = tensors(at);
    let same = |run: &str| -> Vec<String> {
        let after = tensors(&at.join(run));
        after.into_iter().filter(|tensor| before.contains(tensor)).map(|(name, _)| name).collect()
    };
    let short = "--epochs 2 --batch-size 4 --quiet";
    assert!(mae(at, &format!("finetune . train val {short} --blocks 1 --out one")).status.success());
    let kept = same("one");
    // The nano preset has four blocks of 12 tensors each. Before them come the class token, the positions and the two
    // tensors of the patch projection.
    assert_eq!(kept.len(), 3 * 12 + 4, "{kept:?}");
    assert!(!kept.iter().any(|name| name.starts_with("blocks.3.")), "{kept:?}");
    assert!(mae(at, &format!("finetune . train val {short} --blocks 0 --out none")).status.success());
    assert_eq!(same("none").len(), 4 * 12 + 4);
    assert!(mae(at, &format!("finetune . train val {short} --out all")).status.success());
    assert_eq!(same("all"), [] as [&str; 0]);
    assert!(mae(at, &format!("finetune . train val {short} --from-scratch --out scratch")).status.success());
    assert!(same("scratch").iter().all(|name| name == "pos_embed"));
    assert!(mae(at, &format!("probe . train val {short} --out probe")).status.success());
    assert_eq!(same("probe").len(), 4 * 12 + 4 + 2, "the norm too");

    let inspected =
        |run: &str| String::from_utf8_lossy(&mae(at, &format!("inspect {run}")).stdout).into_owned();
    assert!(inspected("all").contains("an encoder fine-tuned to 2 classes"), "{}", inspected("all"));
    assert!(
        inspected("probe").contains("an encoder with a linear probe of 2 classes"),
        "{}",
        inspected("probe")
    );
    refused(at, "reconstruct all val pictures", &["fine-tuned to 2 classes", "needs a decoder"]);
    // An encoder fine-tuned on means has no norm for single tokens.
    refused(at, "embed all val class.npy --tokens class", &["fine-tuned on means", "--tokens mean"]);
    assert!(mae(at, "embed all val mean.npy --tokens mean").status.success());
    assert!(mae(at, "embed all val class.npy --tokens class --block 4").status.success());
    refused(at, "embed all val tokens.npy --tokens all", &["fine-tuned on means", "--block 4"]);
    assert!(mae(at, "attention all val attention").status.success());
    // A probe takes the class token by default, which has no norm here; fine-tuning takes means.
    refused(at, &format!("probe all train val {short} --out again"), &["fine-tuned on means"]);
    assert!(mae(at, &format!("finetune all train val {short} --out again-tuned")).status.success());
    assert!(mae(at, "embed probe val probe.npy --tokens class").status.success());
    refused(at, "reconstruct probe val pictures", &["linear probe of 2 classes", "needs a decoder"]);
}

#[test]
fn a_probe_tells_red_from_blue() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    folders(at);
    let found =
        json(at, "probe . train val --epochs 40 --batch-size 8 --base-lr 300 --cached --json --out cached");
    assert_eq!((found["top1"].as_f64(), found["images"].as_u64()), (Some(1.0), Some(7)));
    assert_eq!(found["confusion"], serde_json::json!([[3, 0], [0, 4]]));
    let found = json(at, "probe . train val --epochs 40 --batch-size 8 --base-lr 300 --json --tokens mean");
    assert_eq!(found["top1"].as_f64(), Some(1.0));
    assert!(at.join("runs/train-probe-1/scores.json").is_file());
    // An unreadable image is not measured.
    fs::write(at.join("val/red/9.png"), "no image").unwrap();
    let found = json(at, "probe . train val --epochs 2 --cached --json --out broken");
    assert_eq!(found["images"].as_u64(), Some(7));
}

#[test]
fn what_cannot_be_learnt_from_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    folders(at);
    colours(&at.join("other"), &[("red", RED, 2), ("green", BLUE, 2)]);
    for verb in ["probe", "finetune"] {
        let new = format!("{verb} . train val --out new");
        refused(at, &format!("{verb} . train other --out new"), &["[blue, red]", "[green, red]"]);
        refused(at, &format!("{verb} . nowhere val --out new"), &["nowhere"]);
        refused(
            at,
            &format!("{verb} train train val --out new"),
            &["cannot read train", "it holds no model.safetensors", "blue, red"],
        );
        refused(at, &format!("{new} --batch-size 12"), &["is 12", "11 images"]);
        refused(at, &format!("{new} --base-lr 0"), &["base_lr is 0"]);
        refused(at, &format!("{new} --epochs 0"), &["epochs is 0"]);
        refused(at, &format!("{new} --recipe gigantic"), &["gigantic", &format!("{verb}-base")]);
        refused(at, &format!("{verb} --resume new"), &["new is not a run: it does not exist"]);
    }
    refused(at, "finetune . train val --out new --blocks 5", &["blocks is 5", "at most the encoder's 4"]);
    refused(at, "finetune . train val --out new --mean 0.5 --std 0.5", &["channels"]);
    refused(at, "finetune . train val --out new --mixup 3", &["mixup is 3", "from 0 to 2"]);
    refused(at, "finetune . train val --out new --drop-path 1", &["drop_path is 1"]);
    refused(at, "probe . train val --out new --recipe finetune-digits", &["finetune-digits", "probe-digits"]);
    colours(&at.join("one"), &[("red", RED, 2)]);
    refused(at, "probe . one one --out new", &["the number of classes is 1, but must be at least 2"]);
    fs::copy(at.join("train/red/0.png"), at.join("train/stray.png")).unwrap();
    refused(at, "finetune . train val --out new", &["1 of the 12 images in", "train have no class"]);
    fs::remove_file(at.join("train/stray.png")).unwrap();
    // An empty folder is no class. A folder with a file in it is one, even if only the held-out set has it.
    fs::create_dir(at.join("train/green")).unwrap();
    fs::create_dir(at.join("val/green")).unwrap();
    let output = mae(at, "finetune . train val --out new --epochs 1");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("2 classes"), "{output:?}");
    fs::write(at.join("val/green/0.png"), "no image").unwrap();
    refused(at, "finetune . train val --out newer", &["[blue, red]", "[blue, green, red]"]);
    assert!(!at.join("newer").exists());
    for wrong in ["finetune .", "probe . train val --blocks 1"] {
        assert_eq!(mae(at, wrong).status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn a_class_without_images_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    folders(at);
    // Packing leaves out unreadable images, here the only one of a class.
    for set in ["train", "val"] {
        fs::create_dir(at.join(set).join("green")).unwrap();
        fs::write(at.join(set).join("green/0.png"), "no image").unwrap();
        let images = ImageFolder::open(at.join(set), FolderOptions::default()).unwrap();
        let packed = at.join(format!("packed-{set}"));
        assert_eq!(pack(&images, &packed, &PackOptions::default(), |_, _| {}).unwrap().unreadable.len(), 1);
    }
    let message = ["packed-train has no image of the class green"];
    refused(at, "finetune . packed-train packed-val --out new", &message);
    refused(at, "probe . packed-train packed-val --out new", &message);
    assert!(!at.join("new").exists());
}

/// The accuracy then covers fewer images, which has to be reported.
#[test]
fn a_held_out_image_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    folders(at);
    fs::write(at.join("val/red/broken.png"), "no image").unwrap();
    for command in
        ["finetune . train val", "probe . train val", "pretrain --data train --val val --image-size 16"]
    {
        let output = mae(at, &format!("{command} --epochs 2 --out new"));
        assert!(output.status.success(), "{command}: {output:?}");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("1 file(s), named in new/bad_files.log"), "{command}: {said}");
        let log = fs::read_to_string(at.join("new/bad_files.log")).unwrap();
        assert!(log.contains("val/red/broken.png") && log.lines().count() == 1, "{command}: {log}");
        fs::remove_dir_all(at.join("new")).unwrap();
    }
}

/// `embed` and the other verbs prepare images as the run's own evaluation did.
#[test]
fn weights_say_how_their_run_was_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    folders(at);
    assert!(mae(at, "finetune . train val --epochs 1 --resize 20 --out new --quiet").status.success());
    let checkpoint = fs::read_dir(at.join("new/checkpoints")).unwrap().next().unwrap().unwrap().path();
    for weights in ["new", checkpoint.to_str().unwrap()] {
        let said = String::from_utf8_lossy(&mae(at, &format!("inspect {weights}")).stdout).into_owned();
        assert!(said.contains("shorter side to 20 px, bicubic (the file)"), "{said}");
    }
}

#[test]
fn weights_that_are_no_numbers_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    folders(at);
    let mut bytes = fs::read(at.join("model.safetensors")).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::create_dir(at.join("nan")).unwrap();
    fs::write(at.join("nan/model.safetensors"), bytes).unwrap();
    refused(at, "finetune nan train val --out new", &["not finite"]);
    assert!(!at.join("new").exists());
    // A learning rate at which training diverges ends in an error, and the last checkpoint remains.
    refused(
        at,
        "finetune . train val --out new --base-lr 1e30 --epochs 5",
        &["step", "the last checkpoint is that of step 0"],
    );
    assert!(at.join("new/checkpoints").read_dir().unwrap().count() > 0);
}
