//! Runs that are resumed with fewer epochs, or with images that moved or changed.

mod common;

use std::fs;
use std::path::Path;

use common::{BLUE, RED, colours, mae, refused, setting};

const PRETRAIN: &str =
    "pretrain --data train --val val --image-size 16 --patch-size 4 --batch-size 4 --epochs 8 --quiet";
const FINETUNE: &str = "finetune . train val --batch-size 4 --epochs 8 --quiet";

fn folders(at: &Path) {
    setting(at);
    colours(&at.join("val"), &[("red", RED, 4), ("blue", BLUE, 3)]);
}

/// Starts a run of pre-training and one of fine-tuning, and stops each after five of its sixteen updates.
fn stopped(at: &Path) {
    folders(at);
    for (args, out) in [(PRETRAIN, "pretrain"), (FINETUNE, "finetune")] {
        let output = mae(at, &format!("{args} --out {out} --stop-after 5"));
        assert_eq!(output.status.code(), Some(130), "{output:?}");
    }
}

fn checkpoints(run: &Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> =
        fs::read_dir(run.join("checkpoints")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

/// Resumes a run for one more update and returns its output.
fn goes_on(at: &Path, args: &str) -> String {
    let output = mae(at, &format!("{args} --stop-after 1"));
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_run_does_not_end_before_what_it_has_done() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    stopped(at);
    let recipe = |run: &str| fs::read_to_string(at.join(run).join("recipe.toml")).unwrap();
    let before = (recipe("pretrain"), checkpoints(&at.join("pretrain")));
    let words = ["epochs is 2 (4 updates)", "at least 3", "already done 5 updates, 2 per epoch"];
    refused(at, "pretrain --resume pretrain --epochs 2", &words);
    assert_eq!((recipe("pretrain"), checkpoints(&at.join("pretrain"))), before);

    // A recipe edited by hand is refused too, for both runs.
    for run in ["pretrain", "finetune"] {
        let whole = recipe(run);
        let few = whole.replace("epochs = 8\n", "epochs = 2\n");
        let few = few.replace("warmup_epochs = 0.8", "warmup_epochs = 0.2");
        fs::write(at.join(run).join("recipe.toml"), few).unwrap();
        let kept = checkpoints(&at.join(run));
        refused(at, &format!("{run} --resume {run}"), &words);
        assert_eq!(checkpoints(&at.join(run)), kept);
        fs::write(at.join(run).join("recipe.toml"), whole).unwrap();
        let output = mae(at, &format!("{run} --resume {run} --quiet"));
        assert!(output.status.success(), "{output:?}");
    }
    // A finished run may be resumed with its own number of epochs.
    let output = mae(at, "pretrain --resume pretrain --epochs 8");
    assert!(output.status.success(), "{output:?}");
    refused(
        at,
        "pretrain --resume pretrain --epochs 7",
        &["epochs is 7 (14 updates)", "already done 16 updates"],
    );
}

#[test]
fn images_that_are_not_those_of_before_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    stopped(at);
    let both = |words: &[&str]| {
        refused(at, "pretrain --resume pretrain", words);
        refused(at, "finetune --resume finetune", words);
    };
    let moved = |from: &str, to: &str, words: &[&str]| {
        fs::rename(at.join(from), at.join(to)).unwrap();
        both(words);
        fs::rename(at.join(to), at.join(from)).unwrap();
    };
    moved(
        "train/red/5.png",
        "train/red/aaa.png",
        &["training images are not those", "6 of class red have other names"],
    );
    moved(
        "train/red/5.png",
        "train/blue/9.png",
        &["5 were of class blue, 6 are now", "6 were of class red, 5 are now"],
    );
    moved(
        "val/red/3.png",
        "val/blue/9.png",
        &["held-out images are not those", "4 were of class red, 3 are now"],
    );
    colours(&at.join("train"), &[("red", RED, 7)]);
    both(&["training images are not those", "6 were of class red, 7 are now"]);
    fs::remove_file(at.join("train/red/6.png")).unwrap();
    assert!(!goes_on(at, "pretrain --resume pretrain").contains("changed"));
    assert!(!goes_on(at, "finetune --resume finetune").contains("changed"));

    // Changed contents under the same names are reported and trained on, because a damaged file may have been repaired.
    let (red, blue) = (at.join("train/red/5.png"), at.join("train/blue/0.png"));
    fs::write(&red, [fs::read(&blue).unwrap(), vec![0; 100]].concat()).unwrap();
    let said = "1 of 11 training images checked have another size in bytes than when the run began";
    assert!(goes_on(at, "pretrain --resume pretrain").contains(said));
    let text = goes_on(at, "finetune --resume finetune");
    assert!(text.contains(said), "{text}");

    // A run of an earlier version has no data.json.
    for run in ["pretrain", "finetune"] {
        fs::remove_file(at.join(run).join("data.json")).unwrap();
        let text = goes_on(at, &format!("{run} --resume {run}"));
        assert!(
            text.contains("data.json is missing: cannot check whether the 11 images are the same as before"),
            "{text}"
        );
        assert!(!goes_on(at, &format!("{run} --resume {run}")).contains("data.json"));
        fs::write(at.join(run).join("data.json"), "{").unwrap();
        refused(at, &format!("{run} --resume {run}"), &["data.json cannot be used: it is damaged"]);
    }
}

#[test]
fn the_same_images_may_lie_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    folders(at);
    for (args, verb) in [(PRETRAIN, "pretrain"), (FINETUNE, "finetune")] {
        assert!(mae(at, &format!("{args} --out whole-{verb}")).status.success());
        assert_eq!(mae(at, &format!("{args} --out {verb} --stop-after 5")).status.code(), Some(130));
    }
    fs::create_dir(at.join("disk")).unwrap();
    fs::rename(at.join("train"), at.join("disk/images")).unwrap();
    fs::rename(at.join("val"), at.join("disk/val")).unwrap();
    colours(&at.join("other"), &[("red", RED, 6), ("blue", BLUE, 6)]);
    for verb in ["pretrain", "finetune"] {
        let resume = format!("{verb} --resume {verb}");
        refused(at, &resume, &["train does not exist", "name their new folder with --data DIR"]);
        refused(
            at,
            &format!("{resume} --data disk/images"),
            &["val does not exist", "name their new folder with --val DIR"],
        );
        refused(at, &format!("{resume} --data nowhere --val disk/val"), &["nowhere"]);
        let words = ["training images are not those", "5 were of class blue, 6 are now"];
        refused(at, &format!("{resume} --data other --val disk/val"), &words);
        refused(at, &format!("{resume} --data disk/images --val other"), &["held-out images are not those"]);
        let output = mae(at, &format!("{resume} --data disk/images --val disk/val --quiet"));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && text.contains("changed") && text.contains("disk/images"),
            "{output:?}"
        );
        let weights = |run: &str| {
            let bytes = fs::read(at.join(run).join("model.safetensors")).unwrap();
            let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            bytes[8 + header..].to_vec()
        };
        assert!(weights(verb) == weights(&format!("whole-{verb}")), "{verb}");
        // From here on, the run has the new folders.
        assert!(mae(at, &format!("{resume} --quiet")).status.success());
    }
}
